"""What is served of our CAs: read once, and to so many at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest

from smimefilter.config import Publish
from smimefilter.flow.authority import Published
from smimefilter.pki.crl import Crl
from smimefilter.ports.stores import StoreTrouble
from smimefilter.web import publish
from smimefilter.web.publish import Publisher
from tests.support.pki import NOW, root

CA = root("Published CA", key="p256")
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
ID = "0123456789abcdef"


class Place:
    """A publisher and what it asks."""

    def __init__(self) -> None:
        self.revision = 1
        self.crl: bytes | None = CA.crl([1])
        self.asked = 0
        self.broken = False
        self.publisher = Publisher(
            Publish(port=0),
            published=self._published,
            revision=self._revision,
            clock=lambda: NOW,
        )

    async def _published(self) -> list[Published]:
        self.asked += 1
        return [Published(ID, CA.certificate.der, self.crl)]

    async def _revision(self) -> int:
        if self.broken:
            raise StoreTrouble("locked")
        return self.revision

    async def connect(self) -> Streams:
        return await asyncio.open_connection("127.0.0.1", self.publisher.port)

    async def get(self, path: str = f"/{ID}.crl", **headers: str) -> tuple[int, bytes, str]:
        url = f"http://127.0.0.1:{self.publisher.port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as had:
            return had.status, await had.read(), had.headers.get("ETag", "")


async def ended(streams: Streams) -> bool:
    """Whether the other side has ended a connection; so does this one."""
    reader, writer = streams
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    with contextlib.suppress(ConnectionResetError):
        await writer.wait_closed()
    return True


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    found = Place()
    await found.publisher.start()
    yield found
    await found.publisher.stop()


async def test_all_is_read_once_for_a_revision(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []

    class Counted:
        @staticmethod
        def read(der: bytes) -> Crl:
            reads.append(der)
            with pytest.raises(RuntimeError, match="no running event loop"):
                asyncio.get_running_loop()
            return Crl.read(der)

    monkeypatch.setattr(publish, "Crl", Counted)
    status, der, tag = await place.get()
    assert (status, der) == (200, place.crl)
    answers = await asyncio.gather(*(place.get(**{"If-None-Match": tag}) for _ in range(9)))
    assert {answer[0] for answer in answers} == {304}
    assert (await place.get(f"/{ID}.cer"))[:2] == (200, CA.certificate.der)
    assert (await place.get("/00000000.crl"))[0] == 404
    assert (place.asked, len(reads)) == (1, 1)
    place.revision = 2  # of something else
    assert (await place.get())[2] == tag
    assert (place.asked, len(reads)) == (2, 1)
    place.revision, place.crl = 3, CA.crl([1, 2])
    assert (await place.get())[1] == place.crl
    assert (place.asked, len(reads)) == (3, 2)


async def test_without_database_or_crl(place: Place) -> None:
    place.broken = True
    assert (await place.get())[0] == 503
    place.broken, place.crl = False, None
    assert (await place.get())[0] == 404
    place.revision, place.crl = 2, b"rubbish"
    assert (await place.get())[0] == 404
    assert (await place.get(f"/{ID}.cer"))[0] == 200


async def test_what_was_read_is_served_while_the_database_is_away(place: Place) -> None:
    assert (await place.get())[0] == 200
    place.broken = True
    assert (await place.get())[:2] == (200, place.crl)
    assert (await place.get("/00000000.crl"))[0] == 503


async def test_more_connections_than_there_may_be_are_closed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "MOST_CONNECTIONS", 3)
    opened = [await place.connect() for _ in range(3)]
    await asyncio.sleep(0.1)
    assert await ended(await place.connect())
    monkeypatch.setattr(publish, "LONGEST_CONNECTION", 0.0)
    assert await ended(await place.connect())  # one too many still, but those before are cut
    assert [await ended(one) for one in opened] == [True] * 3
    assert (await place.get())[0] == 200
