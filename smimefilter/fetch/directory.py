"""One search of a directory with bonsai, which only the extra `ldap` brings.

bonsai's own connection for asyncio asks libldap again and again as long as its socket can be
written to, which is always; this one sleeps until there is something to read. Its blocking one
keeps all of Python waiting. Raises `DirectoryTrouble`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import bonsai
from bonsai.ldapconnection import BaseLDAPConnection

_LOOK_AGAIN: Final = 0.1  # seconds, should libldap hold back what it has read already


class DirectoryTrouble(Exception):
    """The directory does not answer the question; why, as an LDAP result code (RFC 4511
    appendix A), or as a negative one of libldap."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Connection(BaseLDAPConnection):  # type: ignore[misc]
    """Gets results without waiting, and waits between. Who calls it sets a time limit."""

    def __init__(self, client: Any) -> None:
        super().__init__(client, is_async=True)

    async def _evaluate(self, msg_id: int, _timeout: float | None = None) -> Any:
        while (result := self.get_result(msg_id)) is None:
            await _readable(self.fileno())
        return result


async def _readable(file: int) -> None:
    """Wait until there is something to read, or for a moment."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(file, ready.set)
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ready.wait(), _LOOK_AGAIN)
    finally:
        loop.remove_reader(file)


async def search(
    path: Path, base: str, scope: int, search_filter: str, attributes: Sequence[str], most: int
) -> list[dict[str, list[Any]]]:
    """Entries behind the socket `path`, with those attributes: octets, but for values of
    others. More entries than `most` are trouble. Raises `DirectoryTrouble`."""
    client = bonsai.LDAPClient(f"ldapi://{quote(str(path), safe='')}")
    client.set_server_chase_referrals(False)
    client.set_ignore_referrals(True)  # an entry that is one is as good as absent
    client.set_raw_attributes(_spellings(attributes))
    connection = _Connection(client)
    try:
        await connection.open()
        found = await connection.search(
            base, scope, search_filter, list(attributes), sizelimit=most
        )
        return [dict(entry.items()) for entry in found]
    except bonsai.LDAPError as error:
        raise DirectoryTrouble(error.code) from None
    finally:
        with contextlib.suppress(bonsai.LDAPError):
            connection.close()


def _spellings(attributes: Sequence[str]) -> list[str]:
    """Attributes as a directory may name them in its answer, with and without `;binary`."""
    bare = [name.partition(";")[0] for name in attributes]
    named = [*attributes, *bare, *(f"{name};binary" for name in bare)]
    return list({name.lower(): name for name in named}.values())
