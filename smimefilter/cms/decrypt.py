"""Decrypting: the content key by each private key at hand that a message names, then content.

Whatever goes wrong once a key was found, the outcome is the same and takes the same steps: a
content key that does not decrypt to one of the right length is replaced by a random one, the
content is deciphered with it, and nothing comes of it. So neither reply, report nor time tells
whether padding was right (RFC 3218, and RFC 8551 §6 with EFAIL). Content without
authentication (CBC) is told apart from authenticated content: anybody may have changed it.

3DES and RC2 are read, for the sake of old mail, and never written. RFC 5652 §6, RFC 5083 and
5084 (GCM), RFC 8103 (ChaCha20-Poly1305), RFC 3370 (3DES, RC2). Leaves the content key to
`contentkey.py`. Raises `CannotDecrypt`.
"""

from __future__ import annotations

import hmac
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, GCM

from smimefilter.base.errors import KeyTrouble
from smimefilter.pki import rc2
from smimefilter.pki.certificate import Certificate

from . import ber, der
from .ber import BadCms
from .contentkey import content_key, way_of
from .enveloped import Enveloped, Recipient
from .identifiers import Identifier

MOST_TRIED: Final = 16  # private key operations for one message
MOST_OF_ONE: Final = 2  # with one certificate: nobody needs to be named more often
LARGEST_RC2: Final = 1 << 18  # bytes: it is slow, and what is so old is small
_COST: Final = {"3des-cbc": 4, "rc2-cbc": 256}  # beside that of AES, for as many octets

_Key = Callable[[], PrivateKeyTypes]


class CannotDecrypt(ValueError):
    """No content comes of it; the text says no more than may be told to anybody."""


class NoKey(CannotDecrypt):
    """No private key at hand is among the recipients'."""


class TooMuch(CannotDecrypt):
    """It takes more work than there may be, as its size and its recipients say."""


class Unsupported(CannotDecrypt):
    """Encrypted in a way that is not known here, which the message says in clear."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What an encrypted message held."""

    content: bytes
    certificate: Certificate  # of the private key that opened it
    cipher: str  # "aes-256-gcm"
    transport: str  # "rsa-oaep"
    authenticated: bool


@dataclass(frozen=True, slots=True)
class _Cipher:
    name: str
    key_bytes: int
    block: int = 16
    kind: str = "aes-cbc"


def _cipher_table() -> dict[bytes, _Cipher]:
    nist = "2.16.840.1.101.3.4.1."
    found = {}
    for arc, bits in ((2, 128), (22, 192), (42, 256)):
        found[der.oid(f"{nist}{arc}")] = _Cipher(f"aes-{bits}-cbc", bits // 8)
        gcm = _Cipher(f"aes-{bits}-gcm", bits // 8, kind="aes-gcm")
        found[der.oid(f"{nist}{arc + 4}")] = gcm
    found[der.oid("1.2.840.113549.3.7")] = _Cipher("des-ede3-cbc", 24, 8, "3des-cbc")
    found[der.oid("1.2.840.113549.3.2")] = _Cipher("rc2-cbc", 0, 8, "rc2-cbc")
    chacha = _Cipher("chacha20-poly1305", 32, kind="chacha20-poly1305")
    found[der.oid("1.2.840.113549.1.9.16.3.18")] = chacha
    return found


_CIPHERS: Final = _cipher_table()
_RC2_BITS: Final = {160: 40, 120: 64, 58: 128}  # RFC 3370 §5.2
_SHORTEST_TAG: Final = 12
_GCM_DEFAULT_TAG: Final = 12  # RFC 5084 §3.2


def decrypt(
    message: Enveloped,
    find: Callable[[Identifier], Iterable[tuple[Certificate, _Key]]],
    may_spend: Callable[[int], bool] = lambda _: True,
) -> Opened:
    """The content. `find` gives certificates with a private key at hand that an identifier
    names, and their keys. `may_spend`: whether as much work may be done as AES of so many
    octets is. Raises `NoKey`, `Unsupported`, `TooMuch`, `CannotDecrypt`; `KeyTrouble` where
    there are only keys that cannot be used now, or the first one cannot after all."""
    cipher = _CIPHERS.get(message.cipher.oid)
    if cipher is None or (cipher.kind in {"aes-gcm", "chacha20-poly1305"}) is not (
        message.authenticated
    ):
        raise Unsupported("encrypted with a cipher that is not known here")
    decipher, size = _decipher(message, cipher)
    cost = sum(map(len, message.content)) * _COST.get(cipher.kind, 1)
    for number, (recipient, certificate, key) in enumerate(_unlocked(_ways_in(message, find))):
        if not may_spend(cost):
            if number == 0:
                raise TooMuch("it takes too much work")
            break  # as if the next one had been tried: else it would tell that this one failed
        try:
            content = _content(recipient, key, size, decipher)
        except KeyTrouble:  # of a token, just now
            if number == 0:
                raise
            # As if this one had failed: else it would tell that the first one did.
            decipher(secrets.token_bytes(size or 16))
            continue
        if content is not None:
            how = way_of(recipient)
            return Opened(content, certificate, cipher.name, how, message.authenticated)
    raise CannotDecrypt("cannot be decrypted")


def _ways_in(
    message: Enveloped, find: Callable[[Identifier], Iterable[tuple[Certificate, _Key]]]
) -> Iterator[tuple[Recipient, Certificate, _Key]]:
    """What a private key at hand may open, the first ones if they are many."""
    tried: Counter[Certificate] = Counter()
    for recipient in message.recipients:
        for certificate, key in find(recipient.recipient):
            if tried[certificate] == MOST_OF_ONE:
                continue
            tried[certificate] += 1
            yield recipient, certificate, key
            if tried.total() == MOST_TRIED:
                return


def _unlocked(
    ways: Iterable[tuple[Recipient, Certificate, _Key]],
) -> list[tuple[Recipient, Certificate, PrivateKeyTypes]]:
    """Those whose keys can be used, and all of them before one is tried: what becomes of a
    mail must not depend on another key once one has failed. Raises `KeyTrouble` where there is
    none but such as cannot be used, `NoKey` where there is none at all."""
    found: list[tuple[Recipient, Certificate, PrivateKeyTypes]] = []
    trouble: Exception = NoKey("none of the recipients' private keys is at hand")
    for recipient, certificate, key in ways:
        try:
            found.append((recipient, certificate, key()))
        except KeyTrouble as error:
            trouble = error
    if not found:
        raise trouble
    return found


def _content(
    recipient: Recipient,
    key: PrivateKeyTypes,
    size: int,
    decipher: Callable[[bytes], bytes | None],
) -> bytes | None:
    """The content by one private key, or None; the same steps are taken either way."""
    found = content_key(recipient, key)
    # A size of 0: the cipher takes keys of several lengths (RC2).
    good = found is not None and (len(found) == size if size else 5 <= len(found) <= 16)
    stand_in = secrets.token_bytes(size or 16)
    content = decipher(found if good and found is not None else stand_in)
    return content if good else None


def _decipher(
    message: Enveloped, cipher: _Cipher
) -> tuple[Callable[[bytes], bytes | None], int]:
    """From a content key to the content, or None; and how long the key is (0: it varies).
    Raises `Unsupported` for parameters that are none."""
    try:
        match cipher.kind:
            case "aes-gcm":
                return _gcm(message), cipher.key_bytes
            case "chacha20-poly1305":
                return _chacha(message), cipher.key_bytes
            case "rc2-cbc":
                return _rc2(message), 0
            case _:
                vector = _octets_of(message.cipher.parameters, cipher.block)
                return _cbc(message.content, cipher, vector), cipher.key_bytes
    except (BadCms, KeyError):
        raise Unsupported("encrypted with parameters that are not known here") from None


def _octets_of(parameters: bytes, size: int) -> bytes:
    found = bytes(_fields(parameters).take(ber.OCTET_STRING).content)
    if len(found) != size:
        raise BadCms("an initialisation vector of a wrong length")
    return found


def _cbc(
    content: Sequence[memoryview], cipher: _Cipher, vector: bytes
) -> Callable[[bytes], bytes | None]:
    algorithm = TripleDES if cipher.kind == "3des-cbc" else AES

    def decipher(key: bytes) -> bytes | None:
        decryptor = Cipher(algorithm(key), CBC(vector)).decryptor()
        try:
            plain = b"".join([*map(decryptor.update, content), decryptor.finalize()])
        except ValueError:  # not whole blocks: the message says so in clear
            return None
        return _unpadded(plain, cipher.block)

    return decipher


def _unpadded(plain: bytes, block: int) -> bytes | None:
    """RFC 5652 §6.3."""
    if not plain:
        return None
    size = plain[-1]
    good = (1 <= size <= block) & hmac.compare_digest(
        plain[-max(size, 1) :], bytes([size]) * min(max(size, 1), len(plain))
    )
    return plain[: len(plain) - size] if good else None


def _rc2(message: Enveloped) -> Callable[[bytes], bytes | None]:
    fields = _fields(message.cipher.parameters).inside(ber.SEQUENCE)
    bits = _RC2_BITS[ber.integer(fields.take(ber.INTEGER))]
    vector = bytes(fields.take(ber.OCTET_STRING).content)
    if len(vector) != rc2.BLOCK:
        raise BadCms("an initialisation vector of a wrong length")
    content = b"".join(message.content)
    if len(content) > LARGEST_RC2:
        raise Unsupported("too much of it is encrypted with RC2")

    def decipher(key: bytes) -> bytes | None:
        try:
            return _unpadded(rc2.decrypt_cbc(key, bits, vector, content), rc2.BLOCK)
        except ValueError:
            return None

    return decipher


def _gcm(message: Enveloped) -> Callable[[bytes], bytes | None]:
    fields = _fields(message.cipher.parameters).inside(ber.SEQUENCE)
    nonce = bytes(fields.take(ber.OCTET_STRING).content)
    size = fields.maybe(ber.INTEGER)
    length = _GCM_DEFAULT_TAG if size is None else ber.integer(size)
    if not 8 <= len(nonce) <= 128 or not _SHORTEST_TAG <= length <= 16:
        raise BadCms("a nonce or tag of a wrong length")

    def decipher(key: bytes) -> bytes | None:
        if len(message.mac) != length:
            return None
        mode = GCM(nonce, message.mac, min_tag_length=_SHORTEST_TAG)
        decryptor = Cipher(AES(key), mode).decryptor()
        decryptor.authenticate_additional_data(message.attributes)
        try:
            return b"".join([*map(decryptor.update, message.content), decryptor.finalize()])
        except InvalidTag:
            return None

    return decipher


def _chacha(message: Enveloped) -> Callable[[bytes], bytes | None]:
    nonce = _octets_of(message.cipher.parameters, 12)

    def decipher(key: bytes) -> bytes | None:
        sealed = b"".join([*message.content, message.mac])
        try:
            return ChaCha20Poly1305(key).decrypt(nonce, sealed, message.attributes)
        except InvalidTag:
            return None

    return decipher


def _fields(value: bytes) -> ber.Fields:
    return ber.Fields(memoryview(value), ber.Effort(100))
