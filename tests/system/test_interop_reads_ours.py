"""Our mails, read by every other S/MIME program: each form with each letter.

What a program cannot read is a cell like the others: there it has to refuse, in its own words.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import pytest

from smimefilter.base.algorithms import ContentCipher, KeyTransport
from tests.support.mails import LARGE, LETTERS, SMALL, Letter, same_content, same_entity
from tests.support.programs import PROGRAMS
from tests.support.programs.circle import RSA, Circle
from tests.support.programs.program import Kind, Program, Refused, stays_closed
from tests.support.smime import clear_signed, encrypted, opaque_signed

pytestmark = pytest.mark.system

CBC, GCM = ContentCipher.AES_256_CBC, ContentCipher.AES_256_GCM
ENCRYPTED: Final = {
    Kind.AES_256_CBC: (CBC, KeyTransport.PKCS1),
    Kind.AES_256_GCM: (GCM, KeyTransport.PKCS1),
    Kind.OAEP: (CBC, KeyTransport.OAEP),
}
# What a clear-signed mail changes on its way into 7-bit form; the signature is over that.
RECODED: Final = frozenset({"non-ASCII", "alternative", "invitation", "long lines"})


def mail_of(letter: Letter) -> bytes:
    address = f"{RSA}@example.org"
    return letter.headers(address, address) + letter.entity


def sign(circle: Circle, letter: Letter, kind: Kind) -> bytes:
    signed = clear_signed if kind is Kind.CLEAR else opaque_signed
    return signed(mail_of(letter), circle.user(), at=datetime.now(UTC), chain=True)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("kind", [Kind.CLEAR, Kind.OPAQUE])
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
    if kind is Kind.OPAQUE or name not in RECODED:
        assert same_entity(letter.entity, opened.entity)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("kind", ENCRYPTED)
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_encrypted(circle: Circle, program: type[Program], kind: Kind, name: str) -> None:
    letter, reader = LETTERS[name], circle.program(program)
    cipher, transport = ENCRYPTED[kind]
    mail = encrypted(mail_of(letter), circle.user(), cipher=cipher, transport=transport)
    if kind not in program.can_read:
        assert stays_closed(lambda: reader.decrypt(mail), letter.entity)
        return
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
