from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smimefilter.policy import preferences
from smimefilter.policy.preferences import (
    ADDITIONAL_CERTIFICATES,
    ALL,
    CA_CRL_URL,
    DECRYPT_WITH,
    ENCRYPT,
    ENCRYPT_TRIGGER_HEADER,
    ENCRYPT_TRIGGER_SENSITIVITY,
    ENCRYPT_TRIGGER_SUBJECT,
    LOCALITY,
    MAX_CRL_AGE,
    MAX_SMIME_SIZE,
    MAY_SIGN_FOR,
    MINIMUM_RSA_BITS,
    ON_MISSING_CERTIFICATE,
    PKCS12_PASSWORD,
    RESET,
    SIGN,
    SKIP_SIGNED,
    SMS_NUMBER,
    SUBJECT_TAG_DECRYPTED,
    SUBJECT_TAG_SIGNED,
    BadValue,
    Encrypt,
    Locality,
    OnMissing,
    Preference,
    Sensitivity,
    Sign,
    UnknownPreference,
    preference,
)  # fmt: skip
from smimefilter.policy.scopes import Level
from tests.support.settings import THUMBPRINT, raw_values

PREFERENCES = list(ALL.values())


def test_constants_are_named_after_their_preference() -> None:
    for name, found in vars(preferences).items():
        if isinstance(found, Preference):
            assert name == found.name.upper().replace("-", "_")
            assert ALL[found.name] is found


@pytest.mark.parametrize(
    ("wanted", "raw", "value"),
    [
        (ENCRYPT, "mandatory", Encrypt.MANDATORY),
        (ENCRYPT, " Mandatory ", Encrypt.MANDATORY),
        (LOCALITY, "internal", Locality.INTERNAL),
        (SUBJECT_TAG_DECRYPTED, " {ok.} ", "{ok.}"),
        (SUBJECT_TAG_SIGNED, "<signed by {signer}>", "<signed by {signer}>"),
        (DECRYPT_WITH, "*.Bücher.example, @in.test", ("*.xn--bcher-kva.example", "in.test")),
        (SIGN, "never", Sign.NEVER),
        (ON_MISSING_CERTIFICATE, "send-clear", OnMissing.SEND_CLEAR),
        (SMS_NUMBER, "+49 (30) 123-456/7.8", "+493012345678"),
        (SMS_NUMBER, "030 123456", "030123456"),
        (CA_CRL_URL, "http://crl.test/{ca}.crl", "http://crl.test/{ca}.crl"),
        (SKIP_SIGNED, "no", False),
        (SKIP_SIGNED, False, False),
        (SKIP_SIGNED, "True", True),
        (SKIP_SIGNED, "on", True),
        (MAX_SMIME_SIZE, "10M", 10 * 1024 * 1024),
        (MAX_SMIME_SIZE, "10 MiB", 10 * 1024 * 1024),
        (MAX_SMIME_SIZE, "500k", 500 * 1024),
        (MAX_SMIME_SIZE, 1000, 1000),
        (MAX_CRL_AGE, "7d", timedelta(days=7)),
        (MAX_CRL_AGE, "1d12h", timedelta(hours=36)),
        (MAX_CRL_AGE, "2w", timedelta(weeks=2)),
        (MINIMUM_RSA_BITS, "3072", 3072),
        (MINIMUM_RSA_BITS, 4096, 4096),
        (ADDITIONAL_CERTIFICATES, [f"SHA512:{THUMBPRINT.upper()}"], (THUMBPRINT,)),
        (ADDITIONAL_CERTIFICATES, THUMBPRINT, (THUMBPRINT,)),
        (ADDITIONAL_CERTIFICATES, [], ()),
        (ENCRYPT_TRIGGER_SENSITIVITY, "Private, personal, private",
         (Sensitivity.PRIVATE, Sensitivity.PERSONAL)),
        (MAY_SIGN_FOR, ["Sales@Example.COM", "*@BÜCHER.example"],
         ("sales@example.com", "*@xn--bcher-kva.example")),
    ],
)  # fmt: skip
def test_values_as_people_write_them(
    wanted: Preference[Any], raw: object, value: object
) -> None:
    assert wanted.parse(raw) == value


def test_a_thumbprint_with_colons() -> None:
    colons = ":".join(THUMBPRINT[i : i + 2] for i in range(0, 128, 2))
    assert ADDITIONAL_CERTIFICATES.parse([colons]) == (THUMBPRINT,)


@pytest.mark.parametrize(
    ("wanted", "raw", "hint"),
    [
        (ENCRYPT, "madatory", "did you mean 'mandatory'?"),
        *(
            (SMS_NUMBER, number, "takes a telephone number such as")
            for number in ("abc", "1234", "+1234567890123456", "49+30123456", "\u0661" * 8)
        ),
        (CA_CRL_URL, "http://crl.test/{cn}.crl", "knows no {cn}, only {ca}"),
        (CA_CRL_URL, "http://crl.test/{ca}/{x", "knows no {x, only {ca}"),
        *(
            (SUBJECT_TAG_DECRYPTED, tag, "a text in brackets")
            for tag in (
                "!!",
                "[!!]",
                "[ !! ]",
                "decrypted",
                "[decrypted",
                "[decrypted)",
                "[de[crypt]ed]",
                "[decrypted] [x]",
                "[by {signer}]",
                "[{decrypted}]",
                "{{decrypted}}",
                "[]",
                "",
            )
        ),
        *(
            (SUBJECT_TAG_SIGNED, tag, "but {signer}")
            for tag in (
                "{signer}",
                "[{signer}]",
                "[by {name}]",
                "[by {signer} {signer}]",
                "signed {signer}",
            )
        ),
        (SUBJECT_TAG_SIGNED, f"[{'x' * 60}]", "at most 60"),
        (DECRYPT_WITH, "*", "*.example.com"),
        (SUBJECT_TAG_DECRYPTED, "{signer}", "a text in brackets"),
        (DECRYPT_WITH, "*.", "empty"),
        (DECRYPT_WITH, "in.test, *@out.test", "*.example.com"),
        (DECRYPT_WITH, "a.*.test", "*.example.com"),
        (ENCRYPT, "no", "did you mean 'never'?"),
        (ENCRYPT, False, "did you mean 'never'?"),
        (ENCRYPT, True, "never, allow or mandatory"),
        (ENCRYPT, ["allow"], "a list"),
        (ENCRYPT, {"a": 1}, "a mapping"),
        (ENCRYPT, 5, "'5'"),
        (ENCRYPT, "", "takes"),
        (SKIP_SIGNED, "maybe", "yes or no"),
        (SKIP_SIGNED, 1, "yes or no"),
        (MAX_SMIME_SIZE, "ten", "10M"),
        (MAX_SMIME_SIZE, "-1", "10M"),
        (MAX_SMIME_SIZE, "0", "above 0"),
        (MAX_SMIME_SIZE, True, "10M"),
        (MAX_SMIME_SIZE, 1.5, "10M"),
        (MAX_CRL_AGE, "7", "7d"),
        (MAX_CRL_AGE, "0d", "above 0"),
        (MAX_CRL_AGE, "7 fortnights", "7d"),
        (MINIMUM_RSA_BITS, "512", "1024"),
        (MINIMUM_RSA_BITS, "many", "1024"),
        (MINIMUM_RSA_BITS, "9" * 30, "1024"),
        (ADDITIONAL_CERTIFICATES, ["ab" * 20], "SHA-1"),
        (ADDITIONAL_CERTIFICATES, ["zz"], "hex"),
        (ADDITIONAL_CERTIFICATES, {"a": "b"}, "a list"),
        (ENCRYPT_TRIGGER_SUBJECT, ["secure"], "quotes"),
        (ENCRYPT_TRIGGER_SUBJECT, "[secure]", r"\[secure\]"),
        (ENCRYPT_TRIGGER_HEADER, "X Y", "header field"),
        (MAY_SIGN_FOR, ["*"], "*@domain"),
        (MAY_SIGN_FOR, ["sales"], "mail address"),
        (ENCRYPT_TRIGGER_SENSITIVITY, ["privat"], "did you mean 'private'?"),
        (PKCS12_PASSWORD, "", "empty"),
    ],
)
def test_what_is_refused_says_name_and_what_is_taken(
    wanted: Preference[Any], raw: object, hint: str
) -> None:
    with pytest.raises(BadValue) as caught:
        wanted.parse(raw)
    assert str(caught.value).startswith(f"{wanted.name}: ")
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("found", PREFERENCES, ids=lambda found: found.name)
@pytest.mark.parametrize("raw", [None, "default"])
def test_every_preference_can_be_reset(found: Preference[Any], raw: str | None) -> None:
    if found.secret and raw:
        assert found.parse_setting(raw) is not RESET  # a password like any other
    else:
        assert found.parse_setting(raw) is RESET


@pytest.mark.parametrize("found", PREFERENCES, ids=lambda found: found.name)
@settings(max_examples=25)
@given(data=st.data())
def test_what_is_dumped_is_parsed_again(found: Preference[Any], data: st.DataObject) -> None:
    value = found.parse(data.draw(raw_values(found)))
    dumped = found.dump(value)
    assert found.parse(dumped) == value
    assert found.dump(found.parse(dumped)) == dumped


@pytest.mark.parametrize("found", PREFERENCES, ids=lambda found: found.name)
@settings(max_examples=25)
@given(
    raw=st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    | st.lists(st.text() | st.none()) | st.dictionaries(st.text(), st.text())
)  # fmt: skip
def test_anything_is_parsed_or_refused(found: Preference[Any], raw: object) -> None:
    try:
        value = found.parse(raw)
    except BadValue:
        return
    assert found.parse(found.dump(value)) == value


def test_defaults_are_values_or_none() -> None:
    for found in PREFERENCES:
        if found.default is not None:
            assert found.parse(found.dump(found.default)) == found.default
        assert found.dump(found.default) is None or found.default is not None


def test_an_unknown_name_and_what_was_meant() -> None:
    with pytest.raises(UnknownPreference, match="did you mean 'encrypt'"):
        preference("encypt")
    with pytest.raises(UnknownPreference, match="did you mean 'may-sign-for'"):
        preference("may_sign_for")
    with pytest.raises(UnknownPreference, match="docs"):
        preference("xyzzy")


def test_levels() -> None:
    ENCRYPT.check_level(Level.PATTERN)
    MINIMUM_RSA_BITS.check_level(Level.GLOBAL)
    PKCS12_PASSWORD.check_level(Level.USER)
    for level in (Level.USER, Level.DOMAIN, Level.PATTERN):
        with pytest.raises(BadValue, match="global"):
            MINIMUM_RSA_BITS.check_level(level)
    with pytest.raises(BadValue, match="user"):
        PKCS12_PASSWORD.check_level(Level.GLOBAL)


def test_a_secret_is_shown_nowhere() -> None:
    value = PKCS12_PASSWORD.parse("hunter2")
    assert "hunter2" not in repr(value)
    assert "hunter2" not in str(value)
    with pytest.raises(BadValue) as caught:
        PKCS12_PASSWORD.parse(["hunter2"])
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("found", PREFERENCES, ids=lambda found: found.name)
def test_the_documentation_has_the_whole_row(found: Preference[Any]) -> None:
    text = Path(__file__).parents[3].joinpath("docs/preferences.md").read_text(encoding="utf-8")
    default = found.dump(found.default)
    if isinstance(default, bool):
        default = "yes" if default else "no"
    elif default is None or default == []:
        default = "none"
    else:
        default = f"`{default}`"
    follows = str(found.follows)
    follows += ", additive" if found.additive else ""
    follows += ", secret" if found.secret else ""
    row = f"| `{found.name}` | {found.kind.takes} | {default} | {follows} | {found.doc} |"
    assert row in text.splitlines()


def test_the_documentation_names_nothing_else() -> None:
    text = Path(__file__).parents[3].joinpath("docs/preferences.md").read_text(encoding="utf-8")
    tables = text[text.index("## Encryption") :].splitlines()
    named = {line.split("`")[1] for line in tables if line.startswith("| `")}
    assert named == set(ALL)
