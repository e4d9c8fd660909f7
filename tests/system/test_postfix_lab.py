"""The lab itself: the shipped Postfix snippets carry mail there and back and lose nothing.

A sink plays the filter, and `_back` hands a mail that arrived there to the re-injection, as a
filter does that changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.needs import need
from tests.support.postfix import PostfixLab, Variant
from tests.support.sink import KEYWORDS, Mail, Sink, Stage, Weather

pytestmark = pytest.mark.system

HEADER = b"From: a@example.org\r\nTo: b@example.com\r\nDate: Mon, 5 Jan 2026 10:00:00 +0000\r\n"
HEADER += b"Message-Id: <1@example.org>\r\nSubject: x\r\n\r\n"
PLAIN = HEADER + b"hello\r\n"


@pytest.fixture
def gate(lab: PostfixLab) -> Iterator[Sink]:
    """What stands where the filter will be."""
    with Sink(port=lab.filter_port, lmtp=lab.variant is Variant.LMTP) as made:
        yield made


def _back(lab: PostfixLab, mail: Mail) -> str:
    return lab.send(
        mail.sender,
        mail.addresses,
        mail.content,
        params=[param for param in mail.params if not param.startswith("SIZE=")],
        rcpt_params={rcpt.address: rcpt.params for rcpt in mail.recipients},
        xforward=mail.xforward,
        port=lab.reinject_port,
    )


def _original(mail: Mail, after: bytes) -> bytes:
    """The content from `after` on, without the Received lines that Postfix puts on top."""
    return mail.content[mail.content.index(after) :]


def test_the_configuration_has_nothing_unknown_or_unused(lab: PostfixLab) -> None:
    assert lab.complaints() == ""


def test_all_recipients_come_together_and_go_on_to_their_next_hop(
    lab: PostfixLab, gate: Sink, sink: Sink
) -> None:
    addresses = [f"r{number}@d{number % 3}.example" for number in range(120)]
    lab.send("a@example.org", addresses, PLAIN)
    (mail,) = gate.wait_for(1)
    assert sorted(mail.addresses) == sorted(addresses)
    _back(lab, mail)
    arrived = sink.wait_for(3)
    assert sorted(a for mail in arrived for a in mail.addresses) == sorted(addresses)
    lab.wait_for_empty_queue()


def test_delivery_notice_parameters_arrive_as_the_client_wrote_them(
    lab: PostfixLab, gate: Sink, sink: Sink
) -> None:
    wanted = {
        "b@example.com": ("NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;Be+2Be@example.com"),
        "c@example.com": ("NOTIFY=NEVER", "ORCPT=rfc822;c@example.com"),
    }
    params = ("RET=HDRS", "ENVID=QQ+2B314159")
    lab.send("a@example.org", list(wanted), PLAIN, params=params, rcpt_params=wanted)
    (mail,) = gate.wait_for(1)
    _back(lab, mail)
    (arrived,) = sink.wait_for(1)
    for seen in (mail, arrived):
        assert set(params) < set(seen.params)
        assert {rcpt.address: set(rcpt.params) for rcpt in seen.recipients} == {
            address: set(values) for address, values in wanted.items()
        }


def test_null_sender_stays_null(lab: PostfixLab, gate: Sink, sink: Sink) -> None:
    lab.send("", ["b@example.com"], PLAIN)
    _back(lab, gate.wait_for(1)[0])
    assert sink.wait_for(1)[0].sender == ""


def test_smtputf8_addresses_arrive(lab: PostfixLab, gate: Sink, sink: Sink) -> None:
    params = ("SMTPUTF8", "BODY=8BITMIME")
    lab.send("jürgen@bücher.example", ["δοκιμή@example.com"], PLAIN, params=params)
    _back(lab, gate.wait_for(1)[0])
    (arrived,) = sink.wait_for(1)
    assert arrived.sender == "jürgen@bücher.example"
    assert arrived.addresses == ("δοκιμή@example.com",)
    assert set(params) < set(arrived.params)


def test_the_first_client_is_known_to_the_filter_and_behind_it(
    lab: PostfixLab, gate: Sink, sink: Sink
) -> None:
    first = {"NAME": "pc.example.org", "ADDR": "192.0.2.7", "HELO": "pc", "PROTO": "ESMTP"}
    queue_id = lab.send("a@example.org", ["b@example.com"], PLAIN, xforward=first)
    (mail,) = gate.wait_for(1)
    assert mail.xforward.items() >= {**first, "IDENT": queue_id}.items()
    again = _back(lab, mail)
    sink.wait_for(1)
    assert f"{again}: client=localhost[127.0.0.1], orig_queue_id={queue_id}" in lab.log()


def test_not_a_byte_changes_there_and_back(lab: PostfixLab, sink: Sink) -> None:
    odd = b"".join(
        [
            b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n",
            b"Content-Transfer-Encoding: 8bit\r\n\r\n",
            "grüße\r\n".encode(),
            b"x" * 5000 + b"\r\n",
            b".\r\n..\r\n.dot\r\n\r\ntrailing blanks \t \r\n\x80\xff\x01\r\n",
        ]
    )
    no_8bit = [word for word in KEYWORDS if word not in {"8BITMIME", "SMTPUTF8"}]
    lmtp = lab.variant is Variant.LMTP
    with Sink(port=lab.filter_port, lmtp=lmtp, keywords=no_8bit) as gate:
        content = HEADER[:-2] + odd
        lab.send("a@example.org", ["b@example.com"], content, params=("BODY=8BITMIME",))
        (mail,) = gate.wait_for(1)
    assert _original(mail, b"From:") == content
    _back(lab, mail)
    (arrived,) = sink.wait_for(1)
    assert arrived.content.endswith(mail.content)


def test_headers_leave_as_the_filter_made_them(lab: PostfixLab, sink: Sink) -> None:
    bare = b"From: alice\r\nTo: Undisclosed: ;\r\nSubject: no date, no id\r\n\r\nx\r\n"
    lab.send("a@example.org", ["b@example.com"], bare, port=lab.reinject_port)
    (arrived,) = sink.wait_for(1)
    assert _original(arrived, b"From:") == bare


def test_what_the_filter_refuses_by_lmtp_is_bounced_with_its_reason(
    lmtp_lab: PostfixLab,
) -> None:
    reason = "550 5.7.5 encryption is mandatory and no certificate was found"
    with (
        Sink(port=lmtp_lab.sink_port) as sink,
        Sink(port=lmtp_lab.filter_port, lmtp=True) as gate,
    ):
        gate.answer(Stage.CONTENT, reason, only="carol@")
        gate.answer(Stage.CONTENT, "451 4.3.0 not now", only="dave@", times=1)
        people = ["bob@example.com", "carol@example.com", "dave@example.com"]
        lmtp_lab.send("alice@example.org", people, PLAIN)
        first, second = gate.wait_for(2)
        (bounce,) = sink.wait_for(1)
        lmtp_lab.wait_for_empty_queue()
    assert first.addresses == ("bob@example.com",)
    assert second.addresses == ("dave@example.com",)
    assert (bounce.sender, bounce.addresses) == ("", ("alice@example.org",))
    report = b" ".join(bounce.content.split())
    assert reason.encode() in report
    assert b"Final-Recipient: rfc822; carol@example.com" in report
    assert b"Status: 5.7.5" in report
    assert b"bob@example.com\r\n" not in bounce.content.split(b"message/delivery-status")[1]


def test_what_the_filter_refuses_by_smtp_is_bounced_for_all(smtp_lab: PostfixLab) -> None:
    with Sink(port=smtp_lab.sink_port) as sink, Sink(port=smtp_lab.filter_port) as gate:
        gate.answer(Stage.CONTENT, "554 5.7.5 no certificate for carol")
        smtp_lab.send("alice@example.org", ["bob@example.com", "carol@example.com"], PLAIN)
        (bounce,) = sink.wait_for(1)
    assert bounce.content.count(b"Final-Recipient: ") == 2
    assert gate.mails == []


def test_mail_waits_while_the_filter_is_down(lab: PostfixLab, sink: Sink) -> None:
    queue_id = lab.send("a@example.org", ["b@example.com"], PLAIN)
    lab.wait_until(
        lambda: any(mail["queue_name"] == "deferred" for mail in lab.queue()), "deferral"
    )
    with Sink(port=lab.filter_port, lmtp=lab.variant is Variant.LMTP) as gate:
        (mail,) = gate.wait_for(1)
    assert mail.xforward["IDENT"] == queue_id
    assert sink.mails == []


def test_a_filter_that_has_the_name_of_the_host_is_not_taken_for_a_loop(
    lab: PostfixLab, sink: Sink
) -> None:
    lmtp = lab.variant is Variant.LMTP
    with Sink(port=lab.filter_port, lmtp=lmtp, hostname="gw.test") as gate:
        lab.send("a@example.org", ["b@example.com"], PLAIN)
        gate.wait_for(1)


@pytest.mark.parametrize("variant", Variant)
def test_no_setting_for_the_world_leads_round_the_filter_or_bends_the_way(
    variant: Variant,
) -> None:
    need("postfix")
    lab = PostfixLab(variant)
    to_filter, out = ("lmtp", "smtp") if variant is Variant.LMTP else ("smtp", "lmtp")
    hello = "lhlo" if variant is Variant.LMTP else "ehlo"
    lab.main.update(
        {
            "default_transport": f"{out}:[127.0.0.1]:{lab.sink_port}",
            f"{to_filter}_fallback_relay": f"[127.0.0.1]:{lab.sink_port}",
            f"{to_filter}_tls_security_level": "encrypt",
            f"{to_filter}_generic_maps": "inline:{ {a@example.org=changed@example.org} }",
            f"{to_filter}_header_checks": "regexp:{ {/^Subject:/ REPLACE Subject: changed} }",
            f"{to_filter}_discard_{hello}_keywords": "dsn, smtputf8, xforward",
            "smtpd_tls_security_level": "encrypt",
            "smtpd_client_restrictions": "reject",
            "smtpd_discard_ehlo_keywords": "dsn, 8bitmime, smtputf8, size",
            "header_checks": "regexp:{ {/^X-From-Filter:/ REJECT no} }",
            "virtual_alias_maps": "inline:{ {b@example.com=b@example.com,c@example.com} }",
            "recipient_bcc_maps": "inline:{ {b@example.com=archive@example.com} }",
            "message_size_limit": "20000",
        }
    )
    people = {"b@example.com", "c@example.com", "archive@example.com"}
    with lab, Sink(port=lab.sink_port, lmtp=out == "lmtp") as sink:
        lab.submit("a@example.org", ["b@example.com"], PLAIN.replace(b"\r\n", b"\n"))
        lab.wait_until(lambda: "status=deferred" in lab.log(), "deferral")
        assert sink.mails == []
        with Sink(port=lab.filter_port, lmtp=variant is Variant.LMTP) as gate:
            (mail,) = gate.wait_for(1)
        assert (mail.sender, set(mail.addresses)) == ("a@example.org", people)
        assert mail.xforward
        assert b"Subject: x\r\n" in mail.content
        larger = b"X-From-Filter: yes\r\n" + mail.content + b"x" * 40_000 + b"\r\n"
        lab.send(
            mail.sender, mail.addresses, larger, params=("RET=HDRS",), port=lab.reinject_port
        )
        (arrived,) = sink.wait_for(1)
        lab.wait_for_empty_queue()
    assert sorted(arrived.addresses) == sorted(people)
    assert "RET=HDRS" in arrived.params
    assert len(sink.mails) == 1


def test_the_largest_mail_passes(lab: PostfixLab, gate: Sink, sink: Sink) -> None:
    line = b"x" * 76 + b"\r\n"
    content = HEADER + line * (25 * 1024 * 1024 // len(line))
    lab.send("a@example.org", ["b@example.com"], content)
    (mail,) = gate.wait_for(1)
    assert _original(mail, b"From:") == content
    _back(lab, mail)
    (arrived,) = sink.wait_for(1)
    assert _original(arrived, b"From:") == content


def test_all_mail_passes_a_sink_that_comes_and_goes(lmtp_lab: PostfixLab) -> None:
    weather = [  # 1.23 s in all: Postfix, which tries every second, meets another each time
        (0.37, Weather.FINE),
        (0.11, Weather.REFUSE),
        (0.23, Weather.FINE),
        (0.13, Weather.BUSY),
        (0.29, Weather.FINE),
        (0.1, Weather.DROP),
    ]
    people = [f"r{number}@example.com" for number in range(40)]
    with Sink(port=lmtp_lab.sink_port) as sink:
        sink.flap(weather)
        for person in people:
            lmtp_lab.send("a@example.org", [person], PLAIN, port=lmtp_lab.reinject_port)
            time.sleep(0.02)
        lmtp_lab.wait_for_empty_queue()
        assert sorted(mail.addresses for mail in sink.mails) == sorted((p,) for p in people)
    assert "status=deferred" in lmtp_lab.log()
