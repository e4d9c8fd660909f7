"""Every other S/MIME program's mails, opened as every incoming mail is.

Each kind that a program writes, with each letter. What a program cannot write is asserted by
`test_programs.py`. By real Postfix and the running filter: `test_inbound.py`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import pytest

from smimefilter.flow.keyfinder import KeyFinder
from smimefilter.flow.opening import open_mail
from smimefilter.message.wire import Message
from smimefilter.plan.facts import Mail
from smimefilter.plan.opened import (
    EncryptedLayer,
    Opening,
    OpeningRules,
    Outcome,
    Signature,
    SignedLayer,
)
from smimefilter.plan.snapshot import CertificateIndex, Snapshot
from smimefilter.policy.tree import Tree
from smimefilter.trust.cache import Trust
from smimefilter.trust.knowledge import Knowledge
from tests.support.mails import LARGE, LETTERS, SMALL, Letter, same_content, same_entity
from tests.support.plans import World
from tests.support.programs import PROGRAMS
from tests.support.programs.circle import RSA, Circle, key_for
from tests.support.programs.program import SIGNATURES, Kind, Program
from tests.support.ring import Ring

pytestmark = pytest.mark.system

CIPHERS: Final = {
    Kind.AES_128_CBC: "aes-128-cbc",
    Kind.AES_256_CBC: "aes-256-cbc",
    Kind.AES_256_GCM: "aes-256-gcm",
    Kind.TRIPLE_DES: "des-ede3-cbc",
    Kind.RC2: "rc2-cbc",
}


def opened(circle: Circle, mail: bytes) -> Opening:
    """What the gateway makes of a mail, with the root of the circle and all its keys."""
    world = World()
    for kind in Kind:
        world.people[key_for(kind)] = circle.user(key_for(kind))
    certificates = [one.certificate for one in world.people.values()]
    snapshot = Snapshot(
        1,
        Tree({}),
        CertificateIndex(()),
        Trust(
            Knowledge(roots=[circle.root.certificate], authorities=circle.user().chain[1:-1])
        ),
    )
    keys = KeyFinder(certificates, Ring(world))
    moment = snapshot.at(datetime.now(UTC))
    return open_mail(Mail(Message(mail)), OpeningRules(), keys, moment)


def headers(letter: Letter, sender: str = RSA, recipient: str = RSA) -> bytes:
    return letter.headers(f"{sender}@example.org", f"{recipient}@example.org")


def written(circle: Circle, program: type[Program], letter: Letter, kind: Kind) -> bytes:
    key = key_for(kind)
    if kind in SIGNATURES:
        writer = circle.program(program, key)
        return writer.sign(letter.entity, headers(letter, sender=key), kind)
    outer = headers(letter, recipient=key)
    return circle.program(program).encrypt(letter.entity, outer, [circle.papers(key)], kind)


def holds(circle: Circle, program: type[Program], letter: Letter, found: Opening) -> None:
    """The letter came out, as far as the program put it in as it is."""
    message = found.stripped
    assert message is not None
    entity = b"\r\n".join(
        [
            b"".join(
                line
                for name, line in zip(message.names, message.lines, strict=True)
                if name.startswith((b"content-", b"mime-version"))
            ),
            bytes(message.body),
        ]
    )
    sent = circle.program(program).within(letter.entity, headers(letter))
    assert same_entity(sent, entity) or same_content(sent, entity)


@pytest.mark.parametrize(
    ("program", "kind", "name"),
    [
        pytest.param(program, kind, name, id=f"{program.name}-{kind}-{name}")
        for program in PROGRAMS.values()
        for kind in Kind
        if kind in program.can_write
        for name in SMALL
        if name not in program.cannot_carry
    ],
)
def test_each_kind_with_each_letter(
    circle: Circle, program: type[Program], kind: Kind, name: str
) -> None:
    letter = LETTERS[name]
    found = opened(circle, written(circle, program, letter, kind))
    (layer,) = found.layers
    if kind in SIGNATURES:
        assert isinstance(layer, SignedLayer)
        assert found.signed_by is not None, layer.signers
        assert found.signed_by.addresses == (f"{key_for(kind)}@example.org",)
        assert layer.clear == (kind is not Kind.OPAQUE)
    else:
        assert isinstance(layer, EncryptedLayer)
        assert layer.outcome is Outcome.OPENED
        if kind in CIPHERS:
            assert layer.cipher == CIPHERS[kind]
        assert layer.authenticated == (kind is Kind.AES_256_GCM)
    holds(circle, program, letter, found)


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
@pytest.mark.parametrize("name", [*SMALL, LARGE])
def test_signed_and_encrypted(circle: Circle, program: type[Program], name: str) -> None:
    letter = LETTERS[name]
    if name in program.cannot_carry:
        return  # which `test_programs.py` asserts
    order = (Kind.AES_256_CBC, Kind.AES_128_CBC, Kind.TRIPLE_DES)
    cipher = next(kind for kind in order if kind in program.can_write)
    mail = circle.program(program).sign_and_encrypt(
        letter.entity, headers(letter), [circle.papers()], (Kind.CLEAR, cipher)
    )
    found = opened(circle, mail)
    assert found.was_decrypted
    assert found.signatures == [Signature.GOOD]
    assert found.signed_by is not None
    holds(circle, program, letter, found)
    # What is delivered still has the signature, which holds for the next reader as well.
    assert found.kept is not None
    assert opened(circle, found.kept.raw).signatures == [Signature.GOOD]
