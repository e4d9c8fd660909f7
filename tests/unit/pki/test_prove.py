"""Proofs of a private key: what its public key verifies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from smimefilter.pki.request import prove
from tests.support.pki import key_of

DATA = b"a public key, say"
VERIFY: dict[str, Callable[[Any, bytes, bytes], None]] = {
    "rsa2048": lambda key, proof, data: key.verify(
        proof, data, padding.PKCS1v15(), hashes.SHA384()
    ),
    "p256": lambda key, proof, data: key.verify(proof, data, ec.ECDSA(hashes.SHA384())),
    "ed25519": lambda key, proof, data: key.verify(proof, data),
    "ed448": lambda key, proof, data: key.verify(proof, data),
}


@pytest.mark.parametrize("kind", VERIFY)
def test_a_proof_is_a_signature_of_the_key(kind: str) -> None:
    key = key_of(kind, "prover")
    proof = prove(key, DATA, "sha384")
    VERIFY[kind](key.public_key(), proof, DATA)
    with pytest.raises(InvalidSignature):
        VERIFY[kind](key.public_key(), proof, DATA + b"!")


def test_a_key_that_does_not_sign() -> None:
    with pytest.raises(ValueError, match="does not sign"):
        prove(key_of("x25519", "prover"), DATA, "sha256")
