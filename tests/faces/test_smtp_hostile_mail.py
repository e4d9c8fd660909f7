"""Mails that mean harm, to a filter as it runs: each is answered, and memory is not the price.

What the process held at most is read from the kernel (VmHWM)."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.postoffice import ALICE, BOB, DAVE, PostOffice, hand_over, letter

pytestmark = pytest.mark.system

MEGABYTE = 1 << 20
HEAD = b"From: <alice@in.test>\r\nTo: <bob@strict.test>\r\nMIME-Version: 1.0\r\n"


def nested(levels: int) -> bytes:
    """A multipart in a multipart in a multipart."""
    lines = [HEAD]
    for n in range(levels):
        lines.append(b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n))
    return b"".join([*lines, b"\r\ntext\r\n"])


def enclosed(levels: int) -> bytes:
    """A message in a message."""
    return HEAD + b"Content-Type: message/rfc822\r\n\r\n" * levels + b"\r\ntext\r\n"


def parts(number: int) -> bytes:
    part = b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n"
    return (
        HEAD
        + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        + part * number
        + b"--b--\r\n"
    )


MAILS: dict[str, Callable[[], bytes]] = {
    "a header line of 20 MB": lambda: (
        b"X: " + b"x" * 20 * MEGABYTE + b"\r\n" + letter(ALICE, BOB)
    ),
    "a field of a million lines": lambda: (
        b"X: a\r\n" + b" a\r\n" * 1_000_000 + letter(ALICE, BOB)
    ),
    "a million fields": lambda: b"X: a\r\n" * 1_000_000 + letter(ALICE, BOB),
    "a million Received fields": lambda: b"Received: a\r\n" * 1_000_000 + letter(ALICE, BOB),
    "a million recipients in To": lambda: (
        b"To: " + b"a@b.test,\r\n " * 1_000_000 + b"c@d.test\r\n" + letter(ALICE, BOB)
    ),
    "a header without end": lambda: b"X: a\r\n" * 500_000,
    "no header": lambda: b"\r\n" * 1_000_000,
    "ten million line ends": lambda: letter(ALICE, BOB) + b"\r\n" * 10_000_000,
    "ten thousand multiparts deep": lambda: nested(10_000),
    "ten thousand messages deep": lambda: enclosed(10_000),
    "a hundred thousand parts": lambda: parts(100_000),
    "NULs": lambda: letter(ALICE, BOB) + b"\0" * MEGABYTE,
    "NULs in the header": lambda: b"X\0Y: \0\r\n" * 1000 + letter(ALICE, BOB),
    "octets": lambda: bytes(range(256)).replace(b"\r", b"") * 4000,
    "bare line ends": lambda: (
        letter(ALICE, BOB).replace(b"\r\n", b"\n") + b"\r\r\n\n" * 100_000
    ),
    "a million parameters": lambda: (
        HEAD + b"Content-Type: text/plain" + b"; a=b" * 1_000_000 + b"\r\n\r\nx\r\n"
    ),
    "a comment in a comment": lambda: (
        b"From: " + b"(" * 500_000 + b"\r\n" + HEAD + b"\r\nx\r\n"
    ),
    "encoded words": lambda: (
        b"Subject: " + b"=?utf-8?q?a?= " * 200_000 + b"\r\n" + HEAD + b"\r\nx\r\n"
    ),
}


def held_at_most(pid: int) -> int:
    """Octets."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


@contextmanager
def little_memory(pid: int, most: int) -> Iterator[None]:
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the high-water mark begins anew
    before = held_at_most(pid)
    yield
    grown = held_at_most(pid) - before
    assert grown < most, f"{grown / MEGABYTE:.0f} MB"


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
@pytest.mark.parametrize(
    "recipient", [BOB, DAVE, ALICE], ids=["encrypted", "clear", "incoming"]
)
def test_each_mail_is_answered_and_costs_a_few_times_its_size(
    office: PostOffice, recipient: str, protocol: str
) -> None:
    port, pid = office.program.port(protocol), office.program.pid
    usual = letter(ALICE, recipient)
    assert hand_over(port, ALICE, [recipient], usual, protocol=protocol)[0][:3] == "250"
    for name, make in MAILS.items():
        content = make()
        with little_memory(pid, 8 * len(content) + 32 * MEGABYTE):
            (reply,) = hand_over(port, ALICE, [recipient], content, protocol=protocol)
        assert reply[:3] in {"250", "550", "552", "554"}, (name, reply)
        with smtplib.SMTP("127.0.0.1", office.program.port("smtp"), timeout=10) as other:
            assert other.noop()[0] == 250
    assert office.sound()
    assert hand_over(port, ALICE, [recipient], usual, protocol=protocol)[0][:3] == "250"
