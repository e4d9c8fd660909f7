"""Decrypting what openssl and this gateway wrote, in every way there is; broken ones too."""

from __future__ import annotations

import contextlib
import subprocess
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.base.algorithms import ContentCipher, KeyTransport
from smimefilter.base.errors import KeyTrouble
from smimefilter.cms.ber import BadCms, Effort
from smimefilter.cms.compressed import decompress
from smimefilter.cms.decrypt import (
    MOST_OF_ONE,
    CannotDecrypt,
    NoKey,
    Opened,
    TooMuch,
    Unsupported,
    decrypt,
)
from smimefilter.cms.envelope import envelop
from smimefilter.cms.enveloped import Transported, read_enveloped
from smimefilter.cms.identifiers import Identifier
from smimefilter.pki.certificate import Certificate
from tests.support.pki import Issued, root
from tests.support.readers import pem
from tests.support.smime import compressed_data

CONTENT: Final = b"Content-Type: text/plain\r\n\r\nHello\r\n" * 100
ROOT: Final = root()
KINDS: Final = ["rsa2048", "p256", "p384", "p521", "x25519"]
Found = Iterator[tuple[Certificate, Callable[[], PrivateKeyTypes]]]


def person(kind: str = "rsa2048", name: str = "Bob") -> Issued:
    return ROOT.issue(f"{name} {kind}", mail="bob@example.org", key=kind)


def keys_of(*people: Issued) -> Callable[[Identifier], Found]:
    def find(identifier: Identifier) -> Found:
        for who in people:
            if identifier.names(who.certificate):
                yield who.certificate, lambda who=who: who.key  # type: ignore[misc]

    return find


def opened(der: bytes, *people: Issued) -> Opened:
    return decrypt(read_enveloped(memoryview(der), Effort()), keys_of(*people))


def openssl(tmp_path: Path, who: Issued, *options: str, content: bytes = CONTENT) -> bytes:
    certificate, plain = tmp_path / "to.pem", tmp_path / "plain"
    certificate.write_bytes(pem(who.certificate))
    plain.write_bytes(content)
    command = ["openssl", "cms", "-encrypt", "-binary", "-outform", "DER", "-in", str(plain)]
    command += [*options, "-recip", str(certificate)]
    if options and options[-1].startswith("rsa_"):
        command += ["-keyopt", "rsa_padding_mode:oaep", "-keyopt", options[-1]]
        command.remove(options[-1])
    return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.mark.parametrize("cipher", list(ContentCipher))
@pytest.mark.parametrize("transport", list(KeyTransport))
@pytest.mark.parametrize("kind", KINDS)
def test_what_this_gateway_wrote(
    cipher: ContentCipher, transport: KeyTransport, kind: str
) -> None:
    who = person(kind)
    found = opened(b"".join(envelop([CONTENT], [who.certificate], cipher, transport)), who)
    assert found.content == CONTENT
    assert found.certificate == who.certificate
    assert found.cipher == cipher.value
    assert found.authenticated == cipher.value.endswith("gcm")
    told = "ecdh" if kind != "rsa2048" else f"rsa-{transport.value}"
    assert found.transport == told


@pytest.mark.parametrize("stream", [(), ("-stream",)], ids=["der", "streamed"])
@pytest.mark.parametrize("keyid", [(), ("-keyid",)], ids=["serial", "keyid"])
@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p521"])
@pytest.mark.parametrize(
    ("cipher", "name"),
    [
        ("-aes-128-cbc", "aes-128-cbc"),
        ("-aes-256-gcm", "aes-256-gcm"),
        ("-des3", "des-ede3-cbc"),
    ],
)
def test_what_openssl_wrote(
    tmp_path: Path,
    kind: str,
    cipher: str,
    name: str,
    stream: tuple[str, ...],
    keyid: tuple[str, ...],
) -> None:
    if cipher == "-des3" and kind != "rsa2048":
        cipher, name = "-aes-192-cbc", "aes-192-cbc"
    who = person(kind)
    large = CONTENT * 50
    found = opened(openssl(tmp_path, who, cipher, *stream, *keyid, content=large), who)
    assert found.content == large
    assert found.cipher == name


@pytest.mark.parametrize(
    "option", ["rsa_oaep_md:sha1", "rsa_oaep_md:sha256", "rsa_oaep_md:sha512"]
)
def test_oaep_with_any_hash(tmp_path: Path, option: str) -> None:
    found = opened(openssl(tmp_path, who := person(), "-aes256", option), who)
    assert (found.content, found.transport) == (CONTENT, "rsa-oaep")


@pytest.mark.parametrize("cipher", ["-rc2-40", "-rc2-64", "-rc2-128"])
def test_rc2_of_old_mail(tmp_path: Path, cipher: str) -> None:
    provider = ("-provider", "legacy", "-provider", "default")
    found = opened(openssl(tmp_path, who := person(), cipher, *provider), who)
    assert (found.content, found.cipher) == (CONTENT, "rc2-cbc")


def test_a_second_key_opens_what_is_for_somebody_else_too() -> None:
    alice, bob = person(name="Alice"), person()
    certificates = [alice.certificate, bob.certificate]
    der = b"".join(
        envelop([CONTENT], certificates, ContentCipher.AES_256_GCM, KeyTransport.OAEP)
    )
    assert opened(der, bob).certificate == bob.certificate
    with pytest.raises(NoKey):
        opened(der, person(name="Carol"))


def test_a_broken_key_and_broken_content_tell_the_same(tmp_path: Path) -> None:
    """No oracle: whatever is wrong with the encrypted key or content, one answer."""
    who = person()
    der = b"".join(
        envelop([CONTENT], [who.certificate], ContentCipher.AES_256_CBC, KeyTransport.PKCS1)
    )
    message = read_enveloped(memoryview(der), Effort())
    recipient = message.recipients[0]
    assert isinstance(recipient, Transported)
    public = who.key.public_key()
    said = set()
    for key in (bytes(32), bytes(31), bytes(33), b""):  # right and wrong lengths
        encrypted = public.encrypt(key, padding.PKCS1v15())  # type: ignore[union-attr, call-arg]
        said.add(_trouble(der.replace(recipient.encrypted_key, encrypted), who))
    said.add(_trouble(der.replace(recipient.encrypted_key, b"\x01" * 256), who))
    flipped = bytearray(der)
    flipped[-20] ^= 1  # the last but one block: the padding comes out wrong
    said.add(_trouble(bytes(flipped), who))
    assert said == {"CannotDecrypt cannot be decrypted"}


def _trouble(der: bytes, who: Issued) -> str:
    for _ in range(3):  # a stand-in key may by chance make a padding that is right
        try:
            opened(der, who)
        except CannotDecrypt as error:
            return f"{type(error).__name__} {error}"
    return "opened"


def test_gcm_that_was_changed_anywhere() -> None:
    who = person()
    der = b"".join(
        envelop([CONTENT], [who.certificate], ContentCipher.AES_128_GCM, KeyTransport.OAEP)
    )
    for at in (-1, -18, -100):
        flipped = bytearray(der)
        flipped[at] ^= 1
        with pytest.raises((CannotDecrypt, BadCms)):
            opened(bytes(flipped), who)


def test_a_cipher_that_is_not_known() -> None:
    who = person()
    der = b"".join(
        envelop([CONTENT], [who.certificate], ContentCipher.AES_128_CBC, KeyTransport.OAEP)
    )
    aes = bytes.fromhex("0609608648016503040102")
    assert aes in der
    with pytest.raises(Unsupported):
        opened(der.replace(aes, aes[:-1] + b"\x7f"), who)


def test_compressed_content() -> None:
    der = compressed_data(zlib.compress(CONTENT))
    assert decompress(memoryview(der), Effort(), 100_000) == CONTENT
    with pytest.raises(BadCms, match="limit"):
        decompress(memoryview(der), Effort(), len(CONTENT) - 1)


@pytest.mark.parametrize("content", [b"", b"no zlib", zlib.compress(CONTENT)[:-5]])
def test_compressed_content_that_is_broken(content: bytes) -> None:
    with pytest.raises(BadCms):
        decompress(memoryview(compressed_data(content)), Effort(), 100_000)


def test_what_unpacks_to_a_thousand_times_its_size_is_never_all_in_memory() -> None:
    der = compressed_data(zlib.compress(bytes(50_000_000), 9))
    with pytest.raises(BadCms, match="limit"):
        decompress(memoryview(der), Effort(), 1_000_000)


@given(st.data())
def test_mutations_end_in_an_answer(data: st.DataObject) -> None:
    der = bytearray(MUTATED)
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadCms, CannotDecrypt):
        opened(bytes(der), WHO)


WHO: Final = person()
MUTATED: Final = b"".join(
    envelop([b"short"], [WHO.certificate], ContentCipher.AES_128_GCM, KeyTransport.OAEP)
)


def test_nobody_is_tried_more_often_than_anybody_needs() -> None:
    """A mail that names one certificate very often costs no more than one that does twice."""
    bob, spent = person(), list[int]()
    der = b"".join(
        envelop([CONTENT], [bob.certificate], ContentCipher.AES_256_CBC, KeyTransport.PKCS1)
    )
    message = read_enveloped(memoryview(der), Effort())
    often = replace(message, recipients=message.recipients * 16)

    def wrong_key(identifier: Identifier) -> Found:
        yield bob.certificate, lambda: person(name="Carol").key

    def may_spend(octets: int) -> bool:
        spent.append(octets)
        return True

    with pytest.raises(CannotDecrypt):
        decrypt(often, wrong_key, may_spend)
    assert spent == [sum(map(len, message.content))] * MOST_OF_ONE
    with pytest.raises(TooMuch):
        decrypt(message, keys_of(bob), lambda _: False)


LOCKED: Final = person(name="Locked")


def to_both(*, wrong: bool) -> bytes:
    """To Bob and to somebody whose key cannot be used; the content spoilt, or not."""
    people = [WHO.certificate, LOCKED.certificate]
    der = b"".join(envelop([CONTENT], people, ContentCipher.AES_256_CBC, KeyTransport.PKCS1))
    if not wrong:
        return der
    info = cms.ContentInfo.load(der)
    held = info["content"]["encrypted_content_info"]
    held["encrypted_content"] = held["encrypted_content"].native[:-16] + bytes(16)
    return bytes(info.dump(force=True))


def find_half(identifier: Identifier) -> Found:
    def cannot() -> PrivateKeyTypes:
        raise KeyTrouble

    if identifier.names(LOCKED.certificate):
        yield LOCKED.certificate, cannot
    yield from keys_of(WHO)(identifier)


def test_a_key_that_cannot_be_used_does_not_tell_that_another_one_failed() -> None:
    """Or whoever adds its name to somebody's mail learns from a deferral what is in it."""
    good, bad = (
        read_enveloped(memoryview(to_both(wrong=one)), Effort()) for one in (False, True)
    )
    assert decrypt(good, find_half).content == CONTENT
    named = good.recipients
    locked_alone = tuple(one for one in named if one.recipient.names(LOCKED.certificate))
    assert len(locked_alone) == 1
    with pytest.raises(CannotDecrypt, match="cannot be decrypted"):
        decrypt(bad, find_half)
    with pytest.raises(KeyTrouble):
        decrypt(replace(good, recipients=locked_alone), find_half)


class Leaving:
    """A key in a token that goes away between being looked for and being used."""

    def decrypt(self, *_: object) -> bytes:
        raise KeyTrouble("gone")


rsa.RSAPrivateKey.register(Leaving)


def test_a_token_that_goes_away_does_not_tell_that_another_key_failed() -> None:
    good, bad = (
        read_enveloped(memoryview(to_both(wrong=one)), Effort()) for one in (False, True)
    )

    def find(identifier: Identifier) -> Found:
        if identifier.names(LOCKED.certificate):
            yield LOCKED.certificate, lambda: cast("PrivateKeyTypes", Leaving())
        yield from keys_of(WHO)(identifier)

    turned = good.recipients[::-1]
    leaving_last = (
        good.recipients if good.recipients[1].recipient.names(LOCKED.certificate) else turned
    )
    assert decrypt(replace(good, recipients=leaving_last), find).content == CONTENT
    with pytest.raises(CannotDecrypt, match="cannot be decrypted"):
        decrypt(replace(bad, recipients=leaving_last), find)
    for message in (good, bad):  # the first one: whatever the others are, the mail waits
        with pytest.raises(KeyTrouble):
            decrypt(replace(message, recipients=leaving_last[::-1]), find)


def test_what_work_is_left_does_not_tell_that_one_try_failed() -> None:
    message = read_enveloped(memoryview(to_both(wrong=True)), Effort())
    often = replace(message, recipients=message.recipients * 2)
    left = iter([True, False])
    with pytest.raises(CannotDecrypt) as caught:
        decrypt(often, keys_of(WHO), lambda _: next(left))
    assert not isinstance(caught.value, TooMuch)
