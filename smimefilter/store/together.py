"""Changes that are asked for at the same time, made in one transaction.

A transaction costs a write to the disk and a dozen steps between threads, whatever is in it.
Whoever has many small changes under way at once hands them in here: what has gathered while the
transaction before was made is made in the next one. Each change is told its own result when
all are committed. Where one fails, all are undone and each is made alone, so that the trouble
of one is its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar

from .engine import Transaction

T = TypeVar("T")

_MOST: Final = 500  # changes in one transaction
_Change = Callable[[Transaction], Awaitable[Any]]


class Together:
    """One queue of changes."""

    def __init__(self, begin: Callable[[], AbstractAsyncContextManager[Transaction]]) -> None:
        """`begin`: how a transaction is begun, of `Sessions`."""
        self._begin: Final = begin
        self._waiting: list[tuple[_Change, asyncio.Future[Any]]] = []
        self._at_work: asyncio.Task[None] | None = None

    async def make(self, change: Callable[[Transaction], Awaitable[T]]) -> T:
        """Make a change; it may be run twice, in a transaction of its own then. What it
        returns. Raises what it raises, and `StoreTrouble`."""
        made: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, made))
        if self._at_work is None or self._at_work.done():
            self._at_work = asyncio.create_task(self._work())
        return await made

    async def _work(self) -> None:
        taken: list[tuple[_Change, asyncio.Future[Any]]] = []
        try:
            while self._waiting:
                taken, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                await self._all(taken)
        finally:  # only if this is cancelled is anything left
            for _, made in (*taken, *self._waiting):
                made.cancel()
            self._waiting = []

    async def _all(self, taken: list[tuple[_Change, asyncio.Future[Any]]]) -> None:
        wanted = [(change, made) for change, made in taken if not made.done()]
        try:
            async with self._begin() as transaction:
                results = [await change(transaction) for change, _ in wanted]
        except Exception as error:  # noqa: BLE001 - told to whom it belongs
            if len(wanted) > 1:
                for one in wanted:
                    await self._all([one])
            elif wanted and not wanted[0][1].done():
                wanted[0][1].set_exception(error)
            return
        for (_, made), result in zip(wanted, results, strict=True):
            if not made.done():
                made.set_result(result)
