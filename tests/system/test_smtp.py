"""What SMTP makes of it: one answer for all recipients, and the filter's own notice."""

from __future__ import annotations

from email import message_from_bytes

import pytest

from tests.support.postoffice import ALICE, BOB, CAROL, DAVE, FRANK, PostOffice, letter

pytestmark = pytest.mark.system


def test_one_of_two_is_refused(smtp_office: PostOffice) -> None:
    """The other copy goes out once, and the filter itself tells the sender."""
    content = letter(ALICE, BOB, CAROL)
    smtp_office.send(
        ALICE,
        BOB,
        CAROL,
        content=content,
        params=("ENVID=QQ+2B1", "RET=HDRS"),
        rcpt_params={CAROL: ("ORCPT=rfc822;c@strict.test", "NOTIFY=FAILURE")},
    )
    outcome = smtp_office.outcome()
    assert {address: len(mails) for address, mails in outcome.items()} == {ALICE: 1, BOB: 1}
    assert smtp_office.read(outcome[BOB][0], BOB)
    (told,) = outcome[ALICE]
    assert told.sender == ""
    assert "NOTIFY=NEVER" in told.recipients[0].params
    notice = message_from_bytes(told.content)
    assert notice.get_content_type() == "multipart/report"
    assert notice.get_param("report-type") == "delivery-status"
    assert notice["Auto-Submitted"] == "auto-replied"
    text, status, header = notice.get_payload()
    assert f"no usable certificate for {CAROL}" in " ".join(text.get_payload().split())
    about_mail, about_carol = status.get_payload()
    assert about_mail["Reporting-MTA"] == "dns; filter.test"
    assert about_mail["Original-Envelope-Id"] == "QQ+1"
    assert about_carol["Final-Recipient"] == f"rfc822; {CAROL}"
    assert about_carol["Original-Recipient"] == "rfc822; c@strict.test"
    assert (about_carol["Action"], about_carol["Status"]) == ("failed", "5.7.5")
    assert "Message-ID: <1@in.test>" in header.get_payload()
    assert content.partition(b"\r\n\r\n")[2] not in told.content


def test_two_of_four_are_refused_in_one_notice(smtp_office: PostOffice) -> None:
    smtp_office.send(ALICE, BOB, CAROL, DAVE, FRANK)
    outcome = smtp_office.outcome()
    assert {address: len(mails) for address, mails in outcome.items()} == {
        ALICE: 1, BOB: 1, DAVE: 1,
    }  # fmt: skip
    said = outcome[ALICE][0].content
    assert said.count(b"Final-Recipient: ") == 2


def test_a_notice_about_addresses_that_are_not_ascii(smtp_office: PostOffice) -> None:
    """RFC 6533."""
    sender, refused = "jürgen@in.test", "δοκιμή@strict.test"
    smtp_office.send(sender, DAVE, refused, params=("SMTPUTF8",))
    outcome = smtp_office.outcome()
    assert set(outcome) == {DAVE, sender}
    (told,) = outcome[sender]
    assert "SMTPUTF8" in told.params
    assert b"Content-Type: message/global-delivery-status" in told.content
    assert f"Final-Recipient: utf-8; {refused}".encode() in told.content


def test_what_must_be_encrypted_does_not_come_back_in_clear_either(
    smtp_office: PostOffice,
) -> None:
    """Although the sender asked for all of the mail."""
    content = letter(ALICE, DAVE, CAROL)
    smtp_office.send(ALICE, DAVE, CAROL, content=content, params=("RET=FULL",))
    (told,) = smtp_office.outcome()[ALICE]
    head, _, body = content.partition(b"\r\n\r\n")
    assert head in told.content
    assert body not in told.content


def test_all_are_refused(smtp_office: PostOffice) -> None:
    """Postfix bounces, once."""
    smtp_office.send(ALICE, CAROL, FRANK)
    ((bounce,),) = smtp_office.outcome().values()
    assert (bounce.sender, bounce.addresses) == ("", (ALICE,))
    assert b"Reporting-MTA: dns; gw.test" in bounce.content
    said = b" ".join(bounce.content.split())
    assert said.count(b"Final-Recipient: ") == 2
    assert b"5.7.5 encryption required" in said


def test_no_notice_where_the_sender_asked_for_none(smtp_office: PostOffice) -> None:
    smtp_office.send(ALICE, BOB, CAROL, rcpt_params={CAROL: ("NOTIFY=NEVER",)})
    assert set(smtp_office.outcome()) == {BOB}


def test_the_null_sender_is_never_told(smtp_office: PostOffice) -> None:
    smtp_office.send("", CAROL, DAVE)
    assert set(smtp_office.outcome()) == {DAVE}
