"""What the flows ask of private keys."""

from __future__ import annotations

from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes


class KeyRing(Protocol):
    """The private keys of one snapshot, by certificate thumbprint."""

    def has(self, thumbprint: str) -> bool:
        """Whether there is a key, without unwrapping it."""

    def private_key(self, thumbprint: str) -> PrivateKeyTypes:
        """The key, unwrapped on first use and kept. Raises `KeyTrouble`."""
