"""Where the way out may lead: to the Internet, and to networks the administrator names.

URLs in certificates are written by strangers, and a gateway sees what strangers do not:
loopback, this host, private networks, the metadata service of a cloud. So an address is judged
right before it is connected to, whoever wrote or resolved its name, and an IPv4 address inside
an IPv6 one is judged too (mapped, RFC 4291 §2.5.5; NAT64, RFC 6052; 6to4, RFC 3056). An own
network with addresses of the Internet cannot be told from any other: `deny` names it.

The tables are the special-purpose registries of IANA (RFC 6890), spelt out because the ones in
`ipaddress` differ between Python versions. Raises `FetchFailed`.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

from smimefilter.ports.net import FetchFailed

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network

_NOT_INTERNET_4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network, unspecified
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # behind a provider's NAT
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # the platform service of Azure, in every virtual network
        "169.254.0.0/16",  # link-local, and metadata of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, deprecated
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_INTERNET_6: Final = IPv6Network("2000::/3")  # all that is routed today
_NOT_INTERNET_6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
_NOBODYS: Final[dict[int, IpAddress]] = {  # for documentation
    4: IPv4Address("192.0.2.1"),
    6: IPv6Address("2001:db8::1"),
}
_DISCARD: Final = 9
# what inet_aton takes for an address although it does not look like one: 127.1, 0x7f.0.0.1
_NUMBER: Final = re.compile(r"(?:.*\.)?(?:0x[0-9a-f]*|[0-9]+)\.?", re.IGNORECASE)


class Guard:
    """Judges addresses; `allow` are networks beside the Internet, `deny` parts of either that
    are never connected to."""

    def __init__(self, allow: Sequence[IpNetwork] = (), deny: Sequence[IpNetwork] = ()) -> None:
        self._allow = tuple(allow)
        self._deny = tuple(deny)

    def allows(self, address: IpAddress) -> bool:
        """Whether the administrator names a network with this address."""
        return _is_in(address, self._allow) and not _is_in(address, self._deny)

    def permits(self, address: IpAddress) -> bool:
        """Whether it may be connected to."""
        return not self._flaw(address)

    def check(self, address: IpAddress) -> None:
        """Raise `FetchFailed` unless it may be connected to."""
        if flaw := self._flaw(address):
            raise FetchFailed(f"address {address} {flaw}")

    def _flaw(self, address: IpAddress) -> str:
        if _is_in(address, self._deny):
            return "is named by `deny` in `fetch`"
        if self.allows(address):
            return ""
        if not _is_internet(address):
            return "is not on the Internet, nor named by `allow` in `fetch`"
        if any(map(_is_of_this_host, _forms(address))):
            return "is one of this host, and not named by `allow` in `fetch`"
        return ""


EVERYWHERE: Final = Guard((ip_network("0.0.0.0/0"), ip_network("::/0")))


def literal(host: str) -> IpAddress | None:
    """The address that a host is written as, None for a name.

    Raises `FetchFailed` for a number that is neither: some resolvers take it for an address.
    """
    try:
        return ip_address(host)
    except ValueError:
        pass
    if not host or _NUMBER.fullmatch(host):
        raise FetchFailed(f"host '{host}' is neither a name nor an address")
    return None


def embedded(address: IpAddress) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _forms(address: IpAddress) -> list[IpAddress]:
    return [form for form in (address, embedded(address)) if form is not None]


def _is_in(address: IpAddress, networks: Sequence[IpNetwork]) -> bool:
    return any(form in network for network in networks for form in _forms(address))


def _is_of_this_host(address: IpAddress) -> bool:
    """Whether what is sent there stays here. The kernel would send from the very address, or a
    socket can be bound to it; that tells nothing where any address can be bound
    (`ip_nonlocal_bind`). Where there is no socket to ask with, it is."""
    try:
        if _source_towards(address) == address:
            return True
        return _can_bind(address) and not _can_bind(_NOBODYS[address.version])
    except OSError:
        return True


def _source_towards(address: IpAddress) -> IpAddress | None:
    """The address that the kernel would send from; None where there is no way. Nothing is
    sent."""
    with _probe(address) as probe:
        try:
            probe.connect((str(address), _DISCARD))
        except OSError:
            return None
        return ip_address(probe.getsockname()[0])


def _can_bind(address: IpAddress) -> bool:
    with _probe(address) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
        return True


def _probe(address: IpAddress) -> socket.socket:
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    return socket.socket(family, socket.SOCK_DGRAM)


def _is_internet(address: IpAddress) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_INTERNET_4)
    inner = embedded(address)
    if inner is not None:
        return _is_internet(inner)
    return address in _INTERNET_6 and not any(address in one for one in _NOT_INTERNET_6)
