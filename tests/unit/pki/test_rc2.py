"""RC2 against the published test vectors and against another implementation."""

from __future__ import annotations

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import RC2
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.pki.rc2 import decrypt_cbc

BLOCK_OF_ZEROS = bytes(8)


@pytest.mark.parametrize(
    ("key", "bits", "plain", "cipher"),
    [  # RFC 2268 §5
        ("0000000000000000", 63, "0000000000000000", "ebb773f993278eff"),
        ("ffffffffffffffff", 64, "ffffffffffffffff", "278b27e42e2f0d49"),
        ("3000000000000000", 64, "1000000000000001", "30649edf9be7d2c2"),
        ("88", 64, "0000000000000000", "61a8a244adacccf0"),
        ("88bca90e90875a", 64, "0000000000000000", "6ccf4308974c267f"),
        ("88bca90e90875a7f0f79c384627bafb2", 64, "0000000000000000", "1a807d272bbe5db1"),
        ("88bca90e90875a7f0f79c384627bafb2", 128, "0000000000000000", "2269552ab0f85ca6"),
    ],
)
def test_published_vectors(key: str, bits: int, plain: str, cipher: str) -> None:
    found = decrypt_cbc(bytes.fromhex(key), bits, BLOCK_OF_ZEROS, bytes.fromhex(cipher))
    assert found.hex() == plain


@given(
    key=st.binary(min_size=16, max_size=16),
    iv=st.binary(min_size=8, max_size=8),
    blocks=st.lists(st.binary(min_size=8, max_size=8), max_size=6),
)
def test_undoes_another_implementation(key: bytes, iv: bytes, blocks: list[bytes]) -> None:
    plain = b"".join(blocks)
    encryptor = Cipher(RC2(key), modes.CBC(iv)).encryptor()
    assert decrypt_cbc(key, 128, iv, encryptor.update(plain) + encryptor.finalize()) == plain


@pytest.mark.parametrize(
    ("key", "bits", "iv", "cipher"),
    [
        (b"", 40, BLOCK_OF_ZEROS, BLOCK_OF_ZEROS),
        (b"12345", 0, BLOCK_OF_ZEROS, BLOCK_OF_ZEROS),
        (b"12345", 40, b"short", BLOCK_OF_ZEROS),
        (b"12345", 40, BLOCK_OF_ZEROS, b"not a block"),
    ],
)
def test_lengths_that_are_not_possible(key: bytes, bits: int, iv: bytes, cipher: bytes) -> None:
    with pytest.raises(ValueError, match="RC2"):
        decrypt_cbc(key, bits, iv, cipher)
