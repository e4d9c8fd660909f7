"""Our mails, read by every other S/MIME program: each form with each letter.

What a program cannot read is a cell like the others: there it has to refuse, in its own words.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import pytest

from smimefilter.base.algorithms import ContentCipher, KeyTransport, SignatureAlgorithm
from tests.support.mails import LARGE, LETTERS, SMALL, Letter, same_content, same_entity
from tests.support.programs import PROGRAMS
from tests.support.programs.circle import RSA, Circle, key_for
from tests.support.programs.program import AGREEMENTS, Kind, Program, Refused, stays_closed
from tests.support.smime import clear_signed, encrypted, opaque_signed

pytestmark = pytest.mark.system

CBC, GCM = ContentCipher.AES_256_CBC, ContentCipher.AES_256_GCM
ENCRYPTED: Final = {
    Kind.AES_256_CBC: (CBC, KeyTransport.PKCS1),
    Kind.AES_128_CBC: (ContentCipher.AES_128_CBC, KeyTransport.PKCS1),
    Kind.AES_256_GCM: (GCM, KeyTransport.PKCS1),
    Kind.OAEP: (CBC, KeyTransport.OAEP),
    **dict.fromkeys(sorted(AGREEMENTS), (CBC, KeyTransport.PKCS1)),
}
SIGNED: Final = {
    Kind.CLEAR: SignatureAlgorithm.SHA256,
    Kind.OPAQUE: SignatureAlgorithm.SHA256,
    Kind.PSS: SignatureAlgorithm.SHA256_PSS,
    Kind.ECDSA: SignatureAlgorithm.SHA256,
}
# What a clear-signed mail changes on its way into 7-bit form; the signature is over that.
RECODED: Final = frozenset({"non-ASCII", "alternative", "invitation", "long lines"})


def mail_of(letter: Letter, key: str = RSA) -> bytes:
    address = f"{key}@example.org"
    return letter.headers(address, address) + letter.entity


def sign(circle: Circle, letter: Letter, kind: Kind) -> bytes:
    signed, key = opaque_signed if kind is Kind.OPAQUE else clear_signed, key_for(kind)
    user, algorithm = circle.user(key), SIGNED[kind]
    mail = mail_of(letter, key)
    return signed(mail, user, algorithm=algorithm, at=datetime.now(UTC), chain=True)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("kind", SIGNED)
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_signed(circle: Circle, program: type[Program], kind: Kind, name: str) -> None:
    letter, reader = LETTERS[name], circle.program(program)
    mail = sign(circle, letter, kind)
    if kind not in program.can_read:
        with pytest.raises(Refused, match=r"\w"):
            reader.verify(mail)
        return
    opened = reader.verify(mail)
    assert opened.valid
    same = same_entity if kind is Kind.OPAQUE or name not in RECODED else same_content
    assert same(letter.entity, opened.entity)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("kind", ENCRYPTED)
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_encrypted(circle: Circle, program: type[Program], kind: Kind, name: str) -> None:
    letter, key = LETTERS[name], key_for(kind)
    cipher, transport = ENCRYPTED[kind]
    mail = encrypted(mail_of(letter, key), circle.user(key), cipher=cipher, transport=transport)
    if kind not in program.can_read:
        assert stays_closed(lambda: circle.program(program, key).decrypt(mail), letter.entity)
        return
    reader = circle.program(program, key)
    same = same_content if program.composes else same_entity  # it may end the text once more
    found = same(letter.entity, reader.decrypt(mail).entity)
    assert found is not (name in program.garbles)


@pytest.mark.parametrize("name", [*SMALL, LARGE])
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_signed_and_encrypted(circle: Circle, program: type[Program], name: str) -> None:
    letter, reader = LETTERS[name], circle.program(program)
    mail = encrypted(sign(circle, letter, Kind.CLEAR), circle.user())
    address = f"{RSA}@example.org"
    entity = reader.decrypt(mail).entity
    outer = letter.headers(address, address)
    if name in program.garbles:
        with pytest.raises(Refused, match=r"\w"):
            reader.verify(outer + entity)
        return
    assert reader.verify(outer + entity).valid
