"""Changes that are made in one transaction when they come together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import cast

import pytest

from smimefilter.store.engine import Transaction
from smimefilter.store.together import Together


class Books:
    """A store of words: what a transaction wrote is there when it ended well."""

    def __init__(self) -> None:
        self.there: list[str] = []
        self.transactions = 0
        self.begun = asyncio.Event()
        self._writing: list[str] = []

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Transaction]:
        self.transactions += 1
        self.begun.set()
        self._writing = []
        await asyncio.sleep(0)
        yield cast("Transaction", self)
        await asyncio.sleep(0)
        self.there += self._writing

    async def write(self, word: str) -> str:
        await asyncio.sleep(0)
        if word == "bad":
            raise ValueError(word)
        self._writing.append(word)
        return word.upper()


def change(together: Together, word: str) -> asyncio.Task[str]:
    async def write(transaction: Transaction) -> str:
        return await cast("Books", transaction).write(word)

    return asyncio.create_task(together.make(write))


async def test_changes_at_once_share_a_transaction_and_are_told_their_own_results() -> None:
    books = Books()
    together = Together(books.begin)
    assert await asyncio.gather(*(change(together, word) for word in "abc")) == ["A", "B", "C"]
    assert (books.there, books.transactions) == (["a", "b", "c"], 1)


async def test_what_comes_while_a_transaction_is_made_is_in_the_next() -> None:
    books = Books()
    together = Together(books.begin)
    first = change(together, "a")
    await books.begun.wait()
    others = [change(together, word) for word in "bc"]
    await asyncio.gather(first, *others)
    assert (books.there, books.transactions) == (["a", "b", "c"], 2)


async def test_the_trouble_of_one_is_its_own() -> None:
    books = Books()
    together = Together(books.begin)
    made = await asyncio.gather(
        *(change(together, word) for word in ("a", "bad", "c")), return_exceptions=True
    )
    assert books.there == ["a", "c"]
    assert (made[0], made[2]) == ("A", "C")
    assert isinstance(made[1], ValueError)


async def test_whoever_gave_up_waiting_holds_nobody_up() -> None:
    books = Books()
    together = Together(books.begin)
    tasks = [change(together, word) for word in "abc"]
    await asyncio.sleep(0)  # all have asked
    tasks[1].cancel()
    assert await asyncio.gather(tasks[0], tasks[2]) == ["A", "C"]
    assert books.there == ["a", "c"]
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]


async def test_trouble_of_the_database_is_told_to_all_at_once() -> None:
    begun = 0

    @asynccontextmanager
    async def away() -> AsyncIterator[Transaction]:
        nonlocal begun
        begun += 1
        await asyncio.sleep(0)
        raise OSError("away")
        yield

    together = Together(away)
    made = await asyncio.gather(
        *(change(together, word) for word in "abc"), return_exceptions=True
    )
    assert [str(one) for one in made] == ["away"] * 3
    assert begun == 1


async def test_each_change_is_made_as_by_whoever_asked_for_it() -> None:
    who: ContextVar[str] = ContextVar("who")
    books = Books()
    together = Together(books.begin)

    async def ask(name: str) -> str:
        who.set(name)

        async def change(_: Transaction) -> str:
            return who.get()

        return await together.make(change)

    asked = [asyncio.create_task(ask(name)) for name in ("alice", "bob")]
    assert await asyncio.gather(*asked) == ["alice", "bob"]
    assert books.transactions == 1
