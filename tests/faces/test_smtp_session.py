"""Dialogues with the SMTP listener over real sockets."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smimefilter.base.envelope import Deferred, Delivered, Fate, Refused, Transaction
from smimefilter.base.errors import AdminError, MailError, Status
from smimefilter.smtp.admission import Admission
from smimefilter.smtp.session import SmtpSession
from tests.support.smtp import Inbox, Line, both_loops, listening, until

HELLO = ("EHLO c.test", "250")
SENDER = ("MAIL FROM:<a@x.test>", "250 2.1.0")
RECIPIENT = ("RCPT TO:<b@y.test>", "250 2.1.5")
MAIL = (
    b"EHLO c.test\r\nMAIL FROM:<a@x.test> SIZE=20\r\nRCPT TO:<b@y.test>\r\n"
    b"RCPT TO:<c@y.test> NOTIFY=NEVER\r\nDATA\r\n"
)
CONTENT = b"Subject: x\r\n\r\n..dot\r\nend\r\n.\r\n"


def envelope(mail: Transaction) -> tuple[object, ...]:
    recipients = [(recipient.address, recipient.params) for recipient in mail.recipients]
    return mail.sender, mail.params, recipients, mail.content


# ── one command ───────────────────────────────────────────────────────────────────────────

FIRST = [
    ("EHLO c.test", "250"),
    ("ehlo c.test", "250"),
    ("HELO c.test", "250 gw.test"),
    ("EHLO", "501 5.5.4"),
    ("HELO", "501 5.5.4"),
    ("LHLO c.test", "500 5.5.1"),
    ("MAIL FROM:<a@x.test>", "503 5.5.1"),
    ("RCPT TO:<a@x.test>", "503 5.5.1"),
    ("DATA", "503 5.5.1"),
    ("NOOP", "250 2.0.0"),
    ("NOOP whatever", "250 2.0.0"),
    ("RSET", "250 2.0.0"),
    ("RSET x", "501 5.5.4"),
    ("VRFY a@x.test", "252 2.5.0"),
    ("EXPN list", "502 5.5.1"),
    ("HELP", "214 2.0.0"),
    ("QUIT x", "501 5.5.4"),
    ("QUIT", "221 2.0.0"),
    ("STARTTLS", "502 5.5.1"),
    ("AUTH PLAIN AGEAYg==", "502 5.5.1"),
    ("BDAT 10", "502 5.5.1"),
    ("", "500 5.5.1"),
    (" ", "500 5.5.1"),
    ("GET / HTTP/1.1", "421 4.7.0"),
    ("NOOP\nRSET", "500 5.5.2"),
    ("NOOP\rRSET", "500 5.5.2"),
    ("NO\0OP", "500 5.5.2"),
    ("NOOP " + "x" * 2100, "500 5.5.2"),
    ("XFORWARD NAME=a", "250 2.0.0"),
]

SENDERS = [
    ("<a@x.test>", "250 2.1.0", "a@x.test"),
    (" <a@x.test>", "250 2.1.0", "a@x.test"),
    ("<>", "250 2.1.0", ""),
    ("<A.b+c@X.test>", "250 2.1.0", "A.b+c@X.test"),
    ('<"a b"@x.test>', "250 2.1.0", '"a b"@x.test'),
    ('<"a\\"b>"@x.test>', "250 2.1.0", '"a\\"b>"@x.test'),
    ('<"a@b"@x.test>', "250 2.1.0", '"a@b"@x.test'),
    ("<a..b@x.test>", "250 2.1.0", "a..b@x.test"),
    ("<@hop.test,@other.test:a@x.test>", "250 2.1.0", "a@x.test"),
    ("<a@[192.0.2.1]>", "250 2.1.0", "a@[192.0.2.1]"),
    ("<a@[IPv6:2001:db8::1]>", "250 2.1.0", "a@[IPv6:2001:db8::1]"),
    ("<ü@x.test> SMTPUTF8", "250 2.1.0", "ü@x.test"),
    ("<a@bücher.test> SMTPUTF8", "250 2.1.0", "a@bücher.test"),
    ("<ü@x.test>", "553 5.6.7", None),
    ("<a@x.test> SIZE=100 BODY=8BITMIME", "250 2.1.0", "a@x.test"),
    ("<a@x.test> RET=HDRS ENVID=QQ314159", "250 2.1.0", "a@x.test"),
    ("<a@x.test> AUTH=<>", "250 2.1.0", "a@x.test"),
    ("<a@x.test> size=100 body=7bit", "250 2.1.0", "a@x.test"),
    ("<a@x.test> SIZE=2000000", "552 5.3.4", None),
    ("<a@x.test> SIZE=big", "501 5.5.4", None),
    ("<a@x.test> SIZE", "501 5.5.4", None),
    ("<a@x.test> SIZE=1 SIZE=1", "501 5.5.4", None),
    ("<a@x.test> BODY=BINARYMIME", "501 5.5.4", None),
    ("<a@x.test> SMTPUTF8=yes", "501 5.5.4", None),
    ("<a@x.test> RET=SOME", "501 5.5.4", None),
    ("<a@x.test> ENVID=+zz", "501 5.5.4", None),
    ("<a@x.test> NOTIFY=NEVER", "555 5.5.4", None),
    ("<a@x.test> REQUIRETLS", "555 5.5.4", None),
    ("<a@x.test>SIZE=1", "501 5.1.7", None),
    ("a@x.test", "501 5.1.7", None),
    ("<a@x.test", "501 5.1.7", None),
    ("<a@x.test>>", "501 5.1.7", None),
    ("<a x@x.test>", "501 5.1.7", None),
    ("<@x.test>", "501 5.1.7", None),
    ("<a@>", "501 5.1.7", None),
    ("<a@x..test>", "501 5.1.7", None),
    ("<a>", "501 5.1.7", None),
    ("<postmaster>", "501 5.1.7", None),
    ("", "501 5.1.7", None),
]

RECIPIENTS = [
    ("<b@y.test>", "250 2.1.5", "b@y.test"),
    ("<Postmaster>", "250 2.1.5", "Postmaster"),
    ("<b@y.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bc@y.test", "250 2.1.5", "b@y.test"),
    ("<b@y.test> notify=never", "250 2.1.5", "b@y.test"),
    ("<@hop.test:b@y.test>", "250 2.1.5", "b@y.test"),
    ("<b@y.test> NOTIFY=SOMETIMES", "501 5.5.4", None),
    ("<b@y.test> NOTIFY=NEVER,DELAY", "501 5.5.4", None),
    ("<b@y.test> ORCPT=b@y.test", "501 5.5.4", None),
    ("<b@y.test> SIZE=1", "555 5.5.4", None),
    ("<ü@y.test>", "553 5.6.7", None),
    ("<>", "501 5.1.3", None),
    ("<b>", "501 5.1.3", None),
    ("b@y.test", "501 5.1.3", None),
]


async def test_every_reply_has_its_codes() -> None:
    async with listening() as listener:
        for command, beginning in FIRST:
            async with Line.to(listener.port) as line:
                assert await line.reply() == "220 gw.test ESMTP smimefilter"
                await line.dialogue((command, beginning))


async def test_senders() -> None:
    inbox = Inbox()
    async with listening(inbox, max_message_size=1_000_000) as listener:
        for argument, beginning, address in SENDERS:
            async with Line.to(listener.port) as line:
                await line.reply()
                await line.dialogue(HELLO, (f"MAIL FROM:{argument}", beginning))
                if address is not None:
                    await line.dialogue(RECIPIENT, ("DATA", "354"), ("\r\n.", "250 2.0.0"))
                    params = tuple(argument.partition("> ")[2].split())
                    assert envelope(inbox.mails[-1])[:2] == (address, params)


async def test_recipients() -> None:
    inbox = Inbox()
    async with listening(inbox) as listener, Line.to(listener.port) as line:
        await line.reply()
        await line.dialogue(HELLO, SENDER)
        for argument, beginning, _ in RECIPIENTS:
            await line.dialogue((f"RCPT TO:{argument}", beginning))
        await line.dialogue(("DATA", "354"), (".", "250 2.0.0 Ok: queued as 4AB"))
    (mail,) = inbox.mails
    assert [(rcpt.address, rcpt.params) for rcpt in mail.recipients] == [
        (address, tuple(argument.partition("> ")[2].split()))
        for argument, _, address in RECIPIENTS
        if address is not None
    ]
    assert mail.recipients[2].param("orcpt") == "rfc822;b+2Bc@y.test"


async def test_order_of_commands() -> None:
    inbox = Inbox()
    async with listening(inbox) as listener, Line.to(listener.port) as line:
        await line.reply()
        await line.dialogue(
            HELLO,
            ("RCPT TO:<b@y.test>", "503 5.5.1"),
            ("DATA", "503 5.5.1"),
            SENDER,
            (SENDER[0], "503 5.5.1"),
            ("DATA", "503 5.5.1"),
            ("DATA x", "501 5.5.4"),
            RECIPIENT,
            ("RSET", "250 2.0.0"),
            ("RCPT TO:<b@y.test>", "503 5.5.1"),
            ("MAIL TO:<a@x.test>", "501 5.5.4"),
            SENDER,
            ("RCPT FROM:<b@y.test>", "501 5.5.4"),
            RECIPIENT,
            HELLO,
            ("DATA", "503 5.5.1"),
            ("HELO c.test", "250"),
            ("MAIL FROM:<a@x.test> SIZE=1", "555 5.5.4"),
            SENDER,
            RECIPIENT,
            ("DATA", "354"),
            (".", "250 2.0.0"),
            ("DATA", "503 5.5.1"),
        )
    assert [mail.client.protocol for mail in inbox.mails] == ["SMTP"]


async def test_extensions_are_those_of_the_next_hop() -> None:
    announced: dict[str, Any] = {"now": None}
    ours = ["PIPELINING", "SIZE 5000", "ENHANCEDSTATUSCODES"]
    forward = "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"
    async with (
        listening(abilities=lambda: announced["now"], max_message_size=5000) as listener,
        Line.to(listener.port) as line,
    ):
        await line.reply()
        for abilities, extra in [
            (None, ["8BITMIME", "SMTPUTF8", "DSN"]),
            ({"8BITMIME": "", "DSN": ""}, ["8BITMIME", "DSN"]),
            ({}, []),
        ]:
            announced["now"] = abilities
            reply = await line.ask("EHLO c.test")
            lines = [text[4:] for text in reply.split("\n")]
            assert lines == ["gw.test", *ours, *extra, forward]


# ── pipelining and chunks ─────────────────────────────────────────────────────────────────


@both_loops
async def test_a_group_of_commands_is_answered_in_one_piece() -> None:
    inbox = Inbox()
    async with listening(inbox) as listener, Line.to(listener.port) as line:
        await line.reply()
        line.send(MAIL)
        first = await line.reader.readuntil(b"354 ")
        assert [reply[:3] for reply in first.split(b"\r\n")][-5:] == [
            b"250", b"250", b"250", b"250", b"354",
        ]  # fmt: skip
        await line.reader.readline()
        line.send(CONTENT + MAIL[13:])
        assert [(await line.reply())[:3] for _ in range(5)] == ["250"] * 4 + ["354"]
        line.send(b".\r\nQUIT\r\n")
        assert (await line.reply()).startswith("250 2.0.0 Ok: queued as 4AB")
        assert (await line.reply()).startswith("221")
        assert await line.at_end()
    assert [envelope(mail) for mail in inbox.mails] == [
        (
            "a@x.test",
            ("SIZE=20",),
            [("b@y.test", ()), ("c@y.test", ("NOTIFY=NEVER",))],
            content,
        )
        for content in (b"Subject: x\r\n\r\n.dot\r\nend\r\n", b"")
    ]
    assert inbox.mails[0].id != inbox.mails[1].id


@settings(max_examples=25)
@given(st.lists(st.integers(0, 600), max_size=8))
def test_any_cut_of_the_stream_gives_the_same_mails(places: list[int]) -> None:
    inbox = Inbox()
    stream = (MAIL + CONTENT) * 2 + b"QUIT\r\n"
    edges = sorted({0, len(stream), *(place % len(stream) for place in places)})

    async def speak() -> list[str]:
        async with listening(inbox) as listener, Line.to(listener.port) as line:
            sock = line.writer.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for start, end in pairwise(edges):
                line.send(stream[start:end])
                await asyncio.sleep(0)
            said = (await line.reader.read()).decode().split("\r\n")
            return [reply for reply in said if reply[3:4] != "-"]

    replies = asyncio.run(speak())
    assert [reply[:3] for reply in replies] == [
        "220", *["250", "250", "250", "250", "354", "250"] * 2, "221", "",
    ]  # fmt: skip
    assert [mail.content for mail in inbox.mails] == [b"Subject: x\r\n\r\n.dot\r\nend\r\n"] * 2


@pytest.mark.parametrize(
    "sequence", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r"]
)
async def test_no_mail_is_smuggled_in(sequence: bytes) -> None:
    inbox = Inbox()
    async with listening(inbox) as listener, Line.to(listener.port) as line:
        await line.reply()
        await line.dialogue(HELLO, SENDER, RECIPIENT, ("DATA", "354"))
        line.send(b"a" + sequence + b"RSET\r\nMAIL FROM:<evil@x.test>\r\n.\r\n")
        assert (await line.reply()).startswith("250 2.0.0")
        assert (await line.ask("NOOP")).startswith("250 2.0.0")
    assert [mail.sender for mail in inbox.mails] == ["a@x.test"]


async def test_a_large_content_arrives_whole() -> None:
    inbox = Inbox()
    content = bytes(range(256)).replace(b"\n", b"") * 20_000 + b"\r\n.lead\r\n"
    async with listening(inbox) as listener, Line.to(listener.port) as line:
        await line.reply()
        await line.dialogue(HELLO, SENDER, RECIPIENT, ("DATA", "354"))
        line.send(content.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        assert (await line.reply()).startswith("250 2.0.0")
    assert inbox.mails[0].content == content


# ── answers ───────────────────────────────────────────────────────────────────────────────


class NotToday(MailError):
    status: ClassVar[Status] = Status(4, "7.5")
    public: ClassVar[str] = "not today"


async def failing(mail: Transaction) -> Sequence[Fate]:
    if mail.sender == "policy@x.test":
        raise NotToday
    if mail.sender == "short@x.test":
        return []
    raise RuntimeError("secret internals")


async def test_exceptions_delay_the_mail_and_tell_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    async with listening(failing) as listener, Line.to(listener.port) as line:
        await line.reply()
        await line.dialogue(HELLO)
        for sender, answer in [
            ("policy", "451 4.7.5 not today"),
            ("defect", "451 4.3.0 try again later"),
            ("short", "451 4.3.0 try again later"),
        ]:
            await line.dialogue(
                (f"MAIL FROM:<{sender}@x.test>", "250"), RECIPIENT, ("DATA", "354")
            )
            assert await line.ask(".") == answer
    assert "secret internals" in caplog.text  # the administrator does get to see it


async def test_one_reply_for_all() -> None:
    deferred = Deferred(Status(4, "4.1"), "next hop not available")
    refused = Refused(Status(5, "7.5"), "für Bob kein Zertifikat")
    for fates, answer in [
        ([Delivered("X1", "Ok: queued as X1"), deferred], "451 4.4.1 next hop not available"),
        ([refused, refused], "554 5.7.5 f?r Bob kein Zertifikat"),
    ]:
        async with listening(Inbox(*fates)) as listener, Line.to(listener.port) as line:
            await line.reply()
            await line.dialogue(HELLO, SENDER, RECIPIENT, RECIPIENT, ("DATA", "354"))
            assert await line.ask(".") == answer


async def test_replies_are_utf8_for_clients_that_asked() -> None:
    refused = Refused(Status(5, "7.5"), "für Bob")
    async with listening(Inbox(refused)) as listener, Line.to(listener.port) as line:
        await line.reply()
        await line.dialogue(
            HELLO, ("MAIL FROM:<a@x.test> SMTPUTF8", "250"), RECIPIENT, ("DATA", "354")
        )
        assert await line.ask(".") == "554 5.7.5 für Bob"


# ── LMTP ──────────────────────────────────────────────────────────────────────────────────


@both_loops
async def test_lmtp_answers_for_each_recipient() -> None:
    inbox = Inbox(
        Delivered("Q1", "Ok: queued as Q1"),
        Refused(Status(5, "7.5"), "no certificate"),
        Deferred(Status(4, "4.1"), "next hop not available"),
    )
    async with listening(inbox, protocol="lmtp") as listener, Line.to(listener.port) as line:
        assert await line.reply() == "220 gw.test LMTP smimefilter"
        await line.dialogue(
            ("EHLO c.test", "500 5.5.1"),
            ("HELO c.test", "500 5.5.1"),
            ("LHLO c.test", "250"),
            SENDER,
            *[(f"RCPT TO:<r{n}@y.test>", "250") for n in range(3)],
            ("RCPT TO:<>", "501 5.1.3"),
            ("DATA", "354"),
        )
        line.send(b".\r\nNOOP\r\n")
        assert [await line.reply() for _ in range(4)] == [
            "250 2.0.0 Ok: queued as Q1",
            "554 5.7.5 no certificate",
            "451 4.4.1 next hop not available",
            "250 2.0.0 Ok",
        ]
    (mail,) = inbox.mails
    assert not mail.one_reply
    assert mail.client.protocol == "LMTP"


async def test_lmtp_answers_for_each_recipient_in_trouble_too() -> None:
    async with (
        listening(failing, protocol="lmtp", max_message_size=50) as listener,
        Line.to(listener.port) as line,
    ):
        await line.reply()
        await line.dialogue(
            ("LHLO c.test", "250"), SENDER, RECIPIENT, RECIPIENT, ("DATA", "354")
        )
        line.send(b".\r\n")
        assert [(await line.reply())[:9] for _ in range(2)] == ["451 4.3.0"] * 2
        await line.dialogue(SENDER, RECIPIENT, RECIPIENT, ("DATA", "354"))
        line.send(b"x" * 60 + b"\r\n.\r\n")
        assert [(await line.reply())[:9] for _ in range(2)] == ["552 5.3.4"] * 2


# ── limits ────────────────────────────────────────────────────────────────────────────────


async def test_size_limit_holds_without_a_declaration() -> None:
    inbox = Inbox()
    async with (
        listening(inbox, max_message_size=100_000) as listener,
        Line.to(listener.port) as line,
    ):
        await line.reply()
        await line.dialogue(HELLO, SENDER, RECIPIENT, ("DATA", "354"))
        line.send(b"x" * 300_000 + b"\r\n.\r\nNOOP\r\n")
        assert (await line.reply()).startswith("552 5.3.4")
        assert (await line.reply()).startswith("250 2.0.0")
        await line.dialogue(SENDER, RECIPIENT, ("DATA", "354"), (".", "250 2.0.0"))
    assert len(inbox.mails) == 1


async def test_contents_share_a_limited_room_though_nothing_was_declared() -> None:
    inbox, admission = Inbox(), Admission(octets=6_000_000)
    async with listening(inbox, admission=admission) as listener:
        async with Line.to(listener.port) as other, Line.to(listener.port) as line:
            for one in (other, line):
                await one.reply()
                await one.dialogue(HELLO, SENDER, RECIPIENT, ("DATA", "354"))
            other.send(b"x" * 2_000_000)
            await until(lambda: admission.octets >= 2_000_000)
            line.send(b"x" * 5_000_000 + b"\r\n.\r\n")
            assert (await line.reply()).startswith("452 4.3.1")
            other.send(b"\r\n.\r\n")
            assert (await other.reply()).startswith("250 2.0.0")
            await line.dialogue(SENDER, RECIPIENT, ("DATA", "354"))
            line.send(b"x" * 5_000_000 + b"\r\n.\r\n")
            assert (await line.reply()).startswith("250 2.0.0")  # alone there is room
        assert (admission.mails, admission.octets) == (0, 0)
    assert [len(mail.content) for mail in inbox.mails] == [2_000_002, 5_000_002]


async def test_recipient_limit() -> None:
    inbox = Inbox()
    async with listening(inbox, max_recipients=2) as listener, Line.to(listener.port) as line:
        await line.reply()
        await line.dialogue(HELLO, SENDER, RECIPIENT, RECIPIENT, (RECIPIENT[0], "452 4.5.3"))
        await line.dialogue(("DATA", "354"), (".", "250 2.0.0"))
    assert len(inbox.mails[0].recipients) == 2


@both_loops
@pytest.mark.parametrize("mail_server", [False, True])
async def test_one_client_cannot_take_all_places(mail_server: bool) -> None:
    """But a mail server that speaks for many can."""
    believed = ["127.0.0.1"] if mail_server else []
    limits = {"max_connections": 9, "max_connections_per_client": 2}
    async with (
        listening(xforward_clients=believed, **limits) as listener,
        Line.to(listener.port) as one,
        Line.to(listener.port) as two,
    ):
        assert (await one.reply()).startswith("220")
        assert (await two.reply()).startswith("220")
        async with Line.to(listener.port) as three:
            said = "220" if mail_server else "421 4.3.2"
            assert (await three.reply()).startswith(said)
        assert (await two.ask("QUIT")).startswith("221")
        assert await two.at_end()
        async with Line.to(listener.port) as four:
            assert (await four.reply()).startswith("220")


@both_loops
async def test_connection_limit() -> None:
    async with (
        listening(max_connections=2) as listener,
        Line.to(listener.port) as one,
        Line.to(listener.port) as two,
    ):
        assert (await one.reply()).startswith("220")
        assert (await two.reply()).startswith("220")
        async with Line.to(listener.port) as three:
            assert (await three.reply()).startswith("421 4.3.2")
            assert await three.at_end()
        assert (await two.ask("QUIT")).startswith("221")
        assert await two.at_end()
        async with Line.to(listener.port) as four:
            assert (await four.reply()).startswith("220")


async def test_too_many_errors_end_the_session() -> None:
    async with listening() as listener, Line.to(listener.port) as line:
        await line.reply()
        for _ in range(20):
            assert (await line.ask("WHAT")).startswith("500 5.5.1")
        assert (await line.reply()).startswith("421 4.7.0")
        assert await line.at_end()


async def test_a_mail_makes_up_for_errors() -> None:
    async with listening() as listener, Line.to(listener.port) as line:
        await line.reply()
        for _ in range(3):
            for _ in range(19):
                await line.dialogue(("WHAT", "500 5.5.1"))
            await line.dialogue(HELLO, SENDER, RECIPIENT, ("DATA", "354"), (".", "250 2.0.0"))


@both_loops
async def test_idle_clients_are_sent_away() -> None:
    async with (
        listening(timeout=0.2) as listener,
        Line.to(listener.port) as line,
        Line.to(listener.port) as other,
    ):
        await line.reply()
        await line.dialogue(HELLO, SENDER, RECIPIENT, ("DATA", "354"))
        line.send(b"half a mail")
        await other.reply()
        assert (await other.reply()).startswith("421 4.4.2")
        assert (await line.reply()).startswith("421 4.4.2")
        assert await line.at_end()


async def test_a_slow_delivery_is_no_idle_client() -> None:
    async def slow(mail: Transaction) -> Sequence[Fate]:
        await asyncio.sleep(0.5)
        return [Delivered()] * len(mail.recipients)

    async with listening(slow, timeout=0.2) as listener, Line.to(listener.port) as line:
        await line.reply()
        await line.dialogue(HELLO, SENDER, RECIPIENT, ("DATA", "354"), (".", "250 2.0.0"))


@both_loops
async def test_a_client_that_does_not_read_is_dropped() -> None:
    async with listening(timeout=0.3) as listener, Line.to(listener.port) as line:
        line.writer.transport.pause_reading()
        with pytest.raises(OSError):  # noqa: PT011 - reset or broken pipe
            await line.chatter(b"NOOP\r\n" * 10_000)
        await listener._sessions.none_left.wait()


# ── clients that leave, listeners that stop ───────────────────────────────────────────────


class Slowly(Inbox):
    """Takes its time, and tells when a mail is being worked on and when it is done."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.done = asyncio.Event()

    async def __call__(self, mail: Transaction) -> Sequence[Fate]:
        self.begun.set()
        await self.go_on.wait()
        self.done.set()
        return await super().__call__(mail)


@both_loops
async def test_a_client_that_leaves_does_not_stop_its_delivery() -> None:
    inbox = Slowly()
    async with listening(inbox) as listener:
        async with Line.to(listener.port) as line:
            line.send(MAIL + CONTENT)
            await inbox.begun.wait()
            linger = struct.pack("ii", 1, 0)  # so that it ends with a reset
            sock = line.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await asyncio.sleep(0.05)
        inbox.go_on.set()
        await inbox.done.wait()
        await listener._sessions.none_left.wait()
    assert len(inbox.mails) == 1


@both_loops
async def test_a_client_that_runs_ahead_has_to_wait() -> None:
    inbox = Slowly()
    async with listening(inbox) as listener, Line.to(listener.port) as line:
        line.send(MAIL + CONTENT + (b"NOOP " + b"x" * 2000 + b"\r\n") * 9000)
        await inbox.begun.wait()
        await asyncio.sleep(0.2)
        (session,) = listener._sessions.each()
        assert isinstance(session, SmtpSession)
        assert session._incoming.waiting < 400_000
        inbox.go_on.set()
        line.send(b"QUIT\r\n")
        said = await line.reader.read()
    assert said.count(b"250 2.0.0 Ok\r\n") == 9000
    assert said.endswith(b"221 2.0.0 bye\r\n")


@both_loops
async def test_a_client_that_only_stops_sending_gets_its_replies() -> None:
    async with listening() as listener, Line.to(listener.port) as line:
        line.send(MAIL + CONTENT)
        line.writer.write_eof()
        replies = (await line.reader.read()).split(b"\r\n")
        assert replies[-2].startswith(b"250 2.0.0 Ok: queued as")


async def test_half_a_content_is_no_mail() -> None:
    inbox = Inbox()
    async with listening(inbox) as listener, Line.to(listener.port) as line:
        line.send(MAIL + CONTENT[:-1])
        line.writer.write_eof()
        assert b"\r\n354 " in await line.reader.read()
        await listener._sessions.none_left.wait()
    assert inbox.mails == []


@both_loops
async def test_stopping_lets_transactions_end() -> None:
    inbox = Slowly()
    async with (
        listening(inbox) as listener,
        Line.to(listener.port) as idle,
        Line.to(listener.port) as busy,
    ):
        await idle.reply()
        await busy.reply()
        await busy.dialogue(HELLO, SENDER, RECIPIENT, ("DATA", "354"))
        stopping = asyncio.create_task(listener.stop(5))
        assert (await idle.reply()).startswith("421 4.3.2")
        assert await idle.at_end()
        busy.send(b"late\r\n.\r\n" + MAIL)
        await inbox.begun.wait()
        assert not stopping.done()
        inbox.go_on.set()
        assert (await busy.reply()).startswith("250 2.0.0 Ok: queued")
        assert (await busy.reply()).startswith("421 4.3.2")
        assert await busy.at_end()
        await stopping
        with pytest.raises(OSError):  # noqa: PT011 - nobody listens any more
            await asyncio.open_connection("127.0.0.1", listener.port)
    assert len(inbox.mails) == 1


@both_loops
async def test_stopping_takes_no_longer_than_it_may() -> None:
    inbox = Slowly()
    async with listening(inbox) as listener, Line.to(listener.port) as line:
        line.send(MAIL + CONTENT)
        await inbox.begun.wait()
        async with asyncio.timeout(5):
            await listener.stop(0.1)
        said = await line.reader.read()
        assert b"queued" not in said
    assert not inbox.done.is_set()


@both_loops
async def test_a_port_in_use_is_said_plainly() -> None:
    async with listening() as listener:
        with pytest.raises(AdminError) as caught:
            async with listening(port=listener.port):
                pass
        assert str(listener.port) in caught.value.where
        assert caught.value.mend
    with pytest.raises(AdminError):
        async with listening(address="192.0.2.1"):
            pass
    with pytest.raises(AdminError):
        async with listening(clients=("nonsense",)):
            pass


# ── who may send, and what is forwarded ───────────────────────────────────────────────────


async def test_strangers_cannot_relay() -> None:
    inbox = Inbox()
    async with (
        listening(inbox, clients=("192.0.2.0/24",)) as listener,
        Line.to(listener.port) as line,
    ):
        await line.reply()
        await line.dialogue(HELLO, (SENDER[0], "554 5.7.1"), ("MAIL FROM:<>", "554 5.7.1"))
        line.send(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n")
        assert [(await line.reply())[:9] for _ in range(3)] == [
            "554 5.7.1", "503 5.5.1", "503 5.5.1",
        ]  # fmt: skip
    assert inbox.mails == []


@pytest.mark.parametrize("own", [True, False])
async def test_a_listener_may_be_for_own_people_only(own: bool) -> None:
    inbox = Inbox()
    async with listening(inbox, originating=own) as listener, Line.to(listener.port) as line:
        await line.reply()
        await line.dialogue(HELLO, SENDER, RECIPIENT, ("DATA", "354"), (".", "250"))
    assert inbox.mails[0].client.originating is own


async def test_xforward_belongs_to_one_mail() -> None:
    inbox = Inbox()
    mail = (SENDER, RECIPIENT, ("DATA", "354"), (".", "250 2.0.0"))
    async with listening(inbox) as listener, Line.to(listener.port) as line:
        await line.reply()
        await line.dialogue(
            HELLO,
            ("XFORWARD NAME=spike.test ADDR=192.0.2.7 PORT=4711 PROTO=ESMTP", "250 2.0.0"),
            ("XFORWARD HELO=a+20b IDENT=4XYZ SOURCE=REMOTE PORT=[unavailable]", "250 2.0.0"),
            *mail,
            *mail,
            ("XFORWARD NAME=x.test", "250"),
            ("RSET", "250"),
            *mail,
            ("XFORWARD NAME=x.test", "250"),
            SENDER,
            ("XFORWARD NAME=x.test", "503 5.5.1"),
            ("RSET", "250"),
            ("XFORWARD", "501 5.5.4"),
            ("XFORWARD COLOUR=red", "501 5.5.4"),
            ("XFORWARD NAME", "501 5.5.4"),
        )
    assert [dict(mail.client.xforward) for mail in inbox.mails] == [
        {
            "NAME": "spike.test",
            "ADDR": "192.0.2.7",
            "PROTO": "ESMTP",
            "HELO": "a?b",
            "IDENT": "4XYZ",
            "SOURCE": "REMOTE",
        },
        {},
        {},
    ]
    assert inbox.mails[0].client.ident == "4XYZ"
    assert inbox.mails[0].client.peer == "127.0.0.1"
    assert inbox.mails[0].client.helo == "c.test"


async def test_xforward_is_for_some() -> None:
    async with listening(xforward_clients=()) as listener, Line.to(listener.port) as line:
        await line.reply()
        assert "XFORWARD" not in await line.ask("EHLO c.test")
        await line.dialogue(("XFORWARD NAME=x.test", "550 5.7.0"))
