"""Which addresses the way out may lead to."""

from __future__ import annotations

import errno
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.fetch import guard as guard_module
from smimefilter.fetch.guard import Guard, _is_of_this_host, embedded, literal
from smimefilter.ports.net import FetchFailed

INTERNET = [
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "223.255.255.255",
    "2a00:1450:4001::1",
    "2606:4700::1111",
    "::ffff:1.1.1.1",
    "64:ff9b::101:101",
    "2002:101:101::1",
]
INSIDE = [
    "0.0.0.0",  # noqa: S104 - nothing is bound to it
    "10.0.0.5",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.5",
    "::ffff:169.254.169.254",
    "64:ff9b::a00:5",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:5",
    "100::1",
    "2001::1",
    "2001:0:4136:e378::1",
    "2001:db8::1",
    "2002:a00:5::1",
    "2002:7f00:1::1",
    "3fff::1",
    "4000::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", INTERNET)
def test_the_internet(address: str) -> None:
    Guard().check(ip_address(address))


@pytest.mark.parametrize("address", INSIDE)
def test_what_strangers_must_not_reach(address: str) -> None:
    with pytest.raises(FetchFailed, match="is not on the Internet"):
        Guard().check(ip_address(address))


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203"])
def test_a_network_that_is_named(address: str) -> None:
    guard = Guard([ip_network("10.1.0.0/16")])
    assert guard.permits(ip_address(address))
    assert not guard.permits(ip_address("10.2.0.1"))
    assert not guard.permits(ip_address("::ffff:10.2.0.1"))


def test_a_name_for_the_internet_is_not_a_network_that_is_named() -> None:
    guard = Guard([ip_network("10.1.0.0/16")])
    assert guard.permits(ip_address("1.1.1.1"))
    assert not guard.allows(ip_address("1.1.1.1"))


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:{}", "64:ff9b::{}"]))
def test_an_address_inside_another_is_judged_by_itself(inner: IPv4Address, form: str) -> None:
    outer = ip_address(form.format(inner))
    assert embedded(outer) == inner
    assert Guard().permits(outer) == Guard().permits(inner)


@given(st.ip_addresses(v=4))
def test_nothing_is_internet_that_python_knows_to_be_none(address: IPv4Address) -> None:
    if Guard().permits(address):
        assert address.is_global
        assert not address.is_multicast


@pytest.mark.parametrize("host", ["1.1.1.1", "::1", "fe80::1%eth0"])
def test_a_host_that_is_an_address(host: str) -> None:
    assert literal(host) == ip_address(host)


@pytest.mark.parametrize("host", ["localhost", "1.example.com", "0x7f.example", "7f.beef"])
def test_a_host_that_is_a_name(host: str) -> None:
    assert literal(host) is None


@pytest.mark.parametrize(
    "host", ["", "2130706433", "127.1", "0x7f000001", "0X7F.1", "0177.0.0.1", "127.0.0.1."]
)
def test_a_host_that_some_resolvers_take_for_an_address(host: str) -> None:
    with pytest.raises(FetchFailed, match="neither a name nor an address"):
        literal(host)


def test_what_is_denied_is_so_whatever_is_allowed() -> None:
    denied = [ip_network("10.1.0.0/16"), ip_network("1.1.1.0/24")]
    guard = Guard([ip_network("10.0.0.0/8")], denied)
    assert guard.permits(ip_address("10.2.0.1"))
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "1.1.1.1"):
        assert not guard.permits(ip_address(address))
        assert not guard.allows(ip_address(address))
        with pytest.raises(FetchFailed, match="is named by `deny` in `fetch`"):
            guard.check(ip_address(address))


def test_this_host_is_not_the_internet(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _is_of_this_host(ip_address("127.0.0.1"))
    assert not _is_of_this_host(ip_address("1.1.1.1"))
    monkeypatch.setattr(guard_module, "_is_of_this_host", lambda one: str(one) == "1.1.1.1")
    for address in ("1.1.1.1", "2002:101:101::1", "64:ff9b::101:101"):
        with pytest.raises(FetchFailed, match="is one of this host"):
            Guard().check(ip_address(address))
    assert Guard([ip_network("1.1.1.1/32")]).permits(ip_address("1.1.1.1"))


class Probe:
    """A socket of a host with one address, and a way out that is sent from it."""

    own = ip_address("1.2.3.4")
    binds_any = False

    def __init__(self, *_: object) -> None:
        self._source = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def connect(self, place: tuple[str, int]) -> None:
        """As the kernel does: to an address of its own from that very one."""
        if ip_address(place[0]).version != self.own.version:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        self._source = str(self.own)

    def getsockname(self) -> tuple[str, int]:
        return self._source, 40000

    def bind(self, place: tuple[str, int]) -> None:
        if not self.binds_any and ip_address(place[0]) != self.own:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")


@pytest.mark.parametrize("binds_any", [False, True])
def test_where_any_address_can_be_bound_the_internet_is_not_this_host(
    monkeypatch: pytest.MonkeyPatch, binds_any: bool
) -> None:
    """As with net.ipv4.ip_nonlocal_bind = 1."""
    monkeypatch.setattr(Probe, "binds_any", binds_any)
    monkeypatch.setattr(guard_module.socket, "socket", Probe)
    guard = Guard()
    for address in INTERNET:
        assert guard.permits(ip_address(address)), address
    for address in ("1.2.3.4", "::ffff:1.2.3.4", "2002:102:304::1", "64:ff9b::102:304"):
        assert not guard.permits(ip_address(address)), address


def test_what_cannot_be_asked_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_socket(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(guard_module.socket, "socket", no_socket)
    assert not Guard().permits(ip_address("1.1.1.1"))


def test_every_address_of_this_host_is_known() -> None:
    """Those that the kernel tells for its own name, and all of loopback."""
    for address in ("127.0.0.1", "127.8.9.10", "::1"):
        assert _is_of_this_host(ip_address(address))
