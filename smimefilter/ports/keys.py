"""What the flows ask of private keys and of the master key."""

from __future__ import annotations

from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

PRIVATE_KEY: Final = "private-key"  # purpose of a sealed key; its name is the thumbprint
PREFERENCE: Final = "preference"  # of a sealed preference; its name is `preference_name`
MASTER_KEY_CHECK: Final = "check"  # of the store's check value; its name is empty


def preference_name(scope: str, name: str) -> str:
    """The name a secret preference is sealed under; no preference has a space in its name."""
    return f"{scope} {name}"


class KeyRing(Protocol):
    """The private keys of one snapshot, by certificate thumbprint."""

    def has(self, thumbprint: str) -> bool:
        """Whether there is a key, without unwrapping it."""

    def private_key(self, thumbprint: str) -> PrivateKeyTypes:
        """The key, unwrapped on first use and kept. Raises `KeyTrouble`."""


class Sealer(Protocol):
    """Wraps small secrets under the master key; what is sealed opens for its own purpose and
    name only."""

    def seal(self, purpose: str, name: str, plain: bytes) -> bytes:
        """The sealed secret, fit to be stored."""

    def open(self, purpose: str, name: str, sealed: bytes) -> bytes:
        """The secret again. Raises `KeyTrouble` when it was sealed under another master key,
        for another purpose or name, or was changed."""
