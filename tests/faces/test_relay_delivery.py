"""The relay against a next hop that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from smimefilter import config
from smimefilter.base.envelope import Client, Deferred, Delivered, Fate, Recipient, Refused
from smimefilter.base.errors import AdminError
from smimefilter.ports.relay import Outgoing
from smimefilter.smtp import relay as relay_module
from smimefilter.smtp.relay import SmtpRelay
from tests.support.smtp import DROP, EXTENSIONS, HANG, Hop, both_loops

NO_PIPELINING = EXTENSIONS[1:]


def outgoing(*recipients: str, content: Sequence[bytes] = (b"a\r\n",), **more: Any) -> Outgoing:
    rcpts = tuple(Recipient(address) for address in recipients or ("b@y.test",))
    return Outgoing("a@x.test", rcpts, content, **more)


def relay_to(hop: Hop, **settings: Any) -> SmtpRelay:
    next_hop = config.NextHop(port=hop.port, **settings)
    return SmtpRelay(config.Config(next_hop=next_hop), "gw.test")


def seen(fates: Sequence[Fate]) -> list[str]:
    """Each fate as a word and a status."""
    words = []
    for fate in fates:
        status = f" {fate.status}" if isinstance(fate, Deferred | Refused) else ""
        words.append(type(fate).__name__ + status)
    return words


async def deliver(hop: Hop, out: Outgoing, **settings: Any) -> list[Fate]:
    relay = relay_to(hop, **settings)
    try:
        async with asyncio.timeout(8):
            return await relay.deliver(out)
    finally:
        relay.close()


# ── what goes over the wire ───────────────────────────────────────────────────────────────


@both_loops
async def test_a_mail_is_delivered_and_its_queue_id_known() -> None:
    async with Hop().running() as hop:
        relay = relay_to(hop)
        assert relay.abilities() is None
        fates = await relay.deliver(
            outgoing("b@y.test", "c@y.test", content=[b"x: y\r\n", b"", b"\r\nbody\r\n"])
        )
        abilities = relay.abilities()
        relay.close()
    assert fates == [Delivered("Q1", "Ok: queued as Q1")] * 2
    assert hop.contents == [b"x: y\r\n\r\nbody\r\n"]
    assert abilities is not None
    assert "SMTPUTF8" in abilities
    assert hop.commands == [
        "EHLO gw.test",
        "MAIL FROM:<a@x.test> SIZE=14",
        "RCPT TO:<b@y.test>",
        "RCPT TO:<c@y.test>",
        "DATA",
    ]


@both_loops
async def test_what_the_next_hop_can_do_is_known_before_the_first_mail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay_module, "FIRST_RETRY", 0.01)
    async with Hop(["PIPELINING", "SIZE"]).running() as hop:
        hop.on("CONNECT", DROP, "421 4.3.2 not now")
        relay = relay_to(hop)
        async with asyncio.timeout(8):
            await relay.get_acquainted()
        abilities = relay.abilities()
        assert abilities is not None
        assert "PIPELINING" in abilities
        assert "8BITMIME" not in abilities
        await relay.deliver(outgoing())
        relay.close()
        assert hop.connections == 3  # the last one serves the first mail


PARAMS = [
    (EXTENSIONS, "SIZE=3 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x", "NOTIFY=NEVER ORCPT=a;b"),
    (["SIZE", "AUTH PLAIN"], "SIZE=3 AUTH=<>", ""),
    (["DSN"], "RET=HDRS ENVID=x", "NOTIFY=NEVER ORCPT=a;b"),
    ([], "", ""),
]


@pytest.mark.parametrize(("extensions", "of_mail", "of_rcpt"), PARAMS)
async def test_parameters_go_as_far_as_they_are_understood(
    extensions: Sequence[str], of_mail: str, of_rcpt: str
) -> None:
    given = ("SIZE=99", "BODY=8BITMIME", "SMTPUTF8", "RET=HDRS", "ENVID=x", "AUTH=<>")
    rcpt = Recipient("b@y.test", ("NOTIFY=NEVER", "ORCPT=a;b"))
    async with Hop(extensions).running() as hop:
        fates = await deliver(hop, Outgoing("a@x.test", (rcpt,), [b"a\r\n"], given))
    assert seen(fates) == ["Delivered"]
    assert f"MAIL FROM:<a@x.test> {of_mail}".rstrip() in hop.commands
    assert f"RCPT TO:<b@y.test> {of_rcpt}".rstrip() in hop.commands


UTF8 = ("SMTPUTF8",)
LIMITED = [
    (["SIZE"], outgoing(content=["ü\r\n".encode()]), "Unfit 5.6.3"),
    (["8BITMIME"], outgoing("ü@y.test"), "Unfit 5.6.7"),
    (["8BITMIME"], outgoing(content=["S: ü\r\n\r\n".encode()], params=UTF8), "Unfit 5.6.7"),
    (["8BITMIME"], outgoing(content=["S: u\r\n\r\nü\r\n".encode()], params=UTF8), "Delivered"),
    (["8BITMIME"], outgoing(content=["S: ü\r\n\r\n".encode()]), "Delivered"),
]  # fmt: skip


@pytest.mark.parametrize(("extensions", "out", "fate"), LIMITED)
async def test_what_the_next_hop_cannot_take_is_refused(
    extensions: Sequence[str], out: Outgoing, fate: str
) -> None:
    async with Hop(extensions).running() as hop:
        assert seen(await deliver(hop, out)) == [fate]
        assert ("MAIL" in hop.verbs()) == (fate == "Delivered")


async def test_xforward_is_passed_on() -> None:
    client = Client(peer="127.0.0.1", xforward={"NAME": "spike.test", "HELO": "a b=c"})
    async with Hop().running() as hop:
        await deliver(hop, outgoing(client=client))
    assert hop.commands[1] == (
        "XFORWARD NAME=spike.test ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE] PROTO=[UNAVAILABLE]"
        " HELO=a+20b+3Dc IDENT=[UNAVAILABLE] SOURCE=[UNAVAILABLE]"
    )


async def test_a_client_that_forwards_nothing_is_named_itself() -> None:
    client = Client(peer="192.0.2.1", helo="c.test", protocol="ESMTPSA")
    async with Hop(["XFORWARD ADDR HELO PROTO"]).running() as hop:
        hop.on("XFORWARD", "550 5.7.0 not you")
        fates = await deliver(hop, outgoing(client=client))
    assert hop.commands[1] == "XFORWARD ADDR=192.0.2.1 HELO=c.test PROTO=ESMTPSA"
    assert seen(fates) == ["Delivered"]


async def test_long_attributes_are_split() -> None:
    client = Client(peer="192.0.2.1", xforward={"NAME": "n" * 255, "HELO": "h" * 255})
    async with Hop().running() as hop:
        await deliver(hop, outgoing(client=client))
    lines = [command for command in hop.commands if command.startswith("XFORWARD")]
    assert len(lines) == 2
    assert max(map(len, lines)) <= 510


async def test_commands_cannot_be_slipped_in() -> None:
    async with Hop().running() as hop:
        with pytest.raises(ValueError, match="line end"):
            await deliver(hop, outgoing("b@y.test>\r\nRCPT TO:<evil@x.test"))
    assert "RCPT" not in hop.verbs()


# ── refusals ──────────────────────────────────────────────────────────────────────────────

ANSWERS: list[tuple[dict[str, list[Any]], list[str], int]] = [
    # script, fates of two recipients, contents that arrive
    ({"RCPT": ["250 ok", "550 5.1.1 no such user"]}, ["Delivered", "Refused 5.1.1"], 1),
    ({"RCPT": ["450 4.2.1 full", "251 ok"]}, ["Deferred 4.2.1", "Delivered"], 1),
    ({"RCPT": ["450 4.2.1 full", "550 no"]}, ["Deferred 4.2.1", "Refused 5.0.0"], 0),
    ({"MAIL": ["552 5.3.4 too big"]}, ["Refused 5.3.4"] * 2, 0),
    ({"MAIL": ["452 4.3.1 disk full"]}, ["Deferred 4.3.1"] * 2, 0),
    ({"DATA": ["451 4.7.1 later"]}, ["Deferred 4.7.1"] * 2, 0),
    ({"DATA": ["554 5.5.1 x"], "RCPT": ["450 4.2.1"]}, ["Deferred 4.2.1", "Refused 5.5.1"], 0),
    ({"DATA": ["250 ok"]}, ["Deferred 4.5.0"] * 2, 0),
    ({"END": ["554 5.7.1 spam"]}, ["Refused 5.7.1"] * 2, 1),
    ({"END": ["451 5.7.1 odd"]}, ["Deferred 4.7.1"] * 2, 1),
    ({"END": ["421 4.3.2 bye"]}, ["Deferred 4.3.2"] * 2, 1),
    ({"END": ["250-2.0.0 one\r\n250 2.0.0 two"]}, ["Delivered"] * 2, 1),
    ({"END": ["354 what"]}, ["Deferred 4.5.0"] * 2, 1),
    ({"CONNECT": ["554 5.3.2 go away"]}, ["Deferred 4.4.1"] * 2, 0),
    ({"CONNECT": ["421 4.3.2 busy"]}, ["Deferred 4.3.2"] * 2, 0),
    ({"EHLO": ["502 what"], "HELO": ["502 what"]}, ["Deferred 4.4.1"] * 2, 0),
    ({"EHLO": ["502 what"]}, ["Delivered"] * 2, 1),
]  # fmt: skip


@pytest.mark.parametrize("extensions", [EXTENSIONS, NO_PIPELINING], ids=["pipelined", "plain"])
@pytest.mark.parametrize(("script", "fates", "contents"), ANSWERS)
async def test_replies_become_fates(
    script: dict[str, list[Any]],
    fates: list[str],
    contents: int,
    extensions: Sequence[str],
) -> None:
    async with Hop(extensions).running() as hop:
        for verb, answers in script.items():
            hop.on(verb, *answers)
        got = await deliver(hop, outgoing("b@y.test", "c@y.test"))
    assert seen(got) == fates
    assert len([content for content in hop.contents if content]) == contents
    assert not any(isinstance(fate, Refused) and fate.by_policy for fate in got)


async def test_texts_are_those_of_the_next_hop() -> None:
    async with Hop().running() as hop:
        hop.on("RCPT", "550-5.1.1 no such user\r\n550 5.1.1 here")
        (fate,) = await deliver(hop, outgoing())
    assert isinstance(fate, Refused)
    assert fate.text == "no such user here"


@pytest.mark.parametrize(
    ("reply", "queue_id"),
    [
        ("250 2.0.0 Ok: queued as 4XyZ0123", "4XyZ0123"),
        ("250 OK id=1abcDE-000123-Fg", "1abcDE-000123-Fg"),
        ("250 2.0.0 from MTA: 250 2.0.0 Ok: queued as A1.", "A1"),
        ("250 2.0.0 Ok", ""),
        ("250", ""),
    ],
)
async def test_queue_ids(reply: str, queue_id: str) -> None:
    async with Hop().running() as hop:
        hop.on("END", reply)
        (fate,) = await deliver(hop, outgoing())
    assert isinstance(fate, Delivered)
    assert fate.queue_id == queue_id


async def test_data_that_was_let_in_for_nobody_is_called_off() -> None:
    async with Hop().running() as hop:
        relay = relay_to(hop)
        hop.on("RCPT", "550 5.1.1 no", "550 5.1.1 no")
        assert (
            seen(await relay.deliver(outgoing("b@y.test", "c@y.test"))) == ["Refused 5.1.1"] * 2
        )
        assert hop.contents == [b""]
        assert seen(await relay.deliver(outgoing())) == ["Delivered"]
        relay.close()
    assert hop.connections == 1
    assert "RSET" not in hop.verbs()


async def test_an_unfinished_transaction_is_reset_on_the_next_use() -> None:
    async with Hop().running() as hop:
        relay = relay_to(hop)
        hop.on("RCPT", "550 5.1.1 no")
        hop.on("DATA", "554 5.5.1 no valid recipients")
        assert seen(await relay.deliver(outgoing())) == ["Refused 5.1.1"]
        assert seen(await relay.deliver(outgoing())) == ["Delivered"]
        assert seen(await relay.deliver(outgoing())) == ["Delivered"]
        relay.close()
    assert hop.connections == 1
    assert hop.verbs().count("RSET") == 1
    assert hop.verbs()[4:6] == ["RSET", "MAIL"]


# ── trouble of the connection ─────────────────────────────────────────────────────────────

STAGES = ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA"]


async def test_nobody_there() -> None:
    async with Hop().running() as hop:
        pass
    assert seen(await deliver(hop, outgoing("b@y.test", "c@y.test"))) == ["Deferred 4.4.1"] * 2


@both_loops
async def test_a_host_that_does_not_exist() -> None:
    hop = config.NextHop(host="nowhere.invalid", port=25)
    relay = SmtpRelay(config.Config(next_hop=hop), "gw.test")
    assert seen(await relay.deliver(outgoing())) == ["Deferred 4.4.1"]


@pytest.mark.parametrize("extensions", [EXTENSIONS, NO_PIPELINING], ids=["pipelined", "plain"])
@pytest.mark.parametrize("stage", STAGES)
async def test_dropped_before_the_content(stage: str, extensions: Sequence[str]) -> None:
    async with Hop(extensions).running() as hop:
        hop.on(stage, DROP, DROP, DROP)
        assert seen(await deliver(hop, outgoing())) == ["Deferred 4.4.2"]
    assert hop.connections == (1 if stage == "CONNECT" else 2)
    assert hop.contents == []


@both_loops
async def test_dropped_after_the_content_is_not_tried_again() -> None:
    async with Hop().running() as hop:
        hop.on("END", DROP)
        assert seen(await deliver(hop, outgoing())) == ["Deferred 4.4.2"]
    assert hop.connections == 1
    assert len(hop.contents) == 1


@pytest.mark.parametrize("extensions", [EXTENSIONS, NO_PIPELINING], ids=["pipelined", "plain"])
@pytest.mark.parametrize("answer", [DROP, "421 4.4.2 timeout"], ids=["eof", "421"])
@pytest.mark.parametrize("stage", STAGES[2:])
async def test_a_used_connection_that_breaks_is_replaced_once(
    stage: str, answer: Any, extensions: Sequence[str]
) -> None:
    async with Hop(extensions).running() as hop:
        relay = relay_to(hop)
        assert seen(await relay.deliver(outgoing())) == ["Delivered"]
        hop.on(stage, answer)
        assert seen(await relay.deliver(outgoing())) == ["Delivered"]
        relay.close()
    assert hop.connections == 2
    assert len(hop.contents) == 2


@both_loops
async def test_a_connection_closed_while_idle_is_not_used() -> None:
    async with Hop().running() as hop:
        relay = relay_to(hop)
        await relay.deliver(outgoing())
        hop.cut()
        await asyncio.sleep(0.05)
        assert seen(await relay.deliver(outgoing())) == ["Delivered"]
        relay.close()
    assert hop.connections == 2


async def test_idle_connections_that_are_gone_do_not_count_as_tries() -> None:
    async with Hop().running() as hop:
        relay = relay_to(hop)
        await asyncio.gather(relay.deliver(outgoing()), relay.deliver(outgoing()))
        hop.cut()
        await asyncio.sleep(0.05)
        hop.on("MAIL", DROP)
        assert seen(await relay.deliver(outgoing())) == ["Delivered"]
        relay.close()


async def test_a_421_while_idle_is_taken_for_the_end() -> None:
    async with Hop().running() as hop:
        relay = relay_to(hop)
        assert seen(await relay.deliver(outgoing())) == ["Delivered"]
        hop.say(b"421 4.4.2 bye\r\n")
        await asyncio.sleep(0.05)
        assert seen(await relay.deliver(outgoing())) == ["Delivered"]
        relay.close()
    assert hop.connections == 2


GARBAGE = [b"hello\r\n", b"999 what\r\n", b"25\r\n", b"\x00\xff\r\n", b"250_no\r\n", b"\r\n"]


@pytest.mark.parametrize("octets", GARBAGE)
@pytest.mark.parametrize("stage", [*STAGES, "END"])
async def test_garbage(stage: str, octets: bytes) -> None:
    async with Hop().running() as hop:
        hop.on(stage, octets, octets)
        assert seen(await deliver(hop, outgoing())) == ["Deferred 4.5.0"]
    assert hop.connections == 1


async def test_endless_replies_are_cut_off() -> None:
    async with Hop().running() as hop:
        hop.on("EHLO", b"250-x\r\n" * 100_000)
        assert seen(await deliver(hop, outgoing())) == ["Deferred 4.5.0"]


async def test_more_replies_than_commands() -> None:
    async with Hop().running() as hop:
        hop.on("DATA", b"354 go\r\n250 2.0.0 Ok: queued as EARLY\r\n")
        assert seen(await deliver(hop, outgoing())) == ["Deferred 4.5.0"]


@both_loops
async def test_a_next_hop_that_says_nothing() -> None:
    for stage in [*STAGES, "END"]:
        async with Hop().running() as hop:
            hop.on(stage, HANG, HANG)
            fates = await deliver(hop, outgoing(), timeout=0.15)
        assert seen(fates) == ["Deferred 4.4.2"], stage
        assert hop.connections == 1, stage


@both_loops
async def test_large_contents_go_at_the_pace_of_the_next_hop() -> None:
    content = [b"x" * 4_000_000 + b"\r\n", b".\r\n" * 1000, b"y" * 5_000_000]
    async with Hop().running() as hop:
        assert seen(await deliver(hop, outgoing(content=content))) == ["Delivered"]
    assert hop.contents == [b"".join(content).replace(b"\n.", b"\n..") + b"\r\n"]


class Rejecting(Hop):
    """Does not read the content, but answers or goes away."""

    reply = b""

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in (b"250 hop.test\r\n", *[b"250 2.0.0 Ok\r\n"] * 2, b"354 go\r\n"):
            await reader.readuntil(b"\r\n")
            writer.write(answer)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
        writer.write(self.reply)
        await writer.drain()
        await asyncio.sleep(0.05)


@both_loops
async def test_an_answer_amid_the_content_counts() -> None:
    out = outgoing(content=[b"x" * 20_000_000])
    for reply, fate, tries in [
        (b"552 5.3.4 too big\r\n", "Refused 5.3.4", 1),
        (b"452 4.3.1 disk full\r\n", "Deferred 4.3.1", 1),
        (b"250 2.0.0 thanks\r\n", "Deferred 4.5.0", 1),
        (b"", "Deferred 4.4.2", 2),
    ]:
        hop = Rejecting()
        hop.reply = reply
        async with hop.running():
            assert seen(await deliver(hop, out)) == [fate]
        assert hop.connections == tries


# ── the pool ──────────────────────────────────────────────────────────────────────────────


@both_loops
async def test_connections_are_shared_and_bounded() -> None:
    async with Hop().running() as hop:
        relay = relay_to(hop, connections=3)
        results = await asyncio.gather(*(relay.deliver(outgoing()) for _ in range(40)))
        relay.close()
    assert all(seen(fates) == ["Delivered"] for fates in results)
    assert len(hop.contents) == 40
    assert hop.connections == 3


@both_loops
async def test_idle_connections_are_closed() -> None:
    async with Hop().running() as hop:
        relay = relay_to(hop, idle=0.1)
        await asyncio.gather(relay.deliver(outgoing()), relay.deliver(outgoing()))
        assert "QUIT" not in hop.verbs()
        await asyncio.sleep(0.3)
        assert hop.verbs().count("QUIT") == 2
        assert seen(await relay.deliver(outgoing())) == ["Delivered"]
        relay.close()


async def test_waiting_for_a_connection_has_an_end() -> None:
    async with Hop().running() as hop:
        hop.on("END", HANG)
        relay = relay_to(hop, connections=1, timeout=0.2)
        first = asyncio.create_task(relay.deliver(outgoing()))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(relay.deliver(outgoing()))
        assert seen(await first) == ["Deferred 4.4.2"]
        assert seen(await second) == ["Delivered"]
        hop.on("MAIL", HANG, HANG, HANG)
        slow = [asyncio.create_task(relay.deliver(outgoing())) for _ in range(3)]
        fates = [seen(await task)[0] for task in slow]
        assert "Deferred 4.4.5" in fates
        assert set(fates) <= {"Deferred 4.4.2", "Deferred 4.4.5"}
        relay.close()


async def test_a_cancelled_delivery_leaves_nothing_half_said() -> None:
    async with Hop().running() as hop:
        hop.on("MAIL", HANG)
        relay = relay_to(hop, connections=1)
        task = asyncio.create_task(relay.deliver(outgoing()))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen(await relay.deliver(outgoing())) == ["Delivered"]
        relay.close()
    assert hop.connections == 2


# ── routes ────────────────────────────────────────────────────────────────────────────────


async def test_routes_by_domain_and_by_name() -> None:
    async with Hop().running() as usual, Hop().running() as one, Hop().running() as two:
        settings = config.Config(
            next_hop=config.NextHop(port=usual.port),
            next_hops={
                "one": config.NextHop(port=one.port),
                "two": config.NextHop(port=two.port),
            },
            routes={"Y.test": "one", "*.y.test": "two", "bücher.test": "two"},
        )
        relay = SmtpRelay(settings, "gw.test")
        one.on("RCPT", "550 5.1.1 no")
        addresses = [
            "a@z.test", "b@y.test", "c@deep.sub.y.test", "d@xn--bcher-kva.test", "e@Y.TEST",
            "postmaster",
        ]  # fmt: skip
        fates = await relay.deliver(outgoing(*addresses))
        assert seen(fates) == [
            "Delivered", "Refused 5.1.1", "Delivered", "Delivered", "Delivered", "Delivered",
        ]  # fmt: skip
        assert seen(await relay.deliver(outgoing("f@y.test", next_hop="two"))) == ["Delivered"]
        assert seen(await relay.deliver(outgoing(next_hop="three"))) == ["Deferred 4.3.5"]
        relay.close()

    def got(hop: Hop) -> list[str]:
        return [command[9:-1] for command in hop.commands if command.startswith("RCPT")]

    assert got(usual) == ["a@z.test", "postmaster"]
    assert got(one) == ["b@y.test", "e@Y.TEST"]
    assert got(two) == ["c@deep.sub.y.test", "d@xn--bcher-kva.test", "f@y.test"]


async def test_a_route_for_all_else() -> None:
    async with Hop().running() as usual, Hop().running() as other:
        settings = config.Config(
            next_hop=config.NextHop(port=usual.port),
            next_hops={"other": config.NextHop(port=other.port)},
            routes={"*": "other"},
        )
        relay = SmtpRelay(settings, "gw.test")
        assert seen(await relay.deliver(outgoing("b@y.test", "c@z.test"))) == ["Delivered"] * 2
        relay.close()
    assert (usual.connections, other.connections) == (0, 1)


@pytest.mark.parametrize("routes", [{"y.test": "nowhere"}, {"y..test": "one"}])
def test_routes_that_cannot_work(routes: dict[str, str]) -> None:
    settings = config.Config(next_hops={"one": config.NextHop()}, routes=routes)
    with pytest.raises(AdminError) as caught:
        SmtpRelay(settings, "gw.test")
    assert caught.value.where == "routes"


@both_loops
async def test_an_answer_to_the_content_counts_whatever_follows_it() -> None:
    async with Hop().running() as hop:
        hop.on("END", b"250 Ok: queued as Q9\r\n421 closing\r\n")
        relay = relay_to(hop)
        assert await relay.deliver(outgoing()) == [Delivered("Q9", "Ok: queued as Q9")]
        assert await relay.deliver(outgoing()) == [Delivered("Q2", "Ok: queued as Q2")]
        relay.close()
    assert hop.connections == 2


@both_loops
async def test_an_ipv6_client_is_named_as_smtp_names_it() -> None:
    async with Hop([*EXTENSIONS, "XFORWARD ADDR"]).running() as hop:
        await deliver(hop, outgoing(client=Client("2001:db8::1")))
    assert "XFORWARD ADDR=IPV6:2001:db8::1" in hop.commands
