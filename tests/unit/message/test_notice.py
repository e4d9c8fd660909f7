"""The non-delivery notice, as the standard library's parser and a program would read it."""

from __future__ import annotations

import email
import email.message
import email.policy
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.base.errors import Status
from smimefilter.message.notice import (
    LARGEST_RETURNED,
    Notice,
    Occasion,
    Undelivered,
    notice,
)
from smimefilter.message.wire import Message

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
OCCASION = Occasion(
    host="gw.example.com",
    identifier="abc123",
    token="0123456789abcdefABCDEF",
    now=NOW,
    sender="alice@example.com",
)
ORIGINAL = Message(
    b"From: alice@example.com\r\nTo: bob@example.org\r\nSubject: secret plan\r\n"
    b"\r\nthe plan\r\n"
)
BOB = Undelivered("bob@example.org", Status(5, "7.5"), "no usable certificate")
CAROL = Undelivered("carol@example.org", Status(5, "7.1"), "not allowed")


def parsed(found: Notice) -> email.message.Message:
    report = email.message_from_bytes(found.content)
    assert not report.defects
    return report


def parts(found: Notice) -> list[Any]:
    payload = parsed(found).get_payload()
    assert isinstance(payload, list)
    assert len(payload) == 3
    return payload


def status_groups(found: Notice) -> list[email.message.Message]:
    return parts(found)[1].get_payload()


def test_header() -> None:
    report = parsed(notice(OCCASION, ORIGINAL, [BOB]))
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    assert report["From"].endswith("<MAILER-DAEMON@gw.example.com>")
    assert report["To"] == "<alice@example.com>"
    assert report["Auto-Submitted"] == "auto-replied"
    assert report["Message-ID"] == "<abc123@gw.example.com>"
    assert parsedate_to_datetime(report["Date"]) == NOW


def test_a_person_reads_who_and_why() -> None:
    text = parts(notice(OCCASION, ORIGINAL, [BOB, CAROL]))[0].get_payload(decode=True)
    for one in (BOB, CAROL):
        assert one.address.encode() in text
        assert one.text.encode() in text
        assert str(one.status).encode() in text


def test_a_program_reads_the_same() -> None:
    groups = status_groups(notice(OCCASION, ORIGINAL, [BOB, CAROL]))
    message, *recipients = groups
    assert message["Reporting-MTA"] == "dns; gw.example.com"
    assert message["Original-Envelope-Id"] is None
    assert [one["Final-Recipient"] for one in recipients] == [
        "rfc822; bob@example.org",
        "rfc822; carol@example.org",
    ]
    assert [one["Action"] for one in recipients] == ["failed", "failed"]
    assert [one["Status"] for one in recipients] == ["5.7.5", "5.7.1"]
    assert recipients[0]["Diagnostic-Code"] == "smtp; 554 5.7.5 no usable certificate"
    assert recipients[0]["Original-Recipient"] is None


def test_parameters_of_the_envelope_come_back_decoded() -> None:
    occasion = replace(OCCASION, envelope_id="QQ+2B314+3D159")
    bob = replace(BOB, original="rfc822;Bob+2Btag@example.org")
    message, recipient = status_groups(notice(occasion, ORIGINAL, [bob]))
    assert message["Original-Envelope-Id"] == "QQ+314=159"
    assert recipient["Original-Recipient"] == "rfc822; Bob+tag@example.org"


def test_the_header_comes_back_but_not_the_body() -> None:
    found = notice(OCCASION, ORIGINAL, [BOB])
    returned = parts(found)[2]
    assert returned.get_content_type() == "text/rfc822-headers"
    assert "Subject: secret plan" in returned.get_payload()
    assert b"the plan" not in found.content


def test_the_whole_mail_comes_back_where_asked() -> None:
    returned = parts(notice(replace(OCCASION, whole=True), ORIGINAL, [BOB]))[2]
    assert returned.get_content_type() == "message/rfc822"
    (original,) = returned.get_payload()
    assert original.get_payload().rstrip() == "the plan"


def test_a_large_mail_comes_back_as_its_header() -> None:
    large = Message(ORIGINAL.raw + b"x" * LARGEST_RETURNED)
    found = notice(replace(OCCASION, whole=True), large, [BOB])
    assert parts(found)[2].get_content_type() == "text/rfc822-headers"


@pytest.mark.parametrize(
    ("original", "occasion", "params"),
    [
        (ORIGINAL, OCCASION, ()),
        (Message("Subject: é\r\n\r\nx".encode()), OCCASION, ()),
        (
            Message("Subject: e\r\n\r\né".encode()),
            replace(OCCASION, whole=True),
            ("BODY=8BITMIME",),
        ),
        (
            Message("Subject: é\r\n\r\né".encode()),
            replace(OCCASION, whole=True),
            ("BODY=8BITMIME", "SMTPUTF8"),
        ),
        (
            ORIGINAL,
            replace(OCCASION, sender="älice@example.com"),
            ("BODY=8BITMIME", "SMTPUTF8"),
        ),
    ],
)
def test_what_the_next_hop_has_to_know(
    original: Message, occasion: Occasion, params: tuple[str, ...]
) -> None:
    found = notice(occasion, original, [BOB])
    assert found.params == params
    assert found.content.isascii() is (not params)


def test_international_addresses() -> None:
    bob = replace(BOB, address="bøb@example.org", text="kein Zertifikat für bøb")
    found = notice(OCCASION, ORIGINAL, [bob])
    report = parsed(found)
    assert report.get_param("report-type") == "global-delivery-status"
    text, status, returned = parts(found)
    assert "bøb" in text.get_payload(decode=True).decode()
    assert status.get_content_type() == "message/global-delivery-status"
    assert "Final-Recipient: utf-8; bøb@example.org".encode() in found.content
    assert returned.get_content_type() == "message/global-headers"


def test_a_header_in_no_charset_is_kept() -> None:
    original = Message(b"Subject: caf\xe9\nTo: x\n\nbody")
    returned = parts(notice(OCCASION, original, [BOB]))[2]
    assert returned.get_payload(decode=True).startswith(b"Subject: caf\xe9\r\nTo: x\r\n")


_HOSTILE = st.text(st.sampled_from('ab@;: \r\n\x00\x0b\x85\u2028<>"é\udcff'), max_size=30)


@given(_HOSTILE, _HOSTILE, _HOSTILE, _HOSTILE, _HOSTILE)
def test_nothing_breaks_out_of_its_line(
    address: str, text: str, orcpt: str, envid: str, sender: str
) -> None:
    hostile = Undelivered(address, Status(5, "7.5"), text, original=orcpt)
    occasion = replace(OCCASION, envelope_id=envid, sender=sender)
    content = notice(occasion, ORIGINAL, [hostile]).content
    plain = notice(OCCASION, ORIGINAL, [replace(BOB, original="rfc822;x")]).content

    def names(raw: bytes) -> list[bytes]:
        lines = raw.replace(b"global-", b"").split(b"\r\n")
        return [line.partition(b":")[0] for line in lines if b": " in line]

    optional = {b"Original-Envelope-Id", b"Original-Recipient", b"Content-Transfer-Encoding"}
    found = [name for name in names(content) if name.isascii() and name not in optional]
    known = [name for name in names(plain) if name not in optional]
    assert [name for name in found if name in known] == known
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert b"\0" not in content


def test_a_long_reason_stays_within_a_line() -> None:
    bob = replace(BOB, text="x" * 5000)
    content = notice(OCCASION, ORIGINAL, [bob]).content
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))
