"""Each S/MIME program reads what it wrote itself, and what openssl wrote.

So the programs are known to work as these tests use them, and what they are said not to do
they do not. What they make of our mails is `test_interop_reads_ours.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from smimefilter.base.algorithms import ContentCipher, KeyTransport
from smimefilter.cms.envelope import envelop
from smimefilter.message.wrap import SmimeType, pkcs7_mime
from tests.support.mails import LARGE, LETTERS, SMALL, Letter, same_content, same_entity
from tests.support.programs import PROGRAMS
from tests.support.programs.circle import RSA, Circle, key_for
from tests.support.programs.mime import is_made_with
from tests.support.programs.openssl import Openssl
from tests.support.programs.program import (
    ENCRYPTIONS,
    SIGNATURES,
    Kind,
    Opened,
    Program,
    Refused,
    stays_closed,
)

pytestmark = pytest.mark.system

HELLO: Final = LETTERS["non-ASCII"]


def _cipher_of(program: type[Program]) -> Kind:
    order = (Kind.AES_256_CBC, Kind.AES_128_CBC, Kind.TRIPLE_DES)
    return next(kind for kind in order if kind in program.can_write & ENCRYPTIONS)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Circle]:
    """People under another root."""
    made = Circle(tmp_path_factory.mktemp("strangers"), "Strangers Root")
    yield made
    made.close()


@pytest.fixture(params=PROGRAMS)
def kind_of_program(request: pytest.FixtureRequest) -> type[Program]:
    found: type[Program] = PROGRAMS[request.param]
    return found


def headers(letter: Letter, sender: str = RSA, recipient: str = RSA) -> bytes:
    return letter.headers(f"{sender}@example.org", f"{recipient}@example.org")


def reader(circle: Circle, program: type[Program], kind: Kind) -> Program:
    """The program of whoever such a mail is for."""
    return circle.program(program, RSA if kind in SIGNATURES else key_for(kind))


def read(program: Program, mail: bytes, kind: Kind) -> Opened:
    return program.verify(mail) if kind in SIGNATURES else program.decrypt(mail)


def write(circle: Circle, program: type[Program], letter: Letter, kind: Kind) -> bytes:
    """As the user with that kind of key, or to this user."""
    key = key_for(kind)
    if kind in SIGNATURES:
        writer = circle.program(program, key)
        return writer.sign(letter.entity, headers(letter, sender=key), kind)
    outer = headers(letter, recipient=key)
    return circle.program(program).encrypt(letter.entity, outer, [circle.papers(key)], kind)


def written_by_others(circle: Circle, kind: Kind) -> bytes:
    """By openssl; to X25519, which it does not know, by the functions of the gateway."""
    if kind is not Kind.X25519:
        return write(circle, Openssl, HELLO, kind)
    recipient = [circle.user("x25519").certificate]
    cms = envelop([HELLO.entity], recipient, ContentCipher.AES_256_CBC, KeyTransport.PKCS1)
    entity = pkcs7_mime(SmimeType.ENVELOPED, cms)
    return headers(HELLO, recipient="x25519") + b"".join(entity.chunks)


def is_what_it_wrote(program: Program, letter: Letter, entity: bytes) -> bool:
    same = same_content if program.composes else same_entity
    return same(program.within(letter.entity, headers(letter)), entity)


@pytest.mark.parametrize("kind", Kind)
def test_reads_others(circle: Circle, kind_of_program: type[Program], kind: Kind) -> None:
    mail = written_by_others(circle, kind)
    if kind not in kind_of_program.can_read and kind in ENCRYPTIONS:
        decrypt = lambda: reader(circle, kind_of_program, kind).decrypt(mail)  # noqa: E731
        assert stays_closed(decrypt, HELLO.entity)
        return
    if kind not in kind_of_program.can_read:
        with pytest.raises(Refused, match=r"\w"):
            reader(circle, kind_of_program, kind).verify(mail)
        return
    opened = read(reader(circle, kind_of_program, kind), mail, kind)
    assert same_entity(HELLO.entity, opened.entity)
    if kind in SIGNATURES:
        assert opened.valid
        assert opened.signer in {f"User {key_for(kind)}", f"{key_for(kind)}@example.org"}


@pytest.mark.parametrize("kind", Kind)
def test_writes_for_others(circle: Circle, kind_of_program: type[Program], kind: Kind) -> None:
    if kind not in kind_of_program.can_write:
        with pytest.raises(Refused, match=r"\w"):
            write(circle, kind_of_program, HELLO, kind)
        return
    mail = write(circle, kind_of_program, HELLO, kind)
    assert b"\r\nFrom: " in b"\r\n" + mail
    assert is_made_with(mail, kind)
    other = Openssl if kind in Openssl.can_read else kind_of_program
    opened = read(reader(circle, other, kind), mail, kind)
    assert is_what_it_wrote(circle.program(kind_of_program), HELLO, opened.entity)


@pytest.mark.parametrize(
    ("program", "kind", "name"),
    [
        pytest.param(program, kind, name, id=f"{program.name}-{kind}-{name}")
        for program in PROGRAMS.values()
        for kind in (Kind.CLEAR, Kind.OPAQUE, _cipher_of(program))
        for name in SMALL
        if kind in program.can_write and name not in program.cannot_carry
    ],
)
def test_reads_its_own(circle: Circle, program: type[Program], kind: Kind, name: str) -> None:
    mail = write(circle, program, LETTERS[name], kind)
    opened = read(reader(circle, program, kind), mail, kind)
    same = is_what_it_wrote(circle.program(program), LETTERS[name], opened.entity)
    assert same is not (name in program.garbles and kind not in SIGNATURES)


@pytest.mark.parametrize("name", [*SMALL, LARGE])
def test_signed_and_encrypted(
    circle: Circle, kind_of_program: type[Program], name: str
) -> None:
    letter = LETTERS[name]
    program = circle.program(kind_of_program)
    kinds = (Kind.CLEAR, _cipher_of(kind_of_program))
    outer = headers(letter)
    if name in kind_of_program.cannot_carry:
        with pytest.raises(Refused, match=r"\w"):
            program.sign_and_encrypt(letter.entity, outer, [circle.papers()], kinds)
        return
    mail = program.sign_and_encrypt(letter.entity, outer, [circle.papers()], kinds)
    assert is_made_with(mail, kinds[1])
    if name in kind_of_program.garbles:
        with pytest.raises(Refused, match=r"\w"):
            program.verify(outer + program.decrypt(mail).entity)
        return
    opened = program.verify(outer + program.decrypt(mail).entity)
    assert opened.valid
    assert is_what_it_wrote(program, letter, opened.entity)


def test_a_changed_mail_is_refused(circle: Circle, kind_of_program: type[Program]) -> None:
    mail = write(circle, Openssl, LETTERS["dots"], Kind.CLEAR)
    changed = mail.replace(b".hidden", b".shown")
    assert changed != mail
    with pytest.raises(Refused, match=r"\w"):
        circle.program(kind_of_program).verify(changed)


def test_an_unknown_root_is_refused(
    circle: Circle, strangers: Circle, kind_of_program: type[Program]
) -> None:
    mail = write(strangers, Openssl, HELLO, Kind.CLEAR)
    with pytest.raises(Refused, match=r"\w"):
        circle.program(kind_of_program).verify(mail)


def test_a_mail_for_another_is_refused(circle: Circle, kind_of_program: type[Program]) -> None:
    mail = circle.program(Openssl).encrypt(
        HELLO.entity, headers(HELLO), [circle.papers("rsa3072")], Kind.AES_256_CBC
    )
    program = circle.program(kind_of_program)
    assert stays_closed(lambda: program.decrypt(mail), HELLO.entity)
