"""Private keys that are stored wrapped under the master key: `ports.KeyRing`.

A key is unwrapped when it is first used and kept for the next mail, up to a limit. Its blob is
authenticated and the key in it was checked when it was imported, so it is loaded unchecked.
What is wrapped may be a reference to a key in the PKCS#11 token instead: that is opened by
`token.py`, and looked for in the token each time it is asked for.

Raises `KeyTrouble`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_private_key

from smimefilter.base.errors import KeyTrouble
from smimefilter.ports.keys import PRIVATE_KEY, InToken, Sealer, TokenKey

KEPT: Final = 4096  # unwrapped keys; one takes some 10 KB


class KeyVault:
    """Unwraps keys and keeps those used last. One for a process, shared by its key rings."""

    def __init__(
        self,
        master: Sealer,
        kept: int = KEPT,
        token: Callable[[TokenKey], PrivateKeyTypes] | None = None,
    ) -> None:
        """`token` makes a key of what refers to one in the token; None: there is no token."""
        self._master: Final = master
        self._token: Final = token
        self.refers: Final = lru_cache(maxsize=kept)(self._refers)
        self.private_key: Final = lru_cache(maxsize=kept)(self.unwrapped)

    def __repr__(self) -> str:
        return "<KeyVault>"

    def ring(self, blobs: Mapping[str, bytes]) -> WrappedKeyRing:
        """The key ring of a snapshot: certificate thumbprint → wrapped key."""
        return WrappedKeyRing(self, blobs)

    def unwrapped(self, thumbprint: str, blob: bytes) -> PrivateKeyTypes:
        """The key of a certificate, not kept. Raises `KeyTrouble`."""
        plain = self._opened(thumbprint, blob)
        try:
            referred = TokenKey.of(plain)
            if referred is not None:
                return self._of_token(referred)
            return load_der_private_key(plain, None, unsafe_skip_rsa_key_validation=True)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise KeyTrouble(f"the private key of {thumbprint[:16]} cannot be read") from None

    def _refers(self, thumbprint: str, blob: bytes) -> bool:
        """Whether what is wrapped is in the token; nothing of a key is kept for that."""
        if self._token is None:
            return False
        try:
            return TokenKey.of(self._opened(thumbprint, blob)) is not None
        except (KeyTrouble, ValueError):  # told where it is used
            return False

    def _of_token(self, key: TokenKey) -> PrivateKeyTypes:
        if self._token is None:
            raise KeyTrouble("it is in a PKCS#11 token, and the settings name none (`token:`)")
        return self._token(key)

    def _opened(self, thumbprint: str, blob: bytes) -> bytes:
        try:
            return self._master.open(PRIVATE_KEY, thumbprint, blob)
        except KeyTrouble as error:
            raise KeyTrouble(f"private key of {thumbprint[:16]}: {error}") from None


class WrappedKeyRing:
    """`ports.KeyRing` over the wrapped keys of one snapshot."""

    __slots__ = ("_blobs", "_vault")

    def __init__(self, vault: KeyVault, blobs: Mapping[str, bytes]) -> None:
        self._vault: Final = vault
        self._blobs: Final = blobs

    def __repr__(self) -> str:
        return f"<WrappedKeyRing of {len(self._blobs)}>"

    def has(self, thumbprint: str) -> bool:
        """Whether there is a key, without unwrapping it."""
        return thumbprint in self._blobs

    def in_token(self, thumbprint: str) -> bool:
        """Whether there is one that is in the token; the token is not asked."""
        blob = self._blobs.get(thumbprint)
        return blob is not None and self._vault.refers(thumbprint, blob)

    def private_key(self, thumbprint: str) -> PrivateKeyTypes:
        """The key, unwrapped on first use and kept; one in the token is there now. Raises
        `KeyTrouble`."""
        blob = self._blobs.get(thumbprint)
        if blob is None:
            raise KeyTrouble(f"there is no private key for {thumbprint[:16]}")
        key = self._vault.private_key(thumbprint, blob)
        if isinstance(key, InToken):
            key.check()
        return key
