"""Where CRLs are fetched from: `ports.CrlSources`.

Writers take turns, so that claiming is reading what is free and marking it ours: of several
nodes one gets a URL. The lease of a node that died ends by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from smimefilter.ports.stores import CrlSource

from .engine import Sessions
from .tables import crl_sources, moment, seconds

_c: Final = crl_sources.c
_ALL: Final = sa.select(
    _c.url, _c.due, _c.tried, _c.succeeded,
    _c.failures, _c.outcome, _c.etag, _c.last_modified, _c.sha256,
).order_by(_c.url)  # fmt: skip
_FREE: Final = 0


class SqlCrlSources:
    """`ports.CrlSources` over the tables."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions: Final = sessions

    async def follow(self, urls: Collection[str], now: datetime) -> None:
        """Keep exactly these URLs; new ones are due at once."""
        async with self._sessions.reading() as connection:
            known = set(await connection.scalars(sa.select(_c.url)))
        if known == set(urls):
            return
        async with self._sessions.keeping_books() as transaction:
            known = set((await transaction.read(sa.select(_c.url))).scalars())
            new = [_row(CrlSource(url, now)) for url in urls if url not in known]
            await transaction.write(sa.insert(crl_sources), new)
            for url in known - set(urls):
                await transaction.write(sa.delete(crl_sources).where(_c.url == url))

    async def due(self, now: datetime) -> list[str]:
        """The URLs whose turn it is and that nobody has, the one longest due first."""
        query = sa.select(_c.url).where(*_due(now)).order_by(_c.due, _c.url)
        async with self._sessions.reading() as connection:
            return list(await connection.scalars(query))

    async def claim(
        self, now: datetime, until: datetime, urls: Collection[str], *, due: bool
    ) -> list[CrlSource]:
        """Those of these that nobody else has, and with `due` whose turn it is; ours from now
        on, with a lease until then."""
        free = _due(now) if due else (_c.leased_until <= seconds(now),)
        wanted = _ALL.where(_c.url.in_(urls), *free)
        async with self._sessions.keeping_books() as transaction:
            found = [_source(row) for row in await transaction.read(wanted)]
            these = _c.url.in_([source.url for source in found])
            leased = sa.update(crl_sources).where(these).values(leased_until=seconds(until))
            await transaction.write(leased)
        return found

    async def settle(self, source: CrlSource) -> None:
        """Store how it went, and let go of it."""
        this = sa.update(crl_sources).where(_c.url == source.url)
        async with self._sessions.keeping_books() as transaction:
            await transaction.write(this.values(_row(source)))

    async def all(self) -> list[CrlSource]:
        """All, by URL."""
        async with self._sessions.reading() as connection:
            return [_source(row) for row in await connection.execute(_ALL)]


def _due(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return _c.due <= seconds(now), _c.leased_until <= seconds(now)


def _row(source: CrlSource) -> dict[str, Any]:
    return {
        "url": source.url,
        "due": seconds(source.due),
        "tried": None if source.tried is None else seconds(source.tried),
        "succeeded": None if source.succeeded is None else seconds(source.succeeded),
        "failures": source.failures,
        "outcome": source.outcome,
        "etag": source.etag,
        "last_modified": source.last_modified,
        "sha256": source.sha256,
        "leased_until": _FREE,
    }


def _source(row: Sequence[Any]) -> CrlSource:
    url, due, tried, succeeded, *rest = row
    return CrlSource(
        url,
        moment(due),
        None if tried is None else moment(tried),
        None if succeeded is None else moment(succeeded),
        *rest,
    )
