"""What a mail is to those who decide: signed and encrypted only where it is so in whole."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given

from smimefilter.message.headers import LONGEST_LIST
from smimefilter.message.wire import HeaderTooLarge, Message
from smimefilter.plan import facts
from smimefilter.plan.facts import Mail
from smimefilter.plan.plan import Action
from smimefilter.policy.patterns import read_pattern
from tests.support.odd_mail import RAW, TYPED
from tests.support.plans import World

VECTORS: Final = Path(__file__).parents[2] / "vectors" / "odd-mails"
ENVELOPED: Final = bytes.fromhex("06092a864886f70d010703")
HEAD: Final = b"From: <a@example.com>\r\nTo: b@x.test\r\nSubject: x\r\n"


def mail(raw: bytes) -> Mail:
    return Mail(Message(raw))


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.eml").read_bytes()


# signed, encrypted: mail that other programs made


@pytest.mark.parametrize(
    ("name", "is_signed", "is_encrypted"),
    [
        ("smime-clear-signed", True, False),
        ("smime-opaque-signed", True, False),
        ("smime-encrypted", False, True),
        ("pgp-mime-signed", True, False),
        ("pgp-mime-encrypted", False, True),
        ("pgp-inline-signed", False, False),
        ("pgp-inline-encrypted", False, False),
        ("pgp-key-attached", False, False),
        ("smime-type-only", False, False),
        ("attached-mail", False, False),
    ],
)
def test_signed_and_encrypted(name: str, is_signed: bool, is_encrypted: bool) -> None:
    found = mail(vector(name))
    assert (found.is_signed, found.is_encrypted) == (is_signed, is_encrypted)


@pytest.mark.parametrize(
    "name",
    ["smime-clear-signed", "smime-opaque-signed", "smime-encrypted", "pgp-mime-signed",
     "pgp-mime-encrypted"],
)  # fmt: skip
@pytest.mark.parametrize("where", [0, 1])
def test_mail_of_two_types_is_neither(name: str, where: int) -> None:
    lines = vector(name).split(b"\r\n\r\n", 1)[0].split(b"\r\n")
    lines.insert(where * len(lines), b"Content-Type: text/plain")
    found = mail(b"\r\n".join(lines) + b"\r\n\r\n" + vector(name).split(b"\r\n\r\n", 1)[1])
    assert not found.is_encrypted
    assert not found.is_signed


@pytest.mark.parametrize("name", ["smime-encrypted", "pgp-mime-encrypted"])
@pytest.mark.parametrize("where", ["before", "after"])
def test_text_beside_what_is_encrypted_is_seen(name: str, where: str) -> None:
    head, blank, body = vector(name).partition(b"\r\n\r\n")
    text = b"TOP SECRET plain text\r\n"
    body = text + body if where == "before" else body + text
    assert mail(head + blank + body).is_encrypted is False


def test_encrypted_data_where_a_signature_should_be_is_neither() -> None:
    cms = vector("smime-encrypted").partition(b"\r\n\r\n")[2]
    found = mail(
        b"Content-Type: multipart/signed; boundary=b; protocol=application/pkcs7-signature\r\n"
        b"\r\n--b\r\n\r\nTOP SECRET\r\n--b\r\nContent-Type: application/pkcs7-signature\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n" + cms + b"\r\n--b--\r\n"
    )
    assert not found.is_encrypted
    assert not found.is_signed


SPOOFS: Final = [
    b"Content-Type: multipart/encrypted\r\n\r\nTOP SECRET\r\n-----BEGIN PGP MESSAGE-----\r\n",
    b"Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.b64encode(ENVELOPED + b"....... TOP SECRET plain text"),
    b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\n"
    + ENVELOPED + b"....... TOP SECRET plain text",
]  # fmt: skip


@pytest.mark.parametrize("spoof", SPOOFS)
def test_a_header_alone_never_satisfies_mandatory(spoof: bytes) -> None:
    world = World().set("example.com", encrypt="mandatory")
    plan = world.plan("a@example.com", "b@x.test", mail=HEAD + spoof)
    assert plan.decisions[0].action is Action.REFUSE
    assert plan.copies == ()


@pytest.mark.parametrize("name", ["smime-encrypted", "pgp-mime-encrypted"])
def test_encrypted_mail_satisfies_mandatory(name: str) -> None:
    world = World().set("example.com", encrypt="mandatory")
    plan = world.plan("a@example.com", "b@x.test", mail=vector(name))
    assert plan.decisions[0].action is Action.UNTOUCHED


def test_a_header_alone_never_passes_for_a_signature() -> None:
    world = World()
    world.person("a@example.com", key=True)
    world.set("a@example.com", sign="always")
    raw = HEAD + b"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"
    assert world.plan("a@example.com", "b@x.test", mail=raw).copies[0].signing is not None


# fields


def test_a_trigger_in_any_of_several_subjects_counts() -> None:
    world = World().set("example.com", encrypt_trigger_subject=r"\[secure\]")
    other, trigger = b"Subject: " + b"x" * 2000 + b"\r\n", b"Subject: [secure] x\r\n"
    for fields in (trigger, trigger + other, other + trigger, other + other + trigger):
        raw = b"From: <a@example.com>\r\nTo: b@x.test\r\n" + fields + b"\r\nbody\r\n"
        plan = world.plan("a@example.com", "b@x.test", mail=raw)
        assert plan.decisions[0].action is Action.REFUSE


def test_all_sensitivities_count() -> None:
    raw = b"Sensitivity: Personal\r\nSensitivity: =?utf-8?q?Private?=\r\n\r\n"
    assert mail(raw).sensitivities == {"personal", "private"}
    assert mail(b"\r\n").sensitivities == frozenset()


def test_header_matches() -> None:
    found = mail(b"X-A: one\r\nX-A: two\r\n\r\n")
    assert found.header_matches("x-a", None)
    assert found.header_matches("X-A", read_pattern("two"))
    assert not found.header_matches("X-A", read_pattern("three"))
    assert not found.header_matches("X-B", None)


# any mail


@given(RAW | TYPED)
def test_any_mail_has_facts(raw: bytes) -> None:
    found = mail(raw)
    assert found.size == len(raw)
    assert found.author is None or "@" in found.author
    for fact in (found.visible, found.sensitivities):
        assert isinstance(fact, frozenset)
    assert not (found.is_encrypted and found.is_signed)
    assert found.is_calendar in {True, False}
    found.header_matches("Subject", read_pattern("x"))


def test_a_header_that_is_too_large_is_said_to_be() -> None:
    found = mail(b"a:\n" * 1_000_000 + b"\n")
    assert found.size == 3_000_001
    for fact in ("author", "visible", "sensitivities", "is_signed", "is_encrypted"):
        with pytest.raises(HeaderTooLarge):
            getattr(found, fact)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"Message-ID: <1@x.test>\r\n", "<1@x.test>"),
        (b"Message-Id:\r\n <1@x.test>\r\n", "<1@x.test>"),
        (b"", ""),
        (b"Message-ID: <\xff\x1b[31m a>\r\n", "<??[31m?a>"),
        (b"Message-ID: <" + b"a" * 999 + b">\r\n", "<" + "a" * 249),
    ],
)
def test_the_message_id_is_made_fit_for_a_log(header: bytes, expected: str) -> None:
    assert Mail(Message(header + b"\r\nbody")).message_id == expected


def test_of_long_lists_of_addresses_only_so_much_is_read() -> None:
    one = b"To: " + b", ".join(b"a%d@x.test" % n for n in range(1000)) + b"\r\n"
    found = mail(one + b"Cc: b@x.test\r\n\r\n")
    assert "b@x.test" in found.visible
    found = mail(one * (LONGEST_LIST // len(one) + 1) + b"Cc: b@x.test\r\n\r\n")
    assert "b@x.test" not in found.visible
    assert mail(b"From: " + b"(x)" * LONGEST_LIST + b"a@x.test\r\n\r\n").author is None


def test_what_many_recipients_ask_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counting(name: str) -> None:
        known = getattr(facts, name)

        def called(*args: object) -> object:
            asked.append(name)
            return known(*args)

        monkeypatch.setattr(facts, name, called)

    counting("cleaned")
    counting("protected_parts")
    found = mail(b"Content-Type: multipart/mixed; boundary=b\r\nX-Ours-A: b\r\n\r\n--b\r\n\r\n")
    for _ in range(3):
        assert found.is_forged("X-Ours-", "gw.test", ())
        assert not found.is_forged("X-Theirs-", "gw.test", ())
        assert not found.is_said_protected
        assert not found.protected_parts
    assert sorted(asked) == ["cleaned", "cleaned", "protected_parts"]
