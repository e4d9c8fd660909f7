"""Password-based decryption and message authentication, as key files use them.

Every scheme that programs of the last 25 years write: PBES2 (PBKDF2 or scrypt, with AES or
3DES), the PKCS#12 schemes (SHA-1 with 3DES or RC2), PBES1 with DES, and both ways to
authenticate a PKCS#12 file (its own key derivation, and PBMAC1). No scheme needs a legacy
provider of the crypto library. Nothing is encrypted here.

A file chooses its iteration counts, so the work is bounded: `Effort` is spent and runs out.

Leaves file structures to `pkcs12.py` and `keyfile.py`.
RFC 8018 (PBES, PBKDF), RFC 7292 Appendix B and C, RFC 7914 (scrypt), RFC 9579 (PBMAC1).
Raises `UnreadableKeyFile`, `WrongPassword`.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from asn1crypto import algos, core, pkcs12
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.padding import PKCS7

from . import rc2

MOST_ITERATIONS: Final = 5_000_000  # of one derivation; the highest seen in use is 600 000
MOST_EFFORT: Final = 50_000_000  # of one file: half a minute
_MOST_MEMORY: Final = 256 * 1024 * 1024  # bytes, for scrypt

_SCRYPT: Final = "1.3.6.1.4.1.11591.4.11"
_PBMAC1: Final = "1.2.840.113549.1.5.14"
_KEY, _IV, _MAC = 1, 2, 3  # what the PKCS#12 derivation makes
_BLOCK_SIZES: Final = {"sha1": 64, "sha224": 64, "sha256": 64, "sha384": 128, "sha512": 128}


class UnreadableKeyFile(ValueError):
    """A file, or a part of one, that cannot be read; says why."""


class PasswordNeeded(UnreadableKeyFile):
    """It is encrypted, and no password was given."""


class WrongPassword(UnreadableKeyFile):
    """The password does not open it."""


class Effort:
    """What a file may still cost, in hash iterations. Raises `UnreadableKeyFile` at the end."""

    def __init__(self, left: int = MOST_EFFORT) -> None:
        self._left = left

    def spend(self, iterations: int) -> int:
        """Take one derivation's iterations away; returns them."""
        if not 1 <= iterations <= MOST_ITERATIONS:
            raise UnreadableKeyFile(f"an iteration count of {iterations} is out of range")
        self._left -= iterations
        if self._left < 0:
            raise UnreadableKeyFile("its iteration counts add up to too much work")
        return iterations


@dataclass(frozen=True, slots=True)
class Spelling:
    """A password as bytes, in both forms that the schemes take."""

    octets: bytes = field(repr=False)  # PBES1, PBES2, PBMAC1
    bmp: bytes = field(repr=False)  # PKCS#12: UTF-16, with two zero bytes at its end


def spellings(password: str | None) -> tuple[Spelling, ...]:
    """How programs turn this password into bytes, the standard's way first.

    None means that there is no password, which some programs write in place of an empty one.
    Older OpenSSL widened each UTF-8 byte; older NSS gave UTF-16 to PBES2 as well.
    """
    if not password:
        return (Spelling(b"", b"\0\0"), Spelling(b"", b""), Spelling(b"\0\0", b"\0\0"))
    octets = password.encode("utf-8", "surrogateescape")
    bmp = _bmp(octets.decode("utf-8", "replace"))
    widened = _bmp(octets.decode("latin-1"))
    ways = (Spelling(octets, bmp), Spelling(octets, widened), Spelling(bmp, bmp))
    return tuple(dict.fromkeys(ways))


def decrypt(
    algorithm: algos.EncryptionAlgorithm, ciphertext: bytes, password: Spelling, effort: Effort
) -> bytes:
    """The plain bytes of something encrypted under a password.

    A wrong password shows as broken padding (`WrongPassword`), or, one time in 256, as bytes
    that the caller cannot parse. Raises `UnreadableKeyFile` for an unknown scheme.
    """
    try:
        name = algorithm["algorithm"].native
        parameters = algorithm["parameters"]
        if name == "pbes2":
            return _pbes2(parameters, ciphertext, password, effort)
        scheme = _SCHEMES.get(name)
        if scheme is None:
            raise UnreadableKeyFile(f"it is encrypted with {name}, which is not supported")
        return scheme(parameters, ciphertext, password, effort)
    except UnreadableKeyFile:
        raise
    except (ValueError, TypeError, KeyError, OverflowError, UnsupportedAlgorithm) as error:
        raise UnreadableKeyFile(f"its encryption cannot be read: {error}") from None


def verify_mac(
    mac_data: pkcs12.MacData, content: bytes, password: Spelling, effort: Effort
) -> bool:
    """Whether the MAC over a PKCS#12 file's content is the one of this password."""
    info = mac_data["mac"]
    algorithm = info["digest_algorithm"]
    if algorithm["algorithm"].dotted == _PBMAC1:
        digest, key = _pbmac1_key(algorithm["parameters"], password, effort)
    else:
        digest = algorithm["algorithm"].native
        if digest not in _BLOCK_SIZES:
            raise UnreadableKeyFile(f"its MAC uses {digest}, which is not supported")
        length = hashlib.new(digest, usedforsecurity=False).digest_size
        salt, iterations = mac_data["mac_salt"].native, mac_data["iterations"].native
        key = pkcs12_kdf(digest, password.bmp, salt, _MAC, iterations, length, effort)
    return hmac.compare_digest(hmac.digest(key, content, digest), info["digest"].native)


def pkcs12_kdf(
    digest: str,
    password: bytes,
    salt: bytes,
    purpose: int,
    iterations: int,
    length: int,
    effort: Effort,
) -> bytes:
    """RFC 7292 Appendix B.2: `length` bytes for a purpose (1 key, 2 IV, 3 MAC key)."""
    block = _BLOCK_SIZES[digest]
    diversifier = bytes([purpose]) * block
    state = _filled(salt, block) + _filled(password, block)
    made = b""
    hash_once = getattr(hashlib, digest)
    while True:
        hashed: bytes = diversifier + state
        for _ in range(effort.spend(iterations)):
            hashed = hash_once(hashed).digest()
        made += hashed
        if len(made) >= length:
            return made[:length]
        state = _added(state, _filled(hashed, block)[:block], block)


def _filled(text: bytes, block: int) -> bytes:
    """Repeated until it fills whole blocks; nothing stays nothing."""
    if not text:
        return b""
    length = -(-len(text) // block) * block
    return (text * (length // len(text) + 1))[:length]


def _added(state: bytes, addend: bytes, block: int) -> bytes:
    """Each block of the state plus `addend` plus one, without carry out of the block."""
    increment = int.from_bytes(addend) + 1
    mask = (1 << (8 * block)) - 1
    return b"".join(
        ((int.from_bytes(state[at : at + block]) + increment) & mask).to_bytes(block)
        for at in range(0, len(state), block)
    )


def _bmp(text: str) -> bytes:
    return text.encode("utf-16-be") + b"\0\0"


class _ScryptParams(core.Sequence):  # type: ignore[misc]  # asn1crypto has no types
    _fields = [  # noqa: RUF012 - the way asn1crypto declares a structure
        ("salt", core.OctetString),
        ("cost", core.Integer),
        ("block_size", core.Integer),
        ("parallelization", core.Integer),
        ("key_length", core.Integer, {"optional": True}),
    ]


def _derived(
    kdf: algos.KdfAlgorithm, password: Spelling, length: int | None, effort: Effort
) -> bytes:
    """The key of a PBES2 or PBMAC1 key derivation; `length` None takes the file's."""
    parameters = kdf["parameters"]
    if kdf["algorithm"].dotted == _SCRYPT:
        return _scrypt(_ScryptParams.load(parameters.dump()), password, length or 32, effort)
    if kdf["algorithm"].native != "pbkdf2":
        raise UnreadableKeyFile("its key derivation is not supported")
    wanted = length or parameters["key_length"].native
    if not wanted or not 0 < wanted <= 128:
        raise UnreadableKeyFile("its key derivation names no key length")
    digest = parameters["prf"]["algorithm"].native
    salt = parameters["salt"].native
    iterations = effort.spend(parameters["iteration_count"].native)
    return hashlib.pbkdf2_hmac(digest, password.octets, salt, iterations, wanted)


def _scrypt(given: core.Sequence, password: Spelling, length: int, effort: Effort) -> bytes:
    cost, size, lanes = (
        given[name].native for name in ("cost", "block_size", "parallelization")
    )
    effort.spend(cost * size * lanes)
    return hashlib.scrypt(
        password.octets, salt=given["salt"].native, n=cost, r=size, p=lanes,
        maxmem=_MOST_MEMORY, dklen=length,
    )  # fmt: skip


def _pbmac1_key(
    parameters: core.Asn1Value, password: Spelling, effort: Effort
) -> tuple[str, bytes]:
    given = algos.Pbmac1Params.load(parameters.dump())
    digest = given["message_auth_scheme"]["algorithm"].native
    return digest, _derived(given["key_derivation_func"], password, None, effort)


_PBES2_CIPHERS: Final[dict[str, tuple[type[AES | TripleDES], int]]] = {
    "aes128_cbc": (AES, 16),
    "aes192_cbc": (AES, 24),
    "aes256_cbc": (AES, 32),
    "tripledes_3key": (TripleDES, 24),
}


def _pbes2(
    parameters: algos.Pbes2Params, ciphertext: bytes, password: Spelling, effort: Effort
) -> bytes:
    scheme = parameters["encryption_scheme"]
    name = scheme["algorithm"].native
    if name not in _PBES2_CIPHERS:
        raise UnreadableKeyFile(f"it is encrypted with {name}, which is not supported")
    cipher, length = _PBES2_CIPHERS[name]
    key = _derived(parameters["key_derivation_func"], password, length, effort)
    return _cbc(cipher(key), scheme["parameters"].native, ciphertext)


def _cbc(cipher: AES | TripleDES, iv: bytes, ciphertext: bytes) -> bytes:
    decryptor = Cipher(cipher, modes.CBC(iv)).decryptor()
    _must_be_blocks(ciphertext, len(iv))
    return _unpadded(decryptor.update(ciphertext) + decryptor.finalize(), len(iv))


def _must_be_blocks(ciphertext: bytes, block: int) -> None:
    if not ciphertext or len(ciphertext) % block:
        raise UnreadableKeyFile("its encrypted part is cut off")


def _unpadded(padded: bytes, block: int) -> bytes:
    unpadder = PKCS7(8 * block).unpadder()
    try:
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        raise WrongPassword("the password is wrong") from None


@dataclass(frozen=True, slots=True)
class _Pkcs12Scheme:
    """SHA-1, the PKCS#12 derivation for key and IV, and an old cipher with 8-byte blocks."""

    cipher: str
    key_bytes: int

    def __call__(
        self,
        parameters: algos.Pbes1Params,
        ciphertext: bytes,
        password: Spelling,
        effort: Effort,
    ) -> bytes:
        salt, iterations = parameters["salt"].native, parameters["iterations"].native
        secret = password.bmp
        key = pkcs12_kdf("sha1", secret, salt, _KEY, iterations, self.key_bytes, effort)
        iv = pkcs12_kdf("sha1", secret, salt, _IV, iterations, rc2.BLOCK, effort)
        if self.cipher == "3des":
            return _cbc(TripleDES((key + key)[:24]), iv, ciphertext)
        _must_be_blocks(ciphertext, rc2.BLOCK)
        plain = rc2.decrypt_cbc(key, 8 * self.key_bytes, iv, ciphertext)
        return _unpadded(plain, rc2.BLOCK)


@dataclass(frozen=True, slots=True)
class _Pbes1Scheme:
    """PBKDF1 and DES: what `openssl pkcs8` wrote by default before version 1.1."""

    digest: str

    def __call__(
        self,
        parameters: algos.Pbes1Params,
        ciphertext: bytes,
        password: Spelling,
        effort: Effort,
    ) -> bytes:
        made = password.octets + parameters["salt"].native
        for _ in range(effort.spend(parameters["iterations"].native)):
            made = hashlib.new(self.digest, made, usedforsecurity=False).digest()
        return _cbc(TripleDES(made[:8] * 3), made[8:16], ciphertext)


_SCHEMES: Final[dict[str, _Pkcs12Scheme | _Pbes1Scheme]] = {
    "pkcs12_sha1_tripledes_3key": _Pkcs12Scheme("3des", 24),
    "pkcs12_sha1_tripledes_2key": _Pkcs12Scheme("3des", 16),
    "pkcs12_sha1_rc2_128": _Pkcs12Scheme("rc2", 16),
    "pkcs12_sha1_rc2_40": _Pkcs12Scheme("rc2", 5),
    "pbes1_md5_des": _Pbes1Scheme("md5"),
    "pbes1_sha1_des": _Pbes1Scheme("sha1"),
}
