"""Whose mail is it: brought by one of our own clients, or by the world?

Only our own people's mail is signed in their names. Ours is what came by a listener for our own
people, with a login, or from a client in one of our own networks: the first client, as a
trusted mail server tells it by XFORWARD, else the one that speaks to us. Mail that XFORWARD
says is local, and that names no client, is ours.

Leaves believing XFORWARD at all to `smtp/` (trusted clients only). Raises `AdminError` when it
is made from networks that are none.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from smimefilter.base.envelope import Client
from smimefilter.base.errors import AdminError


class Origins:
    """Tells our own clients from all others."""

    def __init__(self, networks: Iterable[str]) -> None:
        try:
            self._networks = [ipaddress.ip_network(text, strict=False) for text in networks]
        except ValueError as error:
            raise AdminError(
                f"`own-clients`: {error}",
                mend="write networks such as 192.0.2.0/24 or 2001:db8::/32",
            ) from None
        self._is_own = lru_cache(maxsize=4096)(self._look_up)

    def is_ours(self, client: Client) -> bool:
        """Whether the mail of this client is from our own people."""
        if client.originating:
            return True
        if not client.xforward:
            return self._is_own(client.peer)
        address = client.xforward.get("ADDR")
        if address is None:
            return client.xforward.get("SOURCE", "").upper() == "LOCAL"
        return self._is_own(address)

    def _look_up(self, text: str) -> bool:
        text = text[5:] if text[:5].upper() == "IPV6:" else text
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)
