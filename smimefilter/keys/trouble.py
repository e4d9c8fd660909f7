"""What can be wrong with a token; without python-pkcs11."""

from __future__ import annotations


class TokenTrouble(Exception):
    """The token did not do it, and why."""


class PinRefused(TokenTrouble):
    """The token takes no such PIN."""


class Lost(TokenTrouble):
    """The session is of no more use; another one may be."""
