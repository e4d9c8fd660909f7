"""Contents on their way to the next hop: stuffed, ended, and nothing slipped in."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from smimefilter import config
from smimefilter.base.envelope import Recipient, Refused
from smimefilter.ports.relay import Outgoing
from smimefilter.smtp.relay import SmtpRelay
from smimefilter.smtp.stuffing import Smuggling, stuffed
from smimefilter.smtp.wire import Incoming
from tests.support.smtp import Hop, Inbox, Line, listening

PIECES = st.one_of(
    st.binary(max_size=8),
    st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"..", b".\r\n", b"a"]),
)
CHUNKS = st.one_of(
    st.lists(PIECES, max_size=12),
    st.lists(PIECES, max_size=6).map(lambda pieces: [b"".join(pieces) + b"x" * 4000]),
    st.lists(PIECES, max_size=6).map(
        lambda pieces: [b"a.b" * 12, b".b" * 20 + b"".join(pieces)]
    ),
)


def received(stream: bytes) -> bytes | None:
    incoming = Incoming(1000, 100_000)
    incoming.expect_content()
    incoming.feed(stream)
    content = incoming.content()
    assert incoming.waiting == 0
    return content


def ended(content: bytes) -> bytes:
    return content if content.endswith(b"\r\n") or not content else content + b"\r\n"


@settings(max_examples=400)
@given(CHUNKS)
def test_every_content_survives_any_cut(chunks: list[bytes]) -> None:
    try:
        stream = b"".join(stuffed(chunks))
    except Smuggling:
        assume(False)
    assert received(stream) == ended(b"".join(chunks))


@settings(max_examples=400)
@given(CHUNKS)
def test_nobody_sees_an_earlier_end(chunks: list[bytes]) -> None:
    """Whatever a server takes for a line end, it sees a lone dot at the end only."""
    try:
        *_, end = sent = stuffed(chunks)
    except Smuggling:
        assert b"." in b"".join(chunks)
        return
    stream = b"\r\n" + b"".join(sent)
    before = stream.removesuffix(end.removeprefix(b"\r\n"))
    lines = before.replace(b"\r", b"\n").split(b"\n")
    assert b"." not in lines


@pytest.mark.parametrize(
    "content",
    [
        b"a\n.\nb", b"a\n.\r\nb", b"a\r.\rb", b"a\r.\r\nb", b"a\n.", b"a\r.", b"a\n.\rb",
        b"a\n\n.\r\n", b"\n.\n" + b"x" * 999, b"\r.\r" + b"x" * 999,
    ],
)  # fmt: skip
async def test_smuggling_is_refused(content: bytes) -> None:
    async with Hop().running() as hop:
        relay = SmtpRelay(config.Config(next_hop=config.NextHop(port=hop.port)), "gw.test")
        out = Outgoing("a@x.test", (Recipient("b@y.test"),), [content])
        (fate,) = await relay.deliver(out)
        relay.close()
    assert isinstance(fate, Refused)
    assert str(fate.status) == "5.6.0"
    assert hop.contents == []


@pytest.mark.parametrize(
    "content",
    [
        b"", b".", b"..", b".\r\n", b"\r\n.\r\n", b"a\nb\rc", b"a\n.b\n", b"\n", b"\r", b"a\r",
        b"\r\n.\n", b"\r\n.\rMAIL", b"\n..\n", b"\x00\xff\r\n",
    ],
)  # fmt: skip
def test_odd_contents_are_sent_as_they_are(content: bytes) -> None:
    assert received(b"".join(stuffed([content]))) == ended(content)


def test_without_dots_nothing_is_copied() -> None:
    chunks = [b"x" * 1000, b"a.b\r\n"]
    assert all(a is b for a, b in zip(stuffed(chunks), chunks, strict=False))


@settings(max_examples=20)
@given(st.binary(max_size=2000), st.lists(st.integers(0, 2000), max_size=5))
def test_from_client_to_next_hop_and_back(content: bytes, places: list[int]) -> None:
    """The whole way: our relay to our listener, arbitrary bytes."""
    edges = sorted({0, len(content), *(place % (len(content) + 1) for place in places)})
    chunks = [content[a:b] for a, b in pairwise(edges)]
    inbox = Inbox()

    async def go() -> object:
        async with listening(inbox) as listener:
            hop = config.NextHop(port=listener.port)
            relay = SmtpRelay(config.Config(next_hop=hop), "gw.test")
            out = Outgoing("a@x.test", (Recipient("b@y.test"),), chunks)
            (fate,) = await relay.deliver(out)
            relay.close()
            return fate

    fate = asyncio.run(go())
    if not isinstance(fate, Refused):
        assert inbox.mails[0].content == ended(content)


async def test_the_listener_reads_what_a_client_stuffed() -> None:
    inbox = Inbox()
    async with listening(inbox) as listener, Line.to(listener.port) as line:
        await line.reply()
        await line.dialogue(
            ("EHLO c.test", "250"),
            ("MAIL FROM:<a@x.test>", "250"),
            ("RCPT TO:<b@y.test>", "250"),
            ("DATA", "354"),
        )
        line.send(b"".join(stuffed([b".a\r\n", b"\r", b"\n.", b"\r\n"])))
        assert (await line.reply()).startswith("250")
    assert inbox.mails[0].content == b".a\r\n\r\n.\r\n"
