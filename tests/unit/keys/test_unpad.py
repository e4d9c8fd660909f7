"""Unpadding: what OpenSSL takes is taken, what it refuses is refused, in one way."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given, settings
from hypothesis import strategies as st

from smimefilter.keys import unpad
from tests.support.pki import root

KEY = root().issue("Alice").key
N, E, D = (
    KEY.private_numbers().public_numbers.n,
    KEY.private_numbers().public_numbers.e,
    KEY.private_numbers().d,
)
HASHES = [hashes.SHA1(), hashes.SHA224(), hashes.SHA256(), hashes.SHA512()]  # noqa: S303


def block_of(ciphertext: bytes) -> bytes:
    return pow(int.from_bytes(ciphertext), D, N).to_bytes(256)


def ciphertext_of(block: bytes) -> bytes:
    return pow(int.from_bytes(block), E, N).to_bytes(256)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=245))
def test_pkcs1(message: bytes) -> None:
    ciphertext = KEY.public_key().encrypt(message, padding.PKCS1v15())
    assert unpad.pkcs1(block_of(ciphertext), ciphertext) == message


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_pkcs1_that_is_none(data: st.DataObject) -> None:
    """One octet is changed where it counts: another message stands in, always the same."""
    ps = data.draw(st.binary(min_size=8, max_size=250)).replace(b"\0", b"\1")
    message = bytes(256 - 3 - len(ps))
    good = b"\0\2" + ps + b"\0" + message
    assert unpad.pkcs1(good, b"c") == message
    place = data.draw(st.sampled_from([0, 1, *range(2, 10)]))
    bad = bytearray(good)
    bad[place] = 0 if place > 1 else good[place] ^ data.draw(st.integers(1, 255))
    found = unpad.pkcs1(bytes(bad), b"c")
    assert found == unpad.stand_in(b"c", 245)
    assert found == unpad.pkcs1(b"\0\2" + b"\1" * 254, b"c")


def test_stand_ins_differ_and_have_all_lengths() -> None:
    made = [unpad.stand_in(bytes([n]), 10) for n in range(200)]
    assert {len(one) for one in made} == set(range(11))
    assert unpad.stand_in(b"a", 100)[:8] != unpad.stand_in(b"b", 100)[:8]


@pytest.mark.parametrize("digest", HASHES)
@pytest.mark.parametrize("mask", HASHES)
@pytest.mark.parametrize("label", [b"", b"label"])
def test_oaep(digest: hashes.HashAlgorithm, mask: hashes.HashAlgorithm, label: bytes) -> None:
    how = padding.OAEP(padding.MGF1(mask), digest, label or None)
    for size in (0, 1, 16, 256 - 2 * digest.digest_size - 2):
        message = bytes(size)
        ciphertext = KEY.public_key().encrypt(message, how)
        assert unpad.oaep(block_of(ciphertext), digest, mask, label) == message


@settings(max_examples=80, deadline=None)
@given(place=st.integers(0, 255), bit=st.integers(0, 7))
def test_oaep_that_is_none(place: int, bit: int) -> None:
    """As OpenSSL sees it, for a change anywhere."""
    digest = hashes.SHA256()
    how = padding.OAEP(padding.MGF1(digest), digest, None)
    block = bytearray(block_of(KEY.public_key().encrypt(b"hello", how)))
    block[place] ^= 1 << bit
    if int.from_bytes(block) >= N:
        return
    with pytest.raises(ValueError, match="cannot be decrypted"):
        unpad.oaep(bytes(block), digest, digest, b"")
    with pytest.raises(ValueError, match=r".+"):
        KEY.decrypt(ciphertext_of(bytes(block)), how)


def test_oaep_in_a_short_block() -> None:
    with pytest.raises(ValueError, match="cannot be decrypted"):
        unpad.oaep(bytes(128), hashes.SHA512(), hashes.SHA512(), b"")
