"""What can be wrong with a token, and what it tells of its keys; without python-pkcs11."""

from __future__ import annotations

from dataclasses import dataclass

from smimefilter.ports.keys import TokenKey


class TokenTrouble(Exception):
    """The token did not do it, and why."""


class PinRefused(TokenTrouble):
    """The token takes no such PIN."""


class Lost(TokenTrouble):
    """The session is of no more use; another one may be."""


@dataclass(frozen=True, slots=True)
class Found:
    """A private key in the token."""

    id: bytes
    label: str
    kind: str  # "rsa 2048", "ec secp256r1"
    key: TokenKey | None  # None: it cannot be used here
    why: str = ""  # then
    uses: tuple[str, ...] = ()  # "sign", "decrypt", "derive"
