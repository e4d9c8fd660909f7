"""Mails to be broken, and ways to break them: octets, lines, slices, and CMS within base64.

`seeds` are mails of every form, made once; `mutated` gives a broken one for a random source,
the same one for the same source. `opened` runs a mail through all that an incoming mail goes
through: planned, opened, told of, for a recipient with everything switched on.
"""

from __future__ import annotations

import base64
import random
import re
from functools import cache
from typing import Final

from smimefilter.base.algorithms import ContentCipher, KeyTransport, SignatureAlgorithm
from smimefilter.base.envelope import Recipient, Transaction
from smimefilter.flow.carry import Carrier
from smimefilter.message.wire import Message
from smimefilter.plan.facts import Mail
from smimefilter.plan.outbound import outbound
from smimefilter.plan.plan import Plan
from smimefilter.plan.snapshot import Moment
from tests.support.pki import Issued
from tests.support.plans import ROOT, World
from tests.support.ring import Ring
from tests.support.smime import clear_signed, compressed, encrypted, opaque_signed

AUTHOR, READER = "alice@out.test", "bob@in.test"
_PART: Final = b"--b\r\nContent-Type: text/plain\r\n\r\npart\r\n"
_LINES: Final = re.compile(rb"[^\n]*\n")
_TAGS: Final = bytes.fromhex("020304050630318081828384a0a1a2a3a4")


def plain() -> bytes:
    """A mail with two parts."""
    return (
        b"From: Alice <alice@out.test>\r\nTo: bob@in.test\r\nSubject: hello\r\n"
        b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        + _PART * 2 + b"--b--\r\n"
    )  # fmt: skip


@cache
def world() -> tuple[World, dict[str, Issued]]:
    """People who sign with every kind of key, and a reader whose keys are ours."""
    made = World().set("in.test", locality="internal", subject_tags="yes", harvest="any")
    people = {kind: ROOT.issue(f"Alice {kind}", mail=AUTHOR, key=kind) for kind in _SIGNERS}
    people |= {
        f"to {kind}": ROOT.issue(f"Bob {kind}", mail=READER, key=kind) for kind in _READERS
    }
    for name, issued in people.items():
        made.people[name] = issued
        if name.startswith("to "):
            made.keys.add(issued.thumbprint)
    return made, people


_SIGNERS: Final = ("rsa2048", "p256", "ed25519")
_READERS: Final = ("rsa2048", "p384", "x25519")


@cache
def seeds() -> tuple[bytes, ...]:
    """A mail of every form."""
    _, people = world()
    mail = plain()
    found = [mail, compressed(mail)]
    for kind in _SIGNERS:
        found += [clear_signed(mail, people[kind]), opaque_signed(mail, people[kind])]
    pss = SignatureAlgorithm.SHA256_PSS
    found.append(clear_signed(mail, people["rsa2048"], algorithm=pss, chain=True))
    for kind in _READERS:
        to = people[f"to {kind}"]
        for cipher in (ContentCipher.AES_128_CBC, ContentCipher.AES_256_GCM):
            found.append(encrypted(mail, to, cipher=cipher, transport=KeyTransport.OAEP))
    found.append(encrypted(clear_signed(mail, people["p256"]), people["to p384"]))
    found.append(
        opaque_signed(encrypted(compressed(mail), people["to x25519"]), people["p256"])
    )
    return tuple(found)


def mutated(source: random.Random) -> bytes:
    """One of the seeds, broken in one to five places."""
    mail = bytearray(source.choice(seeds()))
    for _ in range(source.randint(1, 5)):
        source.choice((_octet, _cut, _copied, _line, _within, _within, _within))(mail, source)
    return bytes(mail)


def _octet(data: bytearray, source: random.Random) -> None:
    if data:
        data[source.randrange(len(data))] = source.choice(
            (source.randrange(256), 0, 0x80, 0xFF)
        )


def _cut(data: bytearray, source: random.Random) -> None:
    at = source.randrange(len(data) + 1)
    del data[at : at + source.choice((1, 2, 10, 1000))]


def _copied(data: bytearray, source: random.Random) -> None:
    at, length = source.randrange(len(data) + 1), source.choice((1, 5, 50, 500))
    to = source.randrange(len(data) + 1)
    data[to:to] = data[at : at + length]


def _line(data: bytearray, source: random.Random) -> None:
    lines = _LINES.findall(bytes(data))
    if lines:
        at = source.randrange(len(lines))
        other = source.choice(lines)
        lines[at] = source.choice((b"", other, other.upper(), lines[at] * 2, b"\r\n", b"\n"))
        data[:] = b"".join(lines)


def _within(data: bytearray, source: random.Random) -> None:
    """Something in the CMS: an octet, a tag, a length, or a slice of it twice or not at all."""
    head, border, body = bytes(data).rpartition(b"\r\n\r\n")
    text, end, rest = body.partition(b"\r\n--")
    try:
        der = bytearray(base64.b64decode(text))
    except ValueError:
        return
    if not der:
        return
    at = source.randrange(min(len(der), source.choice((60, 400, len(der)))))
    match source.randrange(5):
        case 0:
            der[at] = source.randrange(256)
        case 1:
            der[at] = source.choice(_TAGS)
        case 2:
            der[at : at + 1] = source.choice((b"\x80", b"\x84\xff\xff\xff\xff", b"\0\0", b""))
        case 3:
            _copied(der, source)
        case _:
            _cut(der, source)
    data[:] = (
        head + border + base64.encodebytes(bytes(der)).replace(b"\n", b"\r\n") + end + rest
    )


def opened(mail: bytes) -> tuple[Plan, bytes]:
    """The plan for an incoming mail, and what its reader gets (nothing where it is refused)."""
    moment, carrier = _moment_and_carrier()
    message = Mail(Message(mail))
    transaction = Transaction("id", AUTHOR, (Recipient(READER),), mail)
    reader = carrier.reader(message, moment, "gw.in.test")
    plan = outbound(transaction, message, moment, reader)
    token = "0" * 26
    prepared = carrier.prepare(plan.copies, message.message, moment.now, token, reader)
    return plan, b"".join(b"".join(prepared.chunks(copy)) for copy in plan.copies)


@cache
def _moment_and_carrier() -> tuple[Moment, Carrier]:
    made, _ = world()
    return made.moment(), Carrier(Ring(made))
