"""The way out by HTTP, to a real server that misbehaves: what comes, what is refused, and in
which words."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from smimefilter import __version__
from smimefilter.base.errors import AdminError
from smimefilter.config import Fetch
from smimefilter.fetch import resolve
from smimefilter.fetch.guard import Guard, IpAddress
from smimefilter.fetch.net import AT_ONCE, AT_ONCE_OF_A_HOST, GuardedNet
from smimefilter.fetch.resolve import Resolver
from smimefilter.ports.net import Fetched, FetchFailed, Request
from tests.support.ports import ReservedPort
from tests.support.smtp import Certificates, both_loops
from tests.support.webserver import Asked, Reply, Trouble, WebServer

HERE = ip_network("127.0.0.1/32")
MOST = 1 << 20


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


def settings(**special: Any) -> Fetch:
    return Fetch(**{"allow": (str(HERE),), **special})


async def fetch(
    url: str, config: Fetch | None = None, *, most: int = MOST, **special: Any
) -> Fetched:
    async with GuardedNet(config or settings()) as net:
        return await net.fetch(Request(url, most, **special))


async def failure(url: str, config: Fetch | None = None, **special: Any) -> str:
    with pytest.raises(FetchFailed) as caught:
        await fetch(url, config, **special)
    said = str(caught.value)
    assert "\n" not in said
    assert caught.value.__cause__ is None  # foreseen
    return said


# what comes


@both_loops
async def test_content(web: WebServer) -> None:
    content = bytes(range(256)) * 4096
    web.serve("/ca.crl", content, etag='"7"', last_modified="Mon, 01 Jun 2026 12:00:00 GMT")
    got = await fetch(web.url("/ca.crl?a=%2B&b=+"), accept="application/pkix-crl")
    assert got == Fetched(content, '"7"', "Mon, 01 Jun 2026 12:00:00 GMT", None)
    (asked,) = web.requests
    assert (asked.method, asked.path) == ("GET", "/ca.crl?a=%2B&b=+")
    assert asked.headers["user-agent"] == f"smimefilter/{__version__}"
    assert asked.headers["accept"] == "application/pkix-crl"
    assert asked.headers["accept-encoding"] == "identity"


async def test_posting(web: WebServer) -> None:
    web.answer("/ocsp", lambda asked: asked.body[::-1])
    got = await fetch(
        web.url("/ocsp"), body=b"\x30\x01\x00", content_type="application/ocsp-request"
    )
    assert got.content == b"\x00\x01\x30"
    assert web.requests[0].method == "POST"
    assert web.requests[0].headers["content-type"] == "application/ocsp-request"


async def test_unchanged_content_is_not_sent_again(web: WebServer) -> None:
    web.serve("/ca.crl", b"crl", etag='"7"', last_modified="then")
    url = web.url("/ca.crl")
    assert await fetch(url, etag='"7"') == Fetched(None, '"7"', "then")
    assert await fetch(url, last_modified="then") == Fetched(None, '"7"', "then")
    assert (await fetch(url, etag='"6"', last_modified="then")).content == b"crl"


async def test_unchanged_content_keeps_what_it_is_known_by(web: WebServer) -> None:
    web.answer("/ca.crl", lambda _: Reply(status=304))
    got = await fetch(web.url("/ca.crl"), etag='"7"', last_modified="then")
    assert got == Fetched(None, '"7"', "then")
    assert await failure(web.url("/ca.crl")) == "HTTP 304 Not Modified"


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("max-age=3600", 3600),
        ("public, Max-Age=60, must-revalidate", 60),
        ("s-maxage=5", None),
        ("x-max-age=5", None),
        ("max-age=soon", None),
        ("no-transform", None),
    ],
)
async def test_how_long_it_may_be_kept(web: WebServer, said: str, seconds: int | None) -> None:
    web.serve("/ca.crl", b"crl", cache_control=said)
    assert (await fetch(web.url("/ca.crl"))).max_age == seconds


async def test_no_cookie_is_kept(web: WebServer) -> None:
    web.serve("/ca.crl", b"crl", set_cookie="a=b; Path=/")
    async with GuardedNet(settings()) as net:
        for _ in range(2):
            await net.fetch(Request(web.url("/ca.crl"), MOST))
    assert ["cookie" in asked.headers for asked in web.requests] == [False, False]


async def test_proxies_of_the_environment_are_not_asked(
    web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    web.serve("/ca.crl", b"crl")
    assert (await fetch(web.url("/ca.crl"))).content == b"crl"


# limits


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (Trouble.CLOSE, "closed the connection without an answer"),
        (Trouble.ENDLESS, "larger than 1 MiB"),
        (Trouble.HUGE, "larger than 1 MiB"),
        (Trouble.CUT, "cut off after 10 of 1000 octets"),
        (Trouble.CUT_CHUNKED, "cut off after 10 octets"),
        (Trouble.BOMB, "sent compressed, which nobody asked for"),
        (Trouble.LOOP, "redirected too often"),
        (Trouble.GARBAGE, "not an HTTP answer"),
    ],
)
async def test_a_server_that_misbehaves(web: WebServer, trouble: Trouble, words: str) -> None:
    web.misbehave("/ca.crl", trouble)
    assert await failure(web.url("/ca.crl")) == words


@pytest.mark.parametrize("trouble", [Trouble.SILENT, Trouble.STALL])
@both_loops
async def test_a_server_that_falls_silent(web: WebServer, trouble: Trouble) -> None:
    web.misbehave("/ca.crl", trouble)
    assert await failure(web.url("/ca.crl"), settings(timeout=0.2)) == "no answer in 0.2 s"


async def test_a_server_that_takes_its_time(web: WebServer) -> None:
    web.misbehave("/ca.crl", Trouble.DRIP)
    said = await failure(web.url("/ca.crl"), settings(total_timeout=0.4))
    assert said == "not complete after 0.4 s"


async def test_more_than_announced_is_not_taken(web: WebServer) -> None:
    web.misbehave("/ca.crl", Trouble.LONG)
    try:
        content = (await fetch(web.url("/ca.crl"))).content
    except FetchFailed:
        content = None  # where the rest came with the head
    assert content in {None, b"0" * 10}


async def test_as_much_as_may_be(web: WebServer) -> None:
    web.serve("/ca.crl", b"12345")
    assert (await fetch(web.url("/ca.crl"), most=5)).content == b"12345"
    assert await failure(web.url("/ca.crl"), most=4) == "larger than 4 octets"


async def test_nothing(web: WebServer) -> None:
    web.serve("/ca.crl", b"")
    assert await failure(web.url("/ca.crl")) == "sent nothing"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (204, "HTTP 204 No Content"),
        (206, "HTTP 206 Partial Content"),
        (404, "HTTP 404 Not Found"),
        (500, "HTTP 500 Internal Server Error"),
    ],
)
async def test_answers_that_are_none(web: WebServer, status: int, words: str) -> None:
    web.serve("/ca.crl", b"<p>password=hunter2</p>", status=status)
    assert await failure(web.url("/ca.crl?secret=1")) == words


async def test_no_server() -> None:
    with ReservedPort() as port:
        said = await failure(f"http://login:secret@127.0.0.1:{port.number}/?secret=1")
    assert said == "cannot be reached: connection refused"
    assert await failure("http://ca.invalid/ca.crl") == "no such host"


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http:///ca.crl",
        "http://127.0.0.1:99999/",
        "http://[::1/",
        "http://127.0.0.1/ca.crl\r\nHost: x",
        "http://127.0.0.1/\0",
    ],
)
async def test_what_is_no_url(url: str) -> None:
    assert await failure(url) == "not a URL"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/", "/ca.crl", ""])
async def test_other_ways(url: str) -> None:
    assert await failure(url) == "neither an HTTP nor an LDAP URL"


async def test_an_endless_url() -> None:
    said = await failure("http://127.0.0.1/" + "a" * 10_000)
    assert said == "the URL is longer than 8192 characters"


async def test_what_nobody_foresaw(web: WebServer) -> None:
    with pytest.raises(FetchFailed, match=r"^cannot be fetched$"):
        await fetch(web.url("/ca.crl"), etag='"7"\r\nX-Evil: 1')
    with pytest.raises(FetchFailed, match=r"^cannot be fetched$"):
        await fetch(web.url("/ca.crl"), etag=7)
    assert not web.requests


# redirects


async def test_redirects_are_followed_so_far(web: WebServer) -> None:
    web.serve("/0", b"crl")
    for number in range(1, 5):
        web.redirect(f"/{number}", web.url(f"/{number - 1}"), status=307)
    assert (await fetch(web.url("/3"))).content == b"crl"
    assert await failure(web.url("/4")) == "redirected too often"
    assert await failure(web.url("/1"), settings(redirects=0)) == "redirected too often"


async def test_what_was_posted_is_posted_again(web: WebServer) -> None:
    web.answer("/ocsp", lambda asked: asked.body)
    web.redirect("/moved", "/ocsp", status=308)
    web.redirect("/see", "/ocsp", status=303)
    assert (await fetch(web.url("/moved"), body=b"?")).content == b"?"
    assert await failure(web.url("/see"), body=b"?") == "HTTP 303 See Other"


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("file:///etc/passwd", "redirected to something other than HTTP"),
        ("ldap://127.0.0.1/", "redirected to something other than HTTP"),
        ("//[::1/", "redirected to what is not a URL"),
        ("http://10.0.0.5/secret", "address 10.0.0.5 is not on the Internet"),
        ("http://169.254.169.254/latest/", "address 169.254.169.254 is not on the Internet"),
        ("http://2130706433/", "host '2130706433' is neither a name nor an address"),
        ("http://", "redirected too often"),  # RFC 3986 §5.2: the same place
    ],
)
async def test_redirects_to_elsewhere(web: WebServer, to: str, words: str) -> None:
    web.redirect("/ca.crl", to)
    assert (await failure(web.url("/ca.crl"))).startswith(words)


async def test_a_redirect_to_a_place_that_is_not_allowed(web: WebServer) -> None:
    with WebServer(address="127.0.0.2") as inside:
        inside.serve("/secret", b"secret")
        web.redirect("/ca.crl", inside.url("/secret"))
        assert "127.0.0.2 is not on the Internet" in await failure(web.url("/ca.crl"))
        assert not inside.requests


# where it may go


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
async def test_loopback_is_refused(web: WebServer, host: str) -> None:
    port = urlsplit(web.url("/")).port
    said = await failure(f"http://{host}:{port}/ca.crl", Fetch())
    assert "is not on the Internet, nor named by `allow` in `fetch`" in said
    assert not web.requests


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1"])
@pytest.mark.parametrize("config", [Fetch(), settings()])
async def test_loopback_in_disguise_is_refused(
    web: WebServer, host: str, config: Fetch
) -> None:
    said = await failure(web.url("/ca.crl", host=host), config)
    assert said == f"host '{host}' is neither a name nor an address"
    assert not web.requests


def resolving(monkeypatch: pytest.MonkeyPatch, **names: list[str]) -> list[str]:
    """Let names, by their first label, have addresses; the names that were asked for."""
    asked: list[str] = []

    def getaddrinfo(host: str, _port: None, **_special: Any) -> list[Any]:
        asked.append(host)
        kind = socket.SOCK_STREAM
        addresses = names[host.partition(".")[0]]
        return [(socket.AF_INET, kind, 6, "", (address, 0)) for address in addresses]

    monkeypatch.setattr(resolve.socket, "getaddrinfo", getaddrinfo)
    return asked


async def test_a_name_that_leads_inside(
    web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, ca=["127.0.0.1"])
    said = await failure(web.url("/ca.crl", host="ca.example"), Fetch())
    assert said.startswith("address 127.0.0.1 is not on the Internet")
    assert not web.requests


async def test_a_name_is_resolved_once_for_a_connection(
    web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.serve("/ca.crl", b"crl")
    asked = resolving(monkeypatch, ca=["127.0.0.2", "10.0.0.5", "127.0.0.1"])
    got = await fetch(web.url("/ca.crl", host="ca.example"))
    assert got.content == b"crl"  # by the one address that is permitted
    assert asked == ["ca.example"]
    assert web.requests[0].headers["host"] == f"ca.example:{web.port}"


async def test_whatever_the_resolver_says(
    web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lie(_self: Resolver, _host: str, _guard: Guard) -> list[IpAddress]:
        return [ip_address("127.0.0.1")]

    monkeypatch.setattr(Resolver, "permitted", lie)
    said = await failure(web.url("/ca.crl", host="ca.example"), Fetch())
    assert said.startswith("cannot be reached")
    assert not web.requests


# TLS


@both_loops
async def test_https(certificates: Certificates) -> None:
    trusting = settings(ca_file=certificates.certificate)
    with WebServer(tls=certificates.server()) as web, WebServer() as plain:
        web.serve("/ca.crl", b"crl")
        web.redirect("/plain.crl", plain.url("/ca.crl"))
        plain.redirect("/ca.crl", web.url("/ca.crl"))
        assert (await fetch(web.url("/ca.crl"), trusting)).content == b"crl"
        assert (await fetch(plain.url("/ca.crl"), trusting)).content == b"crl"
        said = await failure(web.url("/plain.crl"), trusting)
        assert said == "redirected from https to http"
        said = await failure(web.url("/ca.crl"))
        assert said == "certificate of the server not trusted: self-signed certificate"


async def test_https_of_another_name(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, ca=["127.0.0.1"])
    with WebServer(tls=certificates.server()) as web:
        said = await failure(
            web.url("/ca.crl", host="ca.example"), settings(ca_file=certificates.certificate)
        )
    assert said.startswith("certificate of the server not trusted: Hostname mismatch")


async def test_https_to_a_server_without(web: WebServer) -> None:
    url = web.url("/ca.crl").replace("http:", "https:")
    assert await failure(url, settings(connect_timeout=0.3)) == "no connection in 0.3 s"


def test_roots_that_cannot_be_read(tmp_path: Path) -> None:
    roots = tmp_path / "roots.pem"
    with pytest.raises(AdminError, match=r"roots\.pem: roots in `ca-file` of `fetch`"):
        GuardedNet(Fetch(ca_file=roots))
    roots.write_text("none")
    with pytest.raises(AdminError, match="cannot be read"):
        GuardedNet(Fetch(ca_file=roots))


# by a proxy


def by_proxy(proxy: WebServer, **special: Any) -> Fetch:
    return Fetch(proxy=proxy.url("").replace("//", "//login:secret@"), **special)


async def test_a_name_that_only_the_proxy_knows(web: WebServer) -> None:
    web.serve("http://ca.invalid/ca.crl", b"crl")
    assert (await fetch("http://ca.invalid/ca.crl", by_proxy(web))).content == b"crl"
    (asked,) = web.requests
    assert asked.headers["proxy-authorization"].startswith("Basic ")


async def test_the_internet_by_proxy_and_the_inside_without(
    web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, ca=["1.1.1.1"], pki=["127.0.0.1"], db=["10.0.0.5"])
    web.serve("http://ca.example/ca.crl", b"outside")
    web.serve("/ca.crl", b"inside")
    config = by_proxy(web, allow=(str(HERE),))
    assert (await fetch("http://ca.example/ca.crl", config)).content == b"outside"
    inside = web.url("/ca.crl", host="pki.example")
    assert (await fetch(inside, config)).content == b"inside"
    assert "10.0.0.5 is not on the Internet" in await failure("http://db.example/", config)
    assert "127.0.0.2 is not on the Internet" in await failure("http://127.0.0.2/", config)


async def test_a_proxy_that_will_not(web: WebServer) -> None:
    web.answer("ca.invalid:443", lambda _: Reply(status=407))
    said = await failure("https://ca.invalid/ca.crl", by_proxy(web))
    assert said == "refused by the proxy: HTTP 407 Proxy Authentication Required"


async def test_no_proxy_and_its_password() -> None:
    with ReservedPort() as port:
        config = Fetch(proxy=f"http://login:secret@127.0.0.1:{port.number}")
        said = await failure("http://ca.invalid/ca.crl", config)
    assert said == "proxy cannot be reached: connection refused"
    assert "secret" not in repr(config)


# many at once


@both_loops
async def test_one_slow_host_holds_up_no_other(web: WebServer) -> None:
    web.serve("/ca.crl", b"crl")
    with WebServer() as slow:
        slow.misbehave("/ca.crl", Trouble.SILENT)
        async with GuardedNet(settings(timeout=60)) as net:
            url = slow.url("/ca.crl", host="localhost")
            waiting = [
                asyncio.create_task(net.fetch(Request(url, MOST))) for _ in range(AT_ONCE * 2)
            ]
            await asyncio.sleep(0)
            async with asyncio.timeout(20):
                assert (await net.fetch(Request(web.url("/ca.crl"), MOST))).content == b"crl"
            for task in waiting:
                task.cancel()
            ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        assert len(slow.requests) <= AT_ONCE_OF_A_HOST


async def test_how_many_at_once(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    web.misbehave("/ca.crl", Trouble.SILENT)
    hosts = [f"h{number}" for number in range(8)]
    resolving(monkeypatch, **{host: ["127.0.0.1"] for host in hosts})
    urls = [web.url("/ca.crl", host=f"{host}.example") for host in hosts for _ in range(5)]
    async with GuardedNet(settings(timeout=60)) as net:
        fetches = [asyncio.create_task(net.fetch(Request(url, MOST))) for url in urls]
        await asyncio.to_thread(web.wait_for, AT_ONCE)
        await asyncio.sleep(0.2)  # for more, which do not come
        for one in fetches:
            one.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)
    places = Counter(asked.headers["host"] for asked in web.requests)
    assert places.total() == AT_ONCE
    assert max(places.values()) == AT_ONCE_OF_A_HOST


async def test_what_a_mail_waits_for_has_places_of_its_own(web: WebServer) -> None:
    web.serve("/ocsp", b"answer")
    web.misbehave("/ca.crl", Trouble.SILENT)
    async with GuardedNet(settings(timeout=60)) as net:
        slow = [
            asyncio.create_task(net.fetch(Request(web.url("/ca.crl"), MOST)))
            for _ in range(AT_ONCE_OF_A_HOST)
        ]
        await asyncio.to_thread(web.wait_for, AT_ONCE_OF_A_HOST)
        async with asyncio.timeout(20):
            urgent = Request(web.url("/ocsp"), MOST, urgent=True)
            assert (await net.fetch(urgent)).content == b"answer"
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


async def test_closed(web: WebServer) -> None:
    web.misbehave("/ca.crl", Trouble.SILENT)
    net = GuardedNet(settings())
    async with net:
        task = asyncio.create_task(net.fetch(Request(web.url("/ca.crl"), MOST)))
        await asyncio.to_thread(web.wait_for, 1)
    with pytest.raises(FetchFailed):
        await task
    with pytest.raises(FetchFailed, match="closed"):
        await net.fetch(Request(web.url("/ca.crl"), MOST))


async def test_answers_may_depend_on_what_was_asked(web: WebServer) -> None:
    def answer(asked: Asked) -> bytes:
        return asked.path.encode()

    web.answer("/ocsp", answer)
    assert (await fetch(web.url("/ocsp/MEUw%2BQ%3D"))).content == b"/ocsp/MEUw%2BQ%3D"
