"""Taking the padding off what a raw RSA operation gave, without telling whether it was right.

For tokens: they do the operation with the private key, and what is in the padding is looked at
here, alike for good and bad ones. PKCS #1 v1.5 never fails: a wrong padding yields a message
that is made of the ciphertext and a secret of this process, the same one each time (implicit
rejection), as OpenSSL does it. OAEP fails in one way for all causes and after the same steps.

Python's arithmetic takes the same number of steps, not exactly the same time: what is left are
fractions of a microsecond. RFC 8017 §7.1.2 and §7.2.2, RFC 3218. Raises `ValueError`, for OAEP.
"""

from __future__ import annotations

import hmac
import secrets
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.hashes import Hash, HashAlgorithm

_SHORTEST: Final = 8  # octets of padding, PKCS #1 v1.5
_SECRET: Final = secrets.token_bytes(32)


def stand_in(ciphertext: bytes, longest: int) -> bytes:
    """The message that a ciphertext with a wrong padding is said to hold: up to so many octets,
    always the same for the same ciphertext."""
    length = int.from_bytes(_derived(ciphertext, b"length", 8)) % (longest + 1)
    return _derived(ciphertext, b"message", longest)[:length]


def _derived(ciphertext: bytes, what: bytes, size: int) -> bytes:
    found = b""
    while len(found) < size:
        block = what + len(found).to_bytes(4) + ciphertext
        found += hmac.digest(_SECRET, block, sha256)
    return found[:size]


def pkcs1(block: bytes, ciphertext: bytes) -> bytes:
    """The message in 00 02 PS 00 M, or one that stands in for it."""
    bad = block[0] | (block[1] ^ 2)
    end, looking = 0, 1
    for position in range(2, len(block)):
        here = looking & _is_zero(block[position])
        end += here * position
        looking &= here ^ 1
    bad |= looking | (end < 2 + _SHORTEST)
    # Both are there before one is chosen.
    choices = block[end + 1 :], stand_in(ciphertext, len(block) - 3 - _SHORTEST)
    return choices[bad != 0]


def oaep(block: bytes, digest: HashAlgorithm, mask: HashAlgorithm, label: bytes) -> bytes:
    """The message in OAEP. Raises `ValueError`, whatever is wrong with it."""
    size = digest.digest_size
    if len(block) < 2 * size + 2:
        raise ValueError("cannot be decrypted")  # as anybody can see
    seed = _xor(block[1 : 1 + size], _mask(block[1 + size :], size, mask))
    inner = _xor(block[1 + size :], _mask(seed, len(block) - 1 - size, mask))
    bad = block[0] | (not hmac.compare_digest(inner[:size], _hash(label, digest)))
    end, looking = 0, 1
    for position in range(size, len(inner)):
        zero, one = _is_zero(inner[position]), _is_zero(inner[position] ^ 1)
        end += (looking & one) * position
        bad |= looking & (zero ^ 1) & (one ^ 1)
        looking &= one ^ 1
    if bad | looking:
        raise ValueError("cannot be decrypted")
    return inner[end + 1 :]


def _is_zero(octet: int) -> int:
    return ((octet - 1) >> 8) & 1


def _xor(one: bytes, other: bytes) -> bytes:
    size = len(one)
    return (int.from_bytes(one) ^ int.from_bytes(other)).to_bytes(size)


def _hash(data: bytes, algorithm: HashAlgorithm) -> bytes:
    hashing = Hash(algorithm)
    hashing.update(data)
    return hashing.finalize()


def _mask(seed: bytes, size: int, algorithm: HashAlgorithm) -> bytes:
    """MGF1, RFC 8017 §B.2.1."""
    blocks = -(-size // algorithm.digest_size)
    return b"".join(_hash(seed + n.to_bytes(4), algorithm) for n in range(blocks))[:size]
