"""What correspondents say they read, in the database and in the state."""

from __future__ import annotations

from datetime import timedelta

from smimefilter.base.algorithms import Capabilities, ContentCipher
from smimefilter.ports.stores import Correspondent
from smimefilter.store.database import Database
from tests.support.pki import NOW

GCM = Capabilities((ContentCipher.AES_256_GCM, ContentCipher.AES_128_CBC), oaep=True)
OLD = Capabilities((ContentCipher.AES_128_CBC,))


async def test_what_was_put_is_there_and_in_the_state(database: Database) -> None:
    before = await database.states.revision()
    await database.correspondents.put([Correspondent("a@x.test", GCM, NOW)])
    assert await database.correspondents.all() == [Correspondent("a@x.test", GCM, NOW)]
    state = await database.states.load()
    assert state.capabilities == {"a@x.test": GCM}
    assert state.revision > before


async def test_what_is_said_last_counts_in_whatever_order_it_comes(
    database: Database,
) -> None:
    await database.correspondents.put([Correspondent("a@x.test", GCM, NOW)])
    for when in (NOW, NOW - timedelta(days=900)):
        await database.correspondents.put([Correspondent("a@x.test", OLD, when)])
        assert (await database.states.load()).capabilities == {"a@x.test": GCM}
    await database.correspondents.put(
        [Correspondent("a@x.test", OLD, NOW + timedelta(hours=1))]
    )
    assert (await database.states.load()).capabilities == {"a@x.test": OLD}


async def test_what_is_removed_is_gone(database: Database) -> None:
    await database.correspondents.put([Correspondent("a@x.test", GCM, NOW)])
    assert await database.correspondents.remove("a@x.test")
    assert not await database.correspondents.remove("a@x.test")
    assert (await database.states.load()).capabilities == {}
