"""Answers of OCSP: `ports.OcspAnswers`."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import sqlalchemy as sa

from .engine import Sessions
from .tables import ocsp_answers, seconds

_c: Final = ocsp_answers.c


class SqlOcspAnswers:
    """`ports.OcspAnswers` over the tables."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions: Final = sessions

    async def put(
        self, key: str, der: bytes, until: datetime, now: datetime, instead_of: bytes | None
    ) -> bool:
        """Add it, or replace `instead_of`, unless another is there by now; those whose time is
        over go. Whether it is stored."""
        row = {"key": key, "der": der, "until": seconds(until)}
        these = sa.select(_c.der).where(_c.key == key)
        async with self._sessions.keeping_books() as transaction:
            await transaction.write(sa.delete(ocsp_answers).where(_c.until <= seconds(now)))
            if (await transaction.read(these)).scalar() != instead_of:
                return False
            await transaction.put(ocsp_answers, row)
            return True

    async def get(self, key: str, now: datetime) -> bytes | None:
        """The one under this key, if its time is not over."""
        this = sa.select(_c.der).where(_c.key == key, _c.until > seconds(now))
        async with self._sessions.reading() as connection:
            return await connection.scalar(this)

    async def all(self, now: datetime) -> list[tuple[str, bytes]]:
        """All whose time is not over."""
        these = sa.select(_c.key, _c.der).where(_c.until > seconds(now)).order_by(_c.key)
        async with self._sessions.reading() as connection:
            return [(key, der) for key, der in await connection.execute(these)]
