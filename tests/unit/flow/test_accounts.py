"""Logins: only hashes are kept."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from smimefilter.base.errors import AdminError
from smimefilter.flow.accounts import list_accounts, put_account, remove_account


class Accounts:
    """`ports.Accounts` in memory."""

    def __init__(self) -> None:
        self.hashes: dict[str, str] = {}

    async def put(self, login: str, password_hash: str) -> bool:
        new = login not in self.hashes
        self.hashes[login] = password_hash
        return new

    async def remove(self, login: str) -> bool:
        return self.hashes.pop(login, None) is not None

    async def all(self) -> list[str]:
        return sorted(self.hashes)

    async def password_hash(self, login: str) -> str | None:
        return self.hashes.get(login)


@pytest.fixture
def accounts() -> Accounts:
    return Accounts()


async def test_adding_changing_and_removing(accounts: Accounts) -> None:
    assert await put_account(accounts, "alice@example.com", "correct horse")
    assert not await put_account(accounts, "alice@example.com", "battery staple")
    assert await list_accounts(accounts) == ["alice@example.com"]
    hashed = accounts.hashes["alice@example.com"]
    assert PasswordHasher().verify(hashed, "battery staple")
    with pytest.raises(VerifyMismatchError):
        PasswordHasher().verify(hashed, "correct horse")
    await remove_account(accounts, "alice@example.com")
    with pytest.raises(AdminError):
        await remove_account(accounts, "alice@example.com")


async def test_only_an_argon2id_hash_is_kept(accounts: Accounts) -> None:
    await put_account(accounts, "alice", "correct horse")
    assert accounts.hashes["alice"].startswith("$argon2id$")
    assert "correct horse" not in str(accounts.hashes)


@pytest.mark.parametrize(
    ("login", "password"),
    [
        ("", "correct horse"),
        (" alice", "correct horse"),
        ("ali\0ce", "correct horse"),
        ("ali\nce", "correct horse"),
        ("a" * 256, "correct horse"),
        ("ü" * 128, "correct horse"),
        ("alice", ""),
        ("alice", "1234567"),
        ("alice", "correct\0horse"),
        ("alice", "x" * 256),
    ],
)
async def test_what_sasl_cannot_carry(accounts: Accounts, login: str, password: str) -> None:
    with pytest.raises(AdminError) as caught:
        await put_account(accounts, login, password)
    assert not password or password not in str(caught.value)
    assert accounts.hashes == {}
