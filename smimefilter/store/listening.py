"""Hearing of changes from PostgreSQL, over a connection kept for that (LISTEN, NOTIFY).

It makes changes seen sooner, and nothing rests on it: whoever listens asks for the revision
every now and then as well. So what goes wrong here is not told, but tried again. Raises nothing
but cancellation.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from .engine import CHANNEL

AGAIN_AFTER: Final = 1.0  # seconds, when the connection is lost
_SIGN_OF_LIFE: Final = 30.0  # seconds between looks whether there is anybody at the other end


async def listen(engine: AsyncEngine, told: Callable[[], None]) -> None:
    """Call `told` when something has changed, and when something may have that was not heard
    of, until cancelled."""
    while True:
        with contextlib.suppress(Exception):  # whoever reads the revision says what is wrong
            await _listen(engine, told)
        await asyncio.sleep(AGAIN_AFTER)


async def _listen(engine: AsyncEngine, told: Callable[[], None]) -> None:
    async with engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        lost = asyncio.Event()
        driver.add_termination_listener(lambda _: lost.set())
        try:
            await driver.add_listener(CHANNEL, lambda *_: told())
            told()
            while not await _set_within(lost, _SIGN_OF_LIFE):
                await driver.execute("SELECT 1")
        finally:
            await connection.invalidate()  # nobody else is to have it


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
