"""What becomes of a mail tells nobody what a private key has opened.

Somebody who has another one's encrypted mail, cut and glued anew (CBC lets him), sends it and
looks at the reply. For whatever the text may turn out to be, the reply is the one that he gets
when nothing can be decrypted.
"""

from __future__ import annotations

import os
from typing import Any, Final, cast

import pytest
from asn1crypto import cms

from smimefilter.base.algorithms import ContentCipher
from smimefilter.base.envelope import Delivered, Fate, Recipient, Transaction, Unfit
from smimefilter.base.errors import KeyTrouble, Status
from smimefilter.flow.carry import Carrier
from smimefilter.flow.filter import Filter
from smimefilter.flow.origin import Origins
from smimefilter.flow.snapshots import State
from smimefilter.message.wire import LARGEST_HEADER, Message
from smimefilter.ports.relay import Outgoing
from smimefilter.smtp.stuffing import Smuggling, stuffed
from tests.support.plans import World
from tests.support.ring import Ring
from tests.support.smime import clear_signed, encrypted, encrypted_as, opaque_signed
from tests.unit.flow.test_filter import OK, JournalStub, RelayStub
from tests.unit.flow.test_spoofing import ALICE, BOB, HOST, body_of, letter, with_body

UNFIT: Final = Unfit(Status(5, "6.0"), "cannot be sent there")
PLAIN: Final = b"Content-Type: text/plain\r\n\r\n"


class PickyRelay(RelayStub):
    """A next hop that takes 7-bit mail only, and no smuggling."""

    async def deliver(self, outgoing: Outgoing) -> list[Fate]:
        try:
            fit = all(chunk.isascii() for chunk in stuffed(outgoing.chunks))
        except Smuggling:
            fit = False
        self.answer = lambda _: OK if fit else UNFIT
        return await super().deliver(outgoing)


def world(**settings: Any) -> World:
    return World().set("in.test", locality="internal", subject_tags="yes", **settings)


async def fate_and_copy(
    mail: bytes, where: World, *, ring: Any = None, address: str = BOB, relay: Any = None
) -> tuple[Fate, Message, JournalStub]:
    relay, journal = relay or PickyRelay(), JournalStub()
    state = State(where.moment().snapshot, Carrier(ring or Ring(where)))
    sut = Filter(
        snapshots=cast(Any, type("Current", (), {"current": state})()),
        relay=relay,
        journal=journal,
        clock=lambda: where.moment().now,
        hostname=HOST,
        threads_from=1 << 20,
        origins=Origins(()),
    )
    (fate,) = await sut.accept(Transaction("id", ALICE, (Recipient(address),), mail))
    last = relay.taken[-1] if relay.taken else None
    return fate, Message(b"".join(last.chunks) if last else b""), journal


def pkcs7(content: bytes, kind: str = "signed-data") -> bytes:
    head = f"Content-Type: application/pkcs7-mime; smime-type={kind}\r\n".encode()
    return head + b"Content-Transfer-Encoding: binary\r\n\r\n" + content


NASTY: Final[dict[str, bytes]] = {
    "nothing": b"",
    "an endless header": b"X: " + b"a" * (LARGEST_HEADER + 10),
    "endless fields": b"X: a\r\n" * 12_000 + b"\r\n",
    "8-bit fields": "Content-Type: text/plain; x=é\r\n\r\nhi\r\n".encode(),
    "a lone dot": PLAIN.replace(b"plain", b"pl\xc3\xa9in") + b"hi\n.\nx\r\n",
    "a lone dot in binary": PLAIN[:-2]
    + b"Content-Transfer-Encoding: binary\r\nX: \xe9\r\n\r\nhi\n.\r\nx",
    "fields with a bare CR": b"Content-Type: text/plain\rFrom: boss@in.test\r\n\r\nhi",
    "protected fields with a bare CR": (
        b'Content-Type: text/plain; hp="cipher"\r\nSubject: a\rFrom: b@x.test\r\n\r\nhi'
    ),
    "no CMS": pkcs7(b"not at all"),
    "CMS that is cut off": pkcs7(bytes.fromhex("3082010006092a864886f70d010703")),
    "half a multipart": b"Content-Type: multipart/signed; protocol=application/"
    b'pkcs7-signature; boundary="x"\r\n\r\n--x\r\n\r\n--x\r\n',
    "random octets": os.urandom(200),
    "a year that is none": b"Date: 99999999999999999999\r\n\r\n\x00\x01",
}


@pytest.mark.parametrize("deal", ["deliver", "refuse"])
@pytest.mark.parametrize("name", NASTY)
async def test_the_reply_is_that_of_a_wrong_padding(name: str, deal: str) -> None:
    where = world(on_undecryptable=deal)
    us = where.person(BOB, key=True)
    fate, copy, journal = await fate_and_copy(encrypted_as(letter(), NASTY[name], us), where)
    changed = encrypted(letter(), us)
    info = cms.ContentInfo.load(body_of(changed))
    held = info["content"]["encrypted_content_info"]
    held["encrypted_content"] = held["encrypted_content"].native[:-16] + os.urandom(16)
    wrong, _, _ = await fate_and_copy(with_body(changed, bytes(info.dump(force=True))), where)
    assert fate == wrong == OK
    assert not journal.troubles
    assert b"From: b@x.test" not in copy.raw.replace(b"\r\n", b"").replace(b"\r", b"\r\n")


@pytest.mark.parametrize("deal", ["deliver", "refuse"])
async def test_a_signed_part_that_is_broken_within_is_no_reason_to_refuse(deal: str) -> None:
    """As Outlook writes it: signed opaquely, then encrypted."""
    where = world(on_undecryptable=deal)
    author, us = where.person(ALICE), where.person(BOB, key=True)
    inner = opaque_signed(letter(), author)
    fate, _, _ = await fate_and_copy(encrypted(inner[: len(inner) // 2], us), where)
    assert fate == OK


async def test_a_locked_key_beside_a_usable_one_changes_no_reply() -> None:
    """Whoever adds a locked key's name to another's mail asks with it what is in that."""
    where = world()
    us, locked = where.person(BOB, key=True), where.person("old@in.test", key=True)

    class Half(Ring):
        def private_key(self, thumbprint: str) -> Any:
            if thumbprint == locked.thumbprint:
                raise KeyTrouble
            return super().private_key(thumbprint)

    mail = encrypted(letter(), us, locked)
    info = cms.ContentInfo.load(body_of(mail))
    held = info["content"]["encrypted_content_info"]
    held["encrypted_content"] = held["encrypted_content"].native[:-16] + os.urandom(16)
    for one in (mail, with_body(mail, bytes(info.dump(force=True)))):
        fate, _, _ = await fate_and_copy(one, where, ring=Half(where))
        assert fate == OK


async def test_a_key_that_cannot_be_had_is_no_reason_to_wait_within_a_layer() -> None:
    where = world()
    us, other = where.person(BOB, key=True), where.person("carol@in.test", key=True)

    class Half(Ring):
        def private_key(self, thumbprint: str) -> Any:
            if thumbprint == other.thumbprint:
                raise RuntimeError("cannot be unwrapped")
            return super().private_key(thumbprint)

    inside = encrypted(letter(), other)
    fate, copy, _ = await fate_and_copy(encrypted(inside, us), where, ring=Half(where))
    assert fate == OK
    assert b"outcome=failed" in copy.raw
    fate, _, _ = await fate_and_copy(inside, where, ring=Half(where))
    assert not isinstance(fate, Delivered)  # in clear it is: the mail waits


async def test_what_cannot_be_sent_when_it_is_open_is_sent_closed() -> None:
    where = world()
    us = where.person(BOB, key=True)
    mail = encrypted_as(letter(), NASTY["a lone dot"], us)
    fate, copy, _ = await fate_and_copy(mail, where)
    assert fate == OK
    assert b"outcome=failed" in copy.raw
    assert bytes(copy.body) == bytes(Message(mail).body)


@pytest.mark.parametrize(
    ("cipher", "told"), [(ContentCipher.AES_256_CBC, 0), (ContentCipher.AES_256_GCM, 1)]
)
async def test_no_mail_waits_for_what_a_signer_within_cbc_would_need(
    cipher: ContentCipher, told: int
) -> None:
    where = world()
    author, us = where.person(ALICE), where.person(BOB, key=True)
    mail = encrypted(clear_signed(letter(), author), us, cipher=cipher)
    from smimefilter.plan.facts import Mail
    from smimefilter.plan.opened import OpeningRules

    reader = Carrier(Ring(where)).reader(Mail(Message(mail)), where.moment(), HOST)
    assert len(reader.opening(OpeningRules()).layers) == 2
    assert len(reader.verdicts) == told


@pytest.mark.parametrize(
    ("whose", "address", "opened"),
    [
        ("recipient", BOB, True),
        ("recipient", "info@in.test", False),
        ("domain", "info@in.test", True),
        ("domain", "mallory@sub.in.test", False),
        ("domain", "mallory@other.test", False),
        ("any", "mallory@other.test", True),
        ("in.test, x.test", "mallory@other.test", True),
        ("x.test, other.test", "mallory@other.test", False),
        ("*.in.test", "mallory@other.test", True),
        ("other.test, *.test", "mallory@other.test", True),
        ("*.other.test, *.n.test", "mallory@other.test", False),
    ],
)
async def test_whose_keys_open_a_mail(whose: str, address: str, opened: bool) -> None:
    where = World()
    for domain in ("in.test", "sub.in.test", "other.test"):
        where.set(domain, locality="internal", decrypt_with=whose)
    mail = encrypted(letter(), where.person(BOB, key=True))
    _, copy, _ = await fate_and_copy(mail, where, address=address)
    assert (b"Pay 10 to Carol." in copy.raw) is opened
    assert (b"outcome=opened" if opened else b"outcome=key-withheld") in copy.raw
