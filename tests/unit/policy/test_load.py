from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from smimefilter.base.errors import AdminError, AdminErrors
from smimefilter.policy.load import dump, load
from smimefilter.policy.preferences import RESET, Encrypt, Locality, Sign
from smimefilter.policy.tree import Setting, Tree
from tests.support.settings import THUMBPRINT, scopes

GLOBAL = """\
preferences:
  encrypt: allow
  sign: when-encrypting
  additional-certificates: ["sha512:4F4F…"]
""".replace("4F4F…", THUMBPRINT.upper())

DOMAIN = """\
# our own
domain: Example.com
preferences: {locality: internal, sign: always}
users:
  Alice@Example.com:
    encrypt: mandatory
"""

USERS = """\
users:
  bob@elsewhere.test:
    encrypt: never
  carol@elsewhere.test: {sign: default, encrypt: null}
"""

FILES = {"global.yaml": GLOBAL, "domains/example.com.yaml": DOMAIN, "users/a.yaml": USERS}

ONE_FILE = f"""\
preferences:
  encrypt: allow
  sign: when-encrypting
  additional-certificates: {THUMBPRINT}
domains:
  - domain: example.com
    preferences:
      locality: internal
      sign: always
    users:
      alice@example.com: {{encrypt: mandatory}}
users:
  bob@elsewhere.test: {{encrypt: never}}
  carol@elsewhere.test: {{sign: ~, encrypt: default}}
"""


def errors(files: dict[str, str], folder: str = "") -> list[str]:
    with pytest.raises(AdminError) as caught:
        load(files, folder)
    found = caught.value
    several = found.errors if isinstance(found, AdminErrors) else (found,)
    assert str(found).splitlines() == [str(one) for one in several]
    return [str(one) for one in several]


def test_a_folder_of_files_with_sources() -> None:
    found = load(FILES)
    assert sorted(found) == [
        "alice@example.com", "bob@elsewhere.test", "carol@elsewhere.test", "example.com",
        "global",
    ]  # fmt: skip
    assert found["example.com"]["locality"] == Setting(Locality.INTERNAL, "any")
    assert found["alice@example.com"]["encrypt"].value is Encrypt.MANDATORY
    assert found["global"]["additional-certificates"].value == (THUMBPRINT,)
    assert found["carol@elsewhere.test"]["sign"].value is RESET
    assert found["carol@elsewhere.test"]["encrypt"].value is RESET
    sources = {
        (scope, name): setting.source
        for scope, named in found.items()
        for name, setting in named.items()
    }
    assert sources["global", "sign"] == "global.yaml:3"
    assert sources["example.com", "sign"] == "domains/example.com.yaml:3"
    assert sources["alice@example.com", "encrypt"] == "domains/example.com.yaml:6"
    assert sources["bob@elsewhere.test", "encrypt"] == "users/a.yaml:3"


def test_one_file_says_the_same() -> None:
    assert load({"policy.yaml": ONE_FILE}) == load(FILES)


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "preferences:\n", "preferences: {}\nusers:\ndomains: []\n", "~"]
)
def test_nothing_is_nothing(text: str) -> None:
    assert Tree(load({"global.yaml": text})).view("a@b.test").get  # loads
    assert not any(load({"global.yaml": text}).values())


def test_values_need_no_quotes_to_stay_what_they_are() -> None:
    digits = "1" * 128
    found = load(
        {"global.yaml": f"preferences:\n  signing-certificate: {digits}\n  skip-signed: no\n"}
    )
    assert found["global"]["signing-certificate"].value == digits
    assert found["global"]["skip-signed"].value is False


def test_patterns_in_quotes() -> None:
    found = load({"domains/x.yaml": 'domain: "*.Example.com"\npreferences: {sign: never}\n'})
    assert found["*.example.com"]["sign"].value is Sign.NEVER


@pytest.mark.parametrize(
    ("name", "text", "place", "hint"),
    [
        ("global.yaml", "preferences:\n  encypt: allow\n", "2:3", "did you mean 'encrypt'?"),
        ("global.yaml", "preferences:\n  may_sign_for: x\n", "2:3", "'may-sign-for'"),
        ("global.yaml", "preferences:\n  encrypt: madatory\n", "2:12", "'mandatory'"),
        ("global.yaml", "preferences:\n  encrypt: no\n", "2:12", "did you mean 'never'?"),
        ("global.yaml", "preferences:\n  encrypt:\n", "2:11", "default"),
        ("global.yaml", "preferences:\n  encrypt: [allow]\n", "2:12", "a list"),
        ("global.yaml", "preferences:\n  encrypt: {a: b}\n", "2:12", "a mapping"),
        ("global.yaml", "preferences:\n  sign-trigger-subject: [secure]\n", "2:25", "quotes"),
        ("global.yaml", "preferences:\n  sign-trigger-header: X: y\n", "2:25", "quotes"),
        ("global.yaml", "preferences:\n  pkcs12-password: x\n", "2:20", "policy set"),
        ("global.yaml", "preferences:\n  signing-certificate: ab\n", "2:24", "certificate"),
        ("global.yaml", "preferences: allow\n", "1:14", "name: value"),
        ("global.yaml", "preferences: [encrypt]\n", "1:14", "name: value"),
        ("global.yaml", "prefrences: {}\n", "1:1", "did you mean 'preferences'?"),
        ("global.yaml", "domain: example.com\n", "1:1", "did you mean 'domains'?"),
        ("global.yaml", "domains: {example.com: {}}\n", "1:10", "- domain:"),
        ("global.yaml", "domains:\n  - preferences: {}\n", "2:5", "'domain' is missing"),
        ("global.yaml", "domains: [example.com]\n", "1:11", "domain: example.com"),
        ("global.yaml", "users:\n  alice: {}\n", "2:3", "not a mail address"),
        ("global.yaml", "users:\n  'a b@c': {}\n", "2:3", "not a mail address"),
        ("global.yaml", "users:\n  '*.c': {}\n", "2:3", "not a mail address"),
        ("global.yaml", "users:\n  - a@b\n", "2:3", "name: value"),
        ("global.yaml", "a: 1\na: 2\n", "2:1", "line 1"),
        ("global.yaml", "preferences:\n\tencrypt: allow\n", "2:1", "spaces"),
        ("global.yaml", "- encrypt\n", "1:1", "name: value"),
        ("global.yaml", "--- {}\n--- {}\n", "2:1", "document"),
        ("global.yaml", "preferences: !!map {}\n", "1:14", "tags"),
        ("domains/x.yaml", "preferences: {sign: always}\n", "1:1", "'domain' is missing"),
        ("domains/x.yaml", "", "1:1", "'domain' is missing"),
        ("domains/x.yaml", "domain: *.example.com\n", "1:10", "quotes"),
        ("domains/x.yaml", "domain: a..b\n", "1:9", "a..b"),
        ("domains/x.yaml", "domain: alice@example.com\n", "1:9", "takes a domain"),
        ("domains/x.yaml", "domain: global\n", "1:9", "takes a domain"),
        ("domains/x.yaml", "domain:\n", "1:8", "takes a domain"),
        ("domains/x.yaml", "domain: [192.0.2.1]\n", "1:9", "quotes"),
        ("domains/x.yaml", "domain: x\nusers:\n  a@y: {sign: never}\n", "3:3", "of the domain"),
        ("domains/x.yaml", "domain: x\npreferences:\n  minimum-rsa-bits: 2048\n", "3:21",
         "global"),
        ("users/x.yaml", "preferences: {}\n", "1:1", "users"),
        ("users/x.yaml", "alice@example.com: {}\n", "1:1", "users"),
        ("archive/x.yaml", "", "1:1", "domains/*.yaml"),
        ("domains/old/x.yaml", "", "1:1", "domains/*.yaml"),
    ],
)  # fmt: skip
def test_what_is_wrong_and_where(name: str, text: str, place: str, hint: str) -> None:
    found = errors({name: text}, "policies")
    assert len(found) == 1
    assert found[0].startswith(f"policies/{name}:{place}: ")
    assert hint in found[0]


def test_everything_wrong_is_said_at_once_and_nothing_is_loaded() -> None:
    found = errors(
        {
            "global.yaml": "preferences:\n  encypt: allow\n  sign: nver\n",
            "domains/a.yaml": "domain: [\n",
            "domains/b.yaml": "domain: good.test\npreferences: {sign: never}\n",
        }
    )
    assert [one.split(": ")[0] for one in found] == [
        "domains/a.yaml:2:1",
        "global.yaml:2:3",
        "global.yaml:3:9",
    ]


def test_a_scope_in_two_files_names_both_places() -> None:
    found = errors(
        {
            "domains/a.yaml": "domain: x.test\nusers:\n  bob@x.test: {sign: never}\n",
            "users/b.yaml": "users:\n  BOB@x.test: {sign: always}\n",
        },
        "policies",
    )
    assert len(found) == 1
    assert found[0].startswith("policies/users/b.yaml:2:3: ")
    assert "policies/domains/a.yaml:3" in found[0]


def test_a_scope_twice_in_one_file() -> None:
    text = "domains:\n  - {domain: x, preferences: {}}\n  - {domain: X, preferences: {}}\n"
    assert errors({"global.yaml": text})[0].startswith("global.yaml:3:")


def test_users_of_a_pattern_lie_below_it() -> None:
    text = 'domain: "*.x.test"\nusers: {a@x.test: {}, a@b.x.test: {}, a@notx.test: {}}\n'
    found = errors({"domains/x.yaml": text})
    assert len(found) == 1
    assert "a@notx.test" in found[0]


def test_a_broken_domain_is_not_taken_for_global() -> None:
    found = errors({"domains/x.yaml": "domain: a..b\npreferences: {encrypt: nver}\n"})
    assert len(found) == 1


@settings(max_examples=60)
@given(scopes())
def test_load_dump_load_is_stable(found: dict[str, dict[str, Setting]]) -> None:
    text = dump(found)
    again = load({"global.yaml": text})
    assert again == found
    assert dump(again) == text


def test_a_dump_has_no_secrets() -> None:
    found = {"alice@x.test": {"pkcs12-password": Setting("hunter2", "database")}}
    assert "hunter2" not in dump(found)
    assert yaml.safe_load(dump(found)) == {"users": {"alice@x.test": {}}}


@settings(max_examples=200)
@given(
    st.dictionaries(
        st.sampled_from(["global.yaml", "domains/a.yaml", "users/a.yaml", "x/y.yaml"]),
        st.lists(
            st.sampled_from(
                ["preferences:", "domain: a.b", "users:", "domains:", "- x", "  encrypt: never",
                 "  sign:", "  a@b.c:", "    sign: always", "  - domain: x", "&a", "*a", "{",
                 "]", "\t", "!x", "'", '"', "? ", "<<: x", "|", "\x00", "\ud800", "---", "..."]
            )
        ).map("\n".join),
    )
)  # fmt: skip
def test_any_text_is_loaded_or_refused_with_places(files: dict[str, str]) -> None:
    try:
        load(files)
    except AdminErrors as several:
        found = list(several.errors)
    except AdminError as one:
        found = [one]
    else:
        return
    assert all(one.where.split(":")[0] in files for one in found)
