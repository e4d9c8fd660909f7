"""The way out by LDAP, to a real slapd and to servers that are none."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from smimefilter.config import Fetch
from smimefilter.fetch.net import GuardedNet
from smimefilter.pki.crl import Crl
from smimefilter.pki.keyfile import read
from smimefilter.ports.net import Fetched, FetchFailed, Request
from tests.support.needs import need, need_module
from tests.support.pki import root
from tests.support.slapd import SUFFIX, Slapd
from tests.support.smtp import Certificates, both_loops

pytestmark = pytest.mark.system

CA: Final = root()
CRL: Final = "certificateRevocationList;binary"
HERE: Final = ("127.0.0.1/32", "::1/128")
MOST: Final = 1 << 20


@pytest.fixture(scope="module")
def directory() -> Iterator[Slapd]:
    need("slapd")
    need_module("bonsai")
    with Slapd() as server:
        yield server


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


async def fetch(
    url: str, *, most: int = MOST, body: bytes | None = None, **special: Any
) -> Fetched:
    async with GuardedNet(Fetch(**{"allow": HERE, **special})) as net:
        return await net.fetch(Request(url, most, body=body))


async def failure(url: str, **special: Any) -> str:
    with pytest.raises(FetchFailed) as caught:
        await fetch(url, **special)
    assert caught.value.__cause__ is None  # foreseen
    return str(caught.value)


# what comes


@both_loops
async def test_a_crl(directory: Slapd) -> None:
    crl = CA.crl()
    dn = directory.put("C&A 1", {CRL: [crl]})
    assert await fetch(directory.url(dn, CRL)) == Fetched(crl)
    assert await fetch(directory.url(dn)) == Fetched(crl)
    assert await fetch(directory.url(dn, "certificateRevocationList")) == Fetched(crl)
    assert await fetch(directory.url(dn, "CERTIFICATEREVOCATIONLIST;BINARY")) == Fetched(crl)


async def test_another_crl_the_next_time(directory: Slapd) -> None:
    for number in (1, 2):
        crl = CA.crl(number=number)
        dn = directory.put("CA", {CRL: [crl]})
        assert await fetch(directory.url(dn, CRL)) == Fetched(crl)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("cACertificate;binary", CA.certificate.der),
        ("authorityRevocationList;binary", CA.crl(number=3)),
        ("deltaRevocationList;binary", CA.crl(number=4)),
    ],
)
async def test_other_attributes(directory: Slapd, attribute: str, value: bytes) -> None:
    dn = directory.put("CA", {attribute: [value]})
    assert await fetch(directory.url(dn, attribute)) == Fetched(value)


async def test_scope_and_filter(directory: Slapd) -> None:
    for number in (1, 2):
        directory.put(f"CA {number}", {CRL: [CA.crl(number=number)]})
    for scope in ("one", "sub"):
        url = directory.url(SUFFIX, CRL, scope, "(cn=CA 2)")
        assert await fetch(url) == Fetched(CA.crl(number=2))
    said = await failure(directory.url(SUFFIX, CRL, "base", "(cn=CA 2)"))
    assert said == "the directory has no such entry"


async def test_several_values_come_as_pem(directory: Slapd) -> None:
    crls = [CA.crl(number=number) for number in (1, 2)]
    other = root("Other Root")
    roots = [CA.certificate.der, other.certificate.der]
    dn = directory.put("many", {CRL: crls, "cACertificate;binary": roots})
    content = (await fetch(directory.url(dn, CRL))).content
    assert content is not None
    assert {Crl.read(crl).number for crl in read(content).crls} == {1, 2}
    content = (await fetch(directory.url(dn, "cACertificate;binary"))).content
    assert content is not None
    assert {one.der for one in read(content).certificates} == set(roots)


async def test_a_large_crl(directory: Slapd) -> None:
    crl = CA.crl(range(1, 20_000))
    dn = directory.put("large", {CRL: [crl]})
    assert await fetch(directory.url(dn, CRL), most=len(crl)) == Fetched(crl)
    assert (await failure(directory.url(dn, CRL), most=len(crl) - 1)).startswith("larger than")
    assert await failure(directory.url(dn, CRL), most=1024) == "larger than 1 KiB"


@both_loops
async def test_many_at_once(directory: Slapd) -> None:
    dn = directory.put("CA", {CRL: [CA.crl()]})
    async with GuardedNet(Fetch(allow=HERE)) as net:
        request = Request(directory.url(dn, CRL), MOST)
        found = await asyncio.gather(*(net.fetch(request) for _ in range(40)))
    assert found == [Fetched(CA.crl())] * 40


# what does not


async def test_what_is_not_there(directory: Slapd) -> None:
    dn = directory.put("empty", {"cACertificate;binary": [CA.certificate.der]})
    assert await failure(directory.url(dn, CRL)) == f"the entry has no {CRL}"
    missing = f"cn=nobody,{SUFFIX}"
    assert await failure(directory.url(missing, CRL)) == "the directory has no such entry"
    said = await failure(directory.url(dn, CRL, "base", "(((").replace("%28", "("))
    assert said == "not an LDAP URL: no such filter"
    said = await failure(directory.url(f"nonsense,{SUFFIX}", CRL))
    assert said == "the directory refuses: LDAP result 34"
    assert await failure(directory.url(dn), body=b"?") == "nothing can be posted by LDAP"


async def test_too_many_entries(directory: Slapd) -> None:
    for number in range(33):
        directory.put(f"CA {number}", {CRL: [CA.crl()]})
    said = await failure(directory.url(SUFFIX, CRL, "sub"))
    assert said == "the LDAP URL leads to too many entries"


async def test_a_referral_is_not_followed(directory: Slapd) -> None:
    async with listening(_close_at_once) as (port, callers):
        dn = directory.refer("away", f"ldap://127.0.0.1:{port}/{SUFFIX}")
        said = await failure(directory.url(dn, CRL))
        assert not callers
    assert said == "the directory has no such entry"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_loopback_is_refused(directory: Slapd, host: str) -> None:
    dn = directory.put("CA", {CRL: [CA.crl()]})
    assert await fetch(directory.url(dn, CRL, host=host)) == Fetched(CA.crl())
    said = await failure(directory.url(dn, CRL, host=host), allow=())
    assert "is not on the Internet, nor named by `allow` in `fetch`" in said
    for disguise in ("127.1", "2130706433"):
        said = await failure(directory.url(dn, CRL, host=disguise))
        assert said == f"host '{disguise}' is neither a name nor an address"


async def test_a_url_that_names_no_server(directory: Slapd) -> None:
    dn = directory.put("CA", {CRL: [CA.crl()]})
    url = f"ldap:///{dn}?certificateRevocationList?base?objectClass=cRLDistributionPoint"
    assert "the LDAP URL names no server" in await failure(url)
    own = directory.url("", host="localhost")
    assert await fetch(url, ldap_server=own, allow=()) == Fetched(CA.crl())


async def test_without_the_extra(directory: Slapd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "smimefilter.fetch.directory", None)
    said = await failure(directory.url())
    assert said == "LDAP needs the extra: pip install smimefilter[ldap]"


# TLS


@both_loops
async def test_ldaps(certificates: Certificates) -> None:
    need("slapd")
    need_module("bonsai")
    with Slapd(tls=(certificates.certificate, certificates.key)) as directory:
        dn = directory.put("CA", {CRL: [CA.crl()]})
        trusting = {"ca_file": certificates.certificate}
        for host in ("127.0.0.1", "localhost"):
            url = directory.url(dn, CRL, host=host)
            assert url.startswith("ldaps://")
            assert await fetch(url, **trusting) == Fetched(CA.crl())
        said = await failure(directory.url(dn, CRL))
        assert said == "certificate of the server not trusted: self-signed certificate"


# servers that are none

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(talk: Talk) -> AsyncIterator[tuple[int, list[object]]]:
    """A server that talks so; its port, and who called."""
    callers: list[object] = []

    async def called(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.append(writer.get_extra_info("peername"))
        await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(called, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], callers
    finally:
        server.close()


async def _close_at_once(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    return


async def _say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def _talk_without_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"\x30\x84\x7f\xff\xff\xff")  # a message of 2 GiB
    while not writer.is_closing():
        writer.write(b"0" * 65536)
        await asyncio.gather(writer.drain(), return_exceptions=True)


async def _talk_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize(
    ("talk", "words"),
    [
        (_close_at_once, "the directory closed the connection without an answer"),
        (_say_nothing, "no answer in 0.3 s"),
        (_talk_without_end, "larger than 1 MiB"),
        (_talk_nonsense, "the directory closed the connection without an answer"),
    ],
)
@both_loops
async def test_a_server_that_is_no_directory(talk: Talk, words: str) -> None:
    need_module("bonsai")
    async with listening(talk) as (port, _):
        assert await failure(f"ldap://127.0.0.1:{port}/cn=CA", timeout=0.3) == words


async def test_all_the_time_there_is() -> None:
    need_module("bonsai")
    async with listening(_say_nothing) as (port, _):
        said = await failure(f"ldap://127.0.0.1:{port}/cn=CA", total_timeout=0.3)
    assert said == "not complete after 0.3 s"
