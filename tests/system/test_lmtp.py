"""What only LMTP can: each recipient its own answer, and Postfix bounces for those refused."""

from __future__ import annotations

import pytest

from tests.support.postoffice import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    FRANK,
    PostOffice,
    letter,
    original,
)

pytestmark = pytest.mark.system


def test_three_recipients_fare_differently(lmtp_office: PostOffice) -> None:
    """Encrypted, refused, in clear: one copy each, and the sender learns what was refused."""
    content = letter(ALICE, BOB, CAROL, DAVE)
    queue_id = lmtp_office.send(ALICE, BOB, CAROL, DAVE, content=content)
    outcome = lmtp_office.outcome()
    assert {address: len(mails) for address, mails in outcome.items()} == {
        ALICE: 1, BOB: 1, DAVE: 1,
    }  # fmt: skip
    body = content.partition(b"\r\n\r\n")[2]
    assert lmtp_office.read(outcome[BOB][0], BOB).endswith(body)
    assert original(outcome[DAVE][0]) == content
    (bounce,) = outcome[ALICE]
    assert bounce.sender == ""
    said = b" ".join(bounce.content.split())
    assert f"no usable certificate for {CAROL}".encode() in said
    status = said.partition(b"message/delivery-status")[2]
    assert b"Final-Recipient: rfc822; carol@strict.test" in status
    assert b"Status: 5.7.5" in status
    assert BOB.encode() not in status.partition(b"Undelivered Message")[0]
    (line,) = lmtp_office.program.wait_for_event("mail", queue_in=queue_id)
    assert {(to["to"], to["action"], to["fate"]) for to in line["recipients"]} == {
        (BOB, "sign+encrypt", "delivered"),
        (CAROL, "refuse", "refused"),
        (DAVE, "untouched", "delivered"),
    }


def test_every_refusal_has_its_own_reason(lmtp_office: PostOffice) -> None:
    lmtp_office.send(ALICE, CAROL, FRANK)
    ((bounce,),) = lmtp_office.outcome().values()
    said = b" ".join(bounce.content.split())
    assert b"no usable certificate for carol@strict.test" in said
    assert b"no usable certificate for frank@strict.test (found: " in said


def test_no_bounce_where_the_sender_asked_for_none(lmtp_office: PostOffice) -> None:
    lmtp_office.send(ALICE, BOB, CAROL, rcpt_params={CAROL: ("NOTIFY=NEVER",)})
    assert set(lmtp_office.outcome()) == {BOB}


def test_a_refused_mail_of_the_null_sender_is_dropped(lmtp_office: PostOffice) -> None:
    lmtp_office.send("", CAROL, DAVE)
    assert set(lmtp_office.outcome()) == {DAVE}
