"""Logins of the relay listener: adding, removing, listing. Only hashes are stored.

Leaves verifying a login to `smtp/auth.py`. RFC 9106 (Argon2id), RFC 4616 §2 (what a login can
be). Raises `AdminError`, `StoreTrouble`.
"""

from __future__ import annotations

import asyncio
from typing import Final

from argon2 import PasswordHasher

from smimefilter.base.errors import AdminError
from smimefilter.ports.stores import Accounts

_LONGEST: Final = 255  # octets
_SHORTEST_PASSWORD: Final = 8  # characters


async def put_account(accounts: Accounts, login: str, password: str) -> bool:
    """Add a login, or give it a new password; whether it is new. Raises `AdminError`."""
    _check(login, password)
    hashed = await asyncio.to_thread(PasswordHasher().hash, password)
    return await accounts.put(login, hashed)


async def remove_account(accounts: Accounts, login: str) -> None:
    """Take a login away. Raises `AdminError` when there is none."""
    if not await accounts.remove(login):
        raise AdminError(
            f"there is no login '{login}'", mend="list them with: smimefilter account list"
        )


async def list_accounts(accounts: Accounts) -> list[str]:
    """All logins, sorted."""
    return await accounts.all()


def _check(login: str, password: str) -> None:
    if not login or not login.isprintable() or login != login.strip():
        raise AdminError(
            f"{login!r} cannot be a login", mend="printable characters, at least one"
        )
    if len(login.encode()) > _LONGEST:
        raise AdminError("the login is too long", mend=f"at most {_LONGEST} octets")
    if len(password) < _SHORTEST_PASSWORD or len(password.encode()) > _LONGEST:
        raise AdminError(
            "the password is too short or too long",
            mend=f"from {_SHORTEST_PASSWORD} characters to {_LONGEST} octets",
        )
    if "\0" in password:
        raise AdminError("the password has a zero byte in it", mend="choose another one")
