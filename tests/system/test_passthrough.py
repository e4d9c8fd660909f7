"""Mail that policy leaves alone is left alone: byte for byte, but for one Received field.

The corpus of odd mails goes through the running filter over both protocols. There is no
Postfix here, which would mend some of them on the way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.postoffice import (
    ALICE,
    DAVE,
    HUGO,
    PostOffice,
    Stock,
    filter_alone,
    letter,
)

pytestmark = pytest.mark.system

ODD: Final = Path(__file__).parents[1] / "vectors" / "odd-mails"
FILES: Final = sorted(ODD.glob("*.eml"))
RECEIVED: Final = re.compile(
    rb"\AReceived: from client\.test \(\[127\.0\.0\.1\]\)\r\n"
    rb"\tby filter\.test \(smimefilter\) with (ESMTP|LMTP) id [0-9a-f]+;\r\n"
    rb"\t[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000\r\n"
)


@pytest.fixture(scope="module")
def running(stock: Stock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostOffice]:
    with filter_alone(stock, tmp_path_factory.mktemp("office")) as made:
        yield made


@pytest.fixture
def office(running: PostOffice) -> Iterator[PostOffice]:
    """One for all tests, its sink empty."""
    yield running
    running.sink.clear()


@pytest.fixture(params=["lmtp", "smtp"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_corpus_is_there() -> None:
    assert len(FILES) > 60


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_odd_mail_comes_out_as_it_went_in(
    file: Path, protocol: str, office: PostOffice
) -> None:
    content = file.read_bytes()
    expected = content
    if file.stem == "mbox-from-line":  # no part of the mail, and a field to nobody
        expected = content.partition(b"\r\n")[2]
    (reply,) = office.hand_over(ALICE, [DAVE], content, protocol=protocol)
    assert reply.startswith("250 2.0.0 ")
    (mail,) = office.sink.mails
    received = RECEIVED.match(mail.content)
    assert received
    assert mail.content[received.end() :] == expected


def test_so_does_mail_that_could_have_been_encrypted_but_for_a_certificate(
    office: PostOffice, protocol: str
) -> None:
    content = letter(ALICE, HUGO)
    office.hand_over(ALICE, [HUGO], content, protocol=protocol)
    (mail,) = office.sink.mails
    assert RECEIVED.sub(b"", mail.content) == content


SECOND: Final = b"MAIL FROM:<x@in.test>\r\nRCPT TO:<dave@clear.test>\r\nDATA\r\nhi\r\n"


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r.\r"], ids=repr)
def test_a_lone_dot_between_bare_line_ends_is_refused_not_passed_on(
    end: bytes, office: PostOffice, protocol: str
) -> None:
    """A server behind that is lax about line ends would take it for the end of the mail."""
    content = letter() + b"first" + end + SECOND
    (reply,) = office.hand_over(ALICE, [DAVE], content, protocol=protocol)
    assert reply.startswith("550 5.6.0 ")
    assert office.sink.mails == []


@pytest.mark.parametrize("end", [b"\r\n.\r", b"\r\n.\n", b"\n.\r\r\n"], ids=repr)
def test_what_looks_like_an_end_on_the_wire_is_content(
    end: bytes, office: PostOffice, protocol: str
) -> None:
    """One mail comes out, and on its way out no line of it is a dot alone."""
    wire = letter() + b"first" + end + SECOND + b"\r\n.\r\n"
    replies = office.hand_over(ALICE, [DAVE], wire, protocol=protocol, stuff=False)
    assert len(replies) == 1
    assert len(office.sink.mails) <= 1
    for mail in office.sink.mails:
        assert SECOND in mail.content
        assert end not in mail.content


def test_a_mail_in_circles_is_refused(office: PostOffice, protocol: str) -> None:
    hops = b"Received: from a.test by b.test; Mon, 05 Jan 2026 10:00:00 +0000\r\n" * 100
    (reply,) = office.hand_over(ALICE, [DAVE], hops + letter(), protocol=protocol)
    assert reply.startswith("550 5.4.6 ")
    assert office.sink.mails == []
