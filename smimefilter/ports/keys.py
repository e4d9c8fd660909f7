"""What the flows ask of private keys and of the master key."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Final, Protocol, Self, runtime_checkable

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

PRIVATE_KEY: Final = "private-key"  # purpose of a sealed key; its name is the thumbprint
PREFERENCE: Final = "preference"  # of a sealed preference; its name is `preference_name`
MASTER_KEY_CHECK: Final = "check"  # of the store's check value; its name is empty
_IN_TOKEN: Final = b"pkcs11:"  # begins a reference; PKCS#8 begins with 0x30


def preference_name(scope: str, name: str) -> str:
    """The name a secret preference is sealed under; no preference has a space in its name."""
    return f"{scope} {name}"


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A private key in the PKCS#11 token: what it is found by there, and its public half. Its
    reference is sealed in the place of a key: who can write to the database alone cannot have
    mail signed with another one."""

    id: bytes  # CKA_ID
    public: bytes  # SubjectPublicKeyInfo, DER

    @property
    def reference(self) -> bytes:
        """As it is stored."""
        public = base64.b64encode(self.public).decode()
        return _IN_TOKEN + json.dumps({"id": self.id.hex(), "public": public}).encode()

    @classmethod
    def of(cls, plain: bytes) -> Self | None:
        """What a stored reference says; None for what is none, such as PKCS#8. Raises
        `ValueError` for a damaged one."""
        if not plain.startswith(_IN_TOKEN):
            return None
        try:
            said = json.loads(plain.removeprefix(_IN_TOKEN))
            public = base64.b64decode(said["public"], validate=True)
            return cls(bytes.fromhex(said["id"]), public)
        except (KeyError, TypeError, binascii.Error) as error:
            raise ValueError("not a reference to a key in a token") from error


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A private key in the token, as it tells."""

    id: bytes
    label: str
    kind: str  # "rsa 2048", "ec secp256r1"
    key: TokenKey | None  # None: it cannot be used here
    why: str = ""  # then
    uses: tuple[str, ...] = ()  # "sign", "decrypt", "derive"


@runtime_checkable
class InToken(Protocol):
    """A private key that is in the token: it is used like all others, but each use asks the
    token, takes a while and may raise `KeyTrouble`."""

    @property
    def token_key(self) -> TokenKey:
        """Which one it is."""

    def check(self) -> None:
        """Raises `KeyTrouble` where the token is away, or the key in it."""


class KeyRing(Protocol):
    """The private keys of one snapshot, by certificate thumbprint."""

    def has(self, thumbprint: str) -> bool:
        """Whether there is a key, without unwrapping it."""

    def in_token(self, thumbprint: str) -> bool:
        """Whether there is one that is in the token; the token is not asked."""

    def private_key(self, thumbprint: str) -> PrivateKeyTypes:
        """The key, unwrapped on first use and kept; one in the token is there now. Raises
        `KeyTrouble`."""


class Sealer(Protocol):
    """Wraps small secrets under the master key; what is sealed opens for its own purpose and
    name only."""

    def seal(self, purpose: str, name: str, plain: bytes) -> bytes:
        """The sealed secret, fit to be stored."""

    def open(self, purpose: str, name: str, sealed: bytes) -> bytes:
        """The secret again. Raises `KeyTrouble` when it was sealed under another master key,
        for another purpose or name, or was changed."""
