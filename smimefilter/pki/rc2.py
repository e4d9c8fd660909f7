"""RC2 in CBC mode, decryption alone: what certificates in old PKCS#12 files are hidden with.

OpenSSL 1.x, Windows up to 7 and macOS encrypt the certificates of a PKCS#12 file with RC2 and
40 effective key bits. Crypto libraries offer that only through a legacy provider that a
system may leave out, and not with 40 bits; so it is read here, without one. Nothing is ever
encrypted with it: 40 bits protect nothing.

Leaves key derivation and padding to `pbe.py`. RFC 2268. Raises `ValueError`.
"""

from __future__ import annotations

import struct
from typing import Final

BLOCK: Final = 8

_PITABLE: Final = bytes.fromhex(
    "d978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2"
    "179a59f587b34f1361456d8d09817d32bd8f40eb86b77b0bf09521225c6b4e82"
    "54d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb626"
    "6fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed7"
    "08e8eade8052eef784aa72ac354d6a2a961ad2715a1549744b9fd05e0418a4ec"
    "c2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731"
    "2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a9"
    "0d38341bab33ffb0bb480c5fb9b1cd2ec5f3db47e5a59c770aa62068fe7fc1ad"
)
_ROTATIONS: Final = (1, 2, 3, 5)


def decrypt_cbc(key: bytes, effective_bits: int, iv: bytes, ciphertext: bytes) -> bytes:
    """The plain bytes, padding still on.

    `key` is 1 to 128 bytes, `iv` 8 bytes, `ciphertext` a multiple of 8 bytes. Raises
    `ValueError` for other lengths.
    """
    if len(iv) != BLOCK or len(ciphertext) % BLOCK:
        raise ValueError("RC2 works on blocks of 8 bytes")
    words = _expand(key, effective_bits)
    plain = bytearray()
    previous = iv
    for start in range(0, len(ciphertext), BLOCK):
        block = ciphertext[start : start + BLOCK]
        mixed = int.from_bytes(_decrypt_block(words, block)) ^ int.from_bytes(previous)
        plain += mixed.to_bytes(BLOCK)
        previous = block
    return bytes(plain)


def _expand(key: bytes, effective_bits: int) -> tuple[int, ...]:
    """RFC 2268 §2: 64 words of 16 bits."""
    if not 1 <= len(key) <= 128 or not 1 <= effective_bits <= 1024:
        raise ValueError("not an RC2 key")
    buffer = bytearray(key)
    while len(buffer) < 128:
        buffer.append(_PITABLE[(buffer[-1] + buffer[-len(key)]) & 0xFF])
    whole = (effective_bits + 7) // 8
    buffer[128 - whole] = _PITABLE[buffer[128 - whole] & (0xFF >> (8 * whole - effective_bits))]
    for i in range(127 - whole, -1, -1):
        buffer[i] = _PITABLE[buffer[i + 1] ^ buffer[i + whole]]
    return struct.unpack("<64H", buffer)


def _decrypt_block(words: tuple[int, ...], block: bytes) -> bytes:
    """RFC 2268 §4: five rounds of reverse mixing, a mash, six, a mash, five."""
    r = list(struct.unpack("<4H", block))
    at = 63
    for number, rounds in enumerate((5, 6, 5)):
        if number:
            for i in (3, 2, 1, 0):
                r[i] = (r[i] - words[r[i - 1] & 63]) & 0xFFFF
        for _ in range(rounds):
            for i in (3, 2, 1, 0):
                turned = (r[i] >> _ROTATIONS[i]) | (r[i] << (16 - _ROTATIONS[i]))
                mixed = (r[i - 1] & r[i - 2]) + (~r[i - 1] & r[i - 3]) + words[at]
                r[i] = ((turned & 0xFFFF) - mixed) & 0xFFFF
                at -= 1
    return struct.pack("<4H", *r)
