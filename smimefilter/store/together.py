"""Changes that are asked for at the same time, made in one transaction.

A transaction costs a write to the disk and a dozen steps between threads, whatever is in it.
Whoever has many small changes under way at once hands them in here: what has gathered while the
transaction before was made is made in the next one. Each change is told its own result when
all are committed. Where one fails, all are undone and each is made alone, so that the trouble
of one is its own; trouble of the database is told to all. Each is made in the context of
whoever asked for it, by which the audit log knows who that is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import Context, copy_context
from typing import Any, Final, NamedTuple, TypeVar

from .engine import Transaction

T = TypeVar("T")

_MOST: Final = 500  # changes in one transaction


class _Asked(NamedTuple):
    change: Callable[[Transaction], Awaitable[Any]]
    made: asyncio.Future[Any]
    context: Context

    async def in_context(self, transaction: Transaction) -> Any:
        """What the change returns, made as by whoever asked for it."""
        loop = asyncio.get_running_loop()
        return await loop.create_task(self._run(transaction), context=self.context)

    async def _run(self, transaction: Transaction) -> Any:
        return await self.change(transaction)


class Together:
    """One queue of changes."""

    def __init__(self, begin: Callable[[], AbstractAsyncContextManager[Transaction]]) -> None:
        """`begin`: how a transaction is begun, of `Sessions`."""
        self._begin: Final = begin
        self._waiting: list[_Asked] = []
        self._at_work: asyncio.Task[None] | None = None

    async def make(self, change: Callable[[Transaction], Awaitable[T]]) -> T:
        """Make a change; it may be run twice, in a transaction of its own then. What it
        returns. Raises what it raises, and `StoreTrouble`."""
        made: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Asked(change, made, copy_context()))
        if self._at_work is None or self._at_work.done():
            self._at_work = asyncio.create_task(self._work())
        return await made

    async def _work(self) -> None:
        taken: list[_Asked] = []
        try:
            while self._waiting:
                taken, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                await self._all(taken)
        finally:  # only if this is cancelled is anything left
            for one in (*taken, *self._waiting):
                one.made.cancel()
            self._waiting = []

    async def _all(self, taken: list[_Asked]) -> None:
        wanted = [one for one in taken if not one.made.done()]
        results: list[Any] = []
        own = False  # the trouble is that of a change
        try:
            async with self._begin() as transaction:
                own = True
                for one in wanted:
                    results.append(await one.in_context(transaction))
                own = False
        except Exception as error:  # noqa: BLE001 - told to whom it belongs
            if own and len(wanted) > 1:
                for one in wanted:
                    await self._all([one])
                return
            for one in wanted:
                if not one.made.done():
                    one.made.set_exception(error)
            return
        for one, result in zip(wanted, results, strict=True):
            if not one.made.done():
                one.made.set_result(result)
