"""The whole way by Postfix, the filter and Postfix again, LMTP and SMTP alike."""

from __future__ import annotations

from email import message_from_bytes

import pytest

from tests.support.postoffice import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    ERIN,
    FRANK,
    GINA,
    HUGO,
    PostOffice,
    letter,
    named_in,
    original,
)

pytestmark = pytest.mark.system

BODY = b"Grapefruit juice at nine.\r\n"


def kind(content: bytes) -> str:
    return message_from_bytes(content).get_content_type()


def test_each_recipient_fares_as_policy_says(whole_way: PostOffice) -> None:
    content = letter(ALICE, BOB, DAVE, GINA, HUGO)
    whole_way.send(ALICE, BOB, DAVE, GINA, HUGO, content=content)
    outcome = whole_way.outcome()
    assert {address: len(mails) for address, mails in outcome.items()} == {
        BOB: 1, DAVE: 1, GINA: 1, HUGO: 1,
    }  # fmt: skip
    for address in (BOB, GINA):
        (mail,) = outcome[address]
        assert BODY not in mail.content
        assert whole_way.read(mail, address).endswith(b"\r\n\r\n" + BODY)
    for address in (DAVE, HUGO):
        (mail,) = outcome[address]
        assert original(mail) == content


@pytest.mark.parametrize("address", [CAROL, FRANK])
def test_where_encryption_is_mandatory_nothing_arrives_without_a_usable_certificate(
    whole_way: PostOffice, address: str
) -> None:
    whole_way.send(ALICE, address)
    outcome = whole_way.outcome()
    assert set(outcome) == {ALICE}
    (bounce,) = outcome[ALICE]
    assert bounce.sender == ""
    assert kind(bounce.content) == "multipart/report"
    said = b" ".join(bounce.content.split())
    assert b"Action: failed Status: 5.7.5" in said
    assert f"no usable certificate for {address}".encode() in said


def test_delivery_notice_parameters_arrive_as_the_client_wrote_them(
    whole_way: PostOffice,
) -> None:
    params = ("RET=HDRS", "ENVID=QQ+2B314159")
    wanted = {
        BOB: ("NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;Bo+2Bb@strict.test"),
        DAVE: ("NOTIFY=NEVER", "ORCPT=rfc822;dave@clear.test"),
    }
    whole_way.send(ALICE, BOB, DAVE, params=params, rcpt_params=wanted)
    outcome = whole_way.outcome()
    assert set(outcome) == {BOB, DAVE}
    for address, (mail,) in outcome.items():
        assert set(params) < set(mail.params)
        assert set(mail.recipients[0].params) == set(wanted[address])


def test_the_null_sender_stays_null_and_is_told_nothing(whole_way: PostOffice) -> None:
    whole_way.send("", DAVE, GINA)
    whole_way.send("", CAROL)
    outcome = whole_way.outcome()
    assert {address: [mail.sender for mail in mails] for address, mails in outcome.items()} == {
        DAVE: [""], GINA: [""],
    }  # fmt: skip
    assert kind(outcome[GINA][0].content) == "application/pkcs7-mime"


def test_smtputf8_addresses_arrive(whole_way: PostOffice) -> None:
    params = ("SMTPUTF8", "BODY=8BITMIME")
    sender, recipient = "jürgen@in.test", "δοκιμή@clear.test"
    content = letter(sender, recipient, subject="Grüße", body="Grüße.\r\n".encode())
    whole_way.send(sender, recipient, content=content, params=params)
    ((mail,),) = whole_way.outcome().values()
    assert (mail.sender, mail.addresses) == (sender, (recipient,))
    assert set(params) < set(mail.params)
    assert original(mail) == content


def test_what_is_refused_to_an_smtputf8_address_is_told_in_its_own_words(
    whole_way: PostOffice,
) -> None:
    whole_way.send(ALICE, "δοκιμή@strict.test", params=("SMTPUTF8",))
    ((bounce,),) = whole_way.outcome().values()
    assert bounce.addresses == (ALICE,)
    assert "δοκιμή@strict.test".encode() in bounce.content


def test_the_first_client_and_the_queue_ids_can_be_followed(whole_way: PostOffice) -> None:
    assert whole_way.lab
    first = {"NAME": "pc.example.org", "ADDR": "192.0.2.7", "HELO": "pc", "PROTO": "ESMTP"}
    queue_id = whole_way.send(ALICE, BOB, xforward=first)
    whole_way.outcome()
    (line,) = whole_way.program.wait_for_event("mail", queue_in=queue_id)
    assert line["client"] == "192.0.2.7"
    again = line["recipients"][0]["queue_out"]
    log = whole_way.lab.log()
    assert f"orig_queue_id={queue_id}, orig_client=pc.example.org[192.0.2.7]" in log
    assert f"{queue_id}: to=<{BOB}>" in log
    assert f"queued as {again}" in log


def test_a_client_of_the_world_gets_no_signature_in_our_names(whole_way: PostOffice) -> None:
    """What it sends under Alice's address is encrypted, and no more."""
    whole_way.send(ALICE, BOB, xforward={"ADDR": "192.0.2.7"})
    ((mail,),) = whole_way.outcome().values()
    text = whole_way.openssl.decrypt(mail.content, whole_way.who(BOB))
    assert text.endswith(b"\r\n\r\n" + BODY)
    assert kind(text) == "text/plain"


def test_a_hidden_recipient_is_not_named_in_the_copies_of_others(
    whole_way: PostOffice,
) -> None:
    """Gina is hidden, Bob and Erin see each other."""
    whole_way.send(ALICE, BOB, GINA, ERIN, content=letter(ALICE, BOB, ERIN))
    outcome = whole_way.outcome()
    serial = {
        address: whole_way.who(address).certificate.serial for address in (BOB, ERIN, GINA)
    }
    seen = {address: [named_in(mail) for mail in mails] for address, mails in outcome.items()}
    assert seen == {
        BOB: [{serial[BOB], serial[ERIN]}],
        ERIN: [{serial[BOB], serial[ERIN]}],
        GINA: [{serial[GINA]}],
    }
    assert outcome[GINA][0].content != outcome[BOB][0].content


def test_a_large_mail_is_encrypted_and_read_again(whole_way: PostOffice) -> None:
    line = b"%070d and so on\r\n"
    body = b"".join(line % number for number in range(330_000))
    assert len(body) > 25 * 1024 * 1024
    content = letter(ALICE, BOB, DAVE, body=body)
    whole_way.send(ALICE, BOB, DAVE, content=content)
    outcome = whole_way.outcome(timeout=60)
    ((secret,), (clear,)) = outcome[BOB], outcome[DAVE]
    assert line % 4711 not in secret.content
    assert whole_way.read(secret, BOB).partition(b"\r\n\r\n")[2] == body
    assert original(clear) == content


def test_mail_waits_in_the_queue_while_the_filter_is_down(whole_way: PostOffice) -> None:
    assert whole_way.lab
    whole_way.program.stop()
    try:
        whole_way.send(ALICE, BOB, DAVE)
        whole_way.lab.wait_until(
            lambda: any(mail["queue_name"] == "deferred" for mail in whole_way.lab.queue()),
            "the mail to be deferred",
        )
        assert whole_way.sink.mails == []
    finally:
        whole_way.program.start()
    outcome = whole_way.outcome()
    assert {address: len(mails) for address, mails in outcome.items()} == {BOB: 1, DAVE: 1}
    assert BODY not in outcome[BOB][0].content
