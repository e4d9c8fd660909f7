"""Which mail is a challenge of ACME, and which is waited for."""

from __future__ import annotations

import time

import pytest

from smimefilter.message.wire import Message
from smimefilter.plan.challenge import AwaitedMail, ChallengeMail, challenge_in
from smimefilter.plan.facts import Mail
from tests.support.challenges import ALICE, CA, TOKEN, challenge_mail

AWAITED = AwaitedMail(CA, "mx.example.com")


def found(content: bytes) -> ChallengeMail | None:
    return challenge_in(Mail(Message(content)))


def test_a_challenge() -> None:
    assert found(challenge_mail()) == ChallengeMail(TOKEN, CA, CA, "<challenge@ca.test>", ALICE)


@pytest.mark.parametrize(
    "subject",
    [
        f"ACME:   {TOKEN}", f"ACME: {TOKEN[:20]}\r\n {TOKEN[20:]}", f"ACME:\r\n {TOKEN}  ",
        f"ACME: {TOKEN[:9]} {TOKEN[9:]}", f"=?utf-8?q?ACME=3A_{TOKEN}?=",
        f"=?us-ascii?q?ACME=3A_{TOKEN[:9]}?=\r\n =?utf-8?q?{TOKEN[9:]}?=",
    ],
)  # fmt: skip
def test_a_subject_may_be_folded_and_encoded(subject: str) -> None:
    challenge = found(challenge_mail(subject=subject))
    assert challenge is not None
    assert challenge.token == TOKEN


def test_padding_belongs_to_a_token() -> None:
    challenge = found(challenge_mail(subject=f"ACME: {TOKEN}="))
    assert challenge is not None
    assert challenge.token == TOKEN + "="


def test_the_answer_goes_where_the_mail_says() -> None:
    challenge = found(challenge_mail(reply_to="Answers <answers+17@ca.test>"))
    assert challenge is not None
    assert challenge.reply_to == "answers+17@ca.test"
    assert challenge.sender == CA


@pytest.mark.parametrize(
    "special",
    [
        {"subject": f"Re: ACME: {TOKEN}"}, {"subject": f"ACME {TOKEN}"}, {"subject": "ACME: "},
        {"subject": f"ACME:{TOKEN}"}, {"subject": "ACME: tooshort"}, {"subject": ""},
        {"subject": f"acme: {TOKEN}"}, {"subject": f"ACME: {TOKEN}."},
        {"subject": f"ACME: {TOKEN}\r\nSubject: ACME: {TOKEN}"},
        {"subject": "ACME: " + "a" * 600},
        {"auto": "auto-generated"}, {"auto": "auto-replied; type=acme"}, {"auto": ""},
        {"auto": "auto-generated; type=acmeish"}, {"auto": "no; type=acme"},
        {"sender": f"{CA}, boss@ca.test"}, {"sender": "not an address"},
        {"message_id": ""}, {"message_id": "none"}, {"message_id": "<a@b> <c@d>"},
        {"message_id": "<" + "a" * 1000 + "@b>"},
        {"to": f"{ALICE}, bob@example.com"}, {"to": ""}, {"to": "undisclosed-recipients:;"},
        {"to": "a" * 320 + "@example.com"},
        {"reply_to": "a@ca.test, b@ca.test"}, {"reply_to": "rubbish"},
    ],
)  # fmt: skip
def test_no_challenge(special: dict[str, str]) -> None:
    assert found(challenge_mail(**special)) is None


@pytest.mark.parametrize(
    "auto",
    [
        "auto-generated; type=acme", "auto-generated;type=acme", 'auto-generated; type="acme"',
        "Auto-Generated (by a CA); x=y; TYPE=ACME (RFC 8823)", "auto-generated;\r\n type=acme",
    ],
)  # fmt: skip
def test_ways_to_say_that_it_is_generated(auto: str) -> None:
    assert found(challenge_mail(auto=auto)) is not None


def test_a_field_behind_a_bare_carriage_return() -> None:
    assert found(challenge_mail(message_id=f"<a@b>\rFrom: {CA}")) is None


def test_a_hostile_subject_takes_no_time() -> None:
    started = time.perf_counter()
    found(challenge_mail(subject="ACME:" + " " * 200_000 + "!"))
    found(challenge_mail(auto="auto-generated" + "(" * 200_000))
    assert time.perf_counter() - started < 2


def test_what_is_waited_for() -> None:
    challenge = found(challenge_mail())
    assert challenge is not None
    assert AWAITED.fits(challenge)
    assert AwaitedMail("").fits(challenge)
    assert not AwaitedMail("other@ca.test").fits(challenge)


@pytest.mark.parametrize(
    ("results", "vouched"),
    [
        ("mx.example.com; dkim=pass header.d=ca.test", True),
        ("MX.example.com. 1; spf=fail; dkim=pass (good) header.d=CA.test header.i=@x", True),
        ("mx.example.com/4XyZ; dkim=pass header.d=ca.test", True),
        ("mx.example.com;\r\n\tdkim=pass header.i=@ca.test header.b=xyz", True),
        ("mx.example.com; dkim=fail header.d=x.test; dkim=pass header.d=ca.test", True),
        ('mx.example.com; dkim=pass reason="2048 bits" header.d=ca.test', True),
        ("mx.example.com; dkim=pass header.d=test", False),
        ("mx.example.com; dkim=pass header.d=mail.ca.test", False),
        ("mx.example.com; dkim=pass", False),
        ("mx.example.com; dkim=fail header.d=ca.test", False),
        ("mx.example.com; dkim=passed header.d=ca.test", False),
        ("mx.example.com; spf=pass dkim=pass header.d=ca.test", False),
        ("mx.example.com (; dkim=pass header.d=ca.test)", False),
        ('mx.example.com; x="; dkim=pass header.d=ca.test', False),
        ('mx.example.com; x=y "; dkim=pass header.d=ca.test "', False),
        ("other.example.com; dkim=pass header.d=ca.test", False),
        ("dkim=pass header.d=ca.test", False),
        ("", False),
    ],
)
def test_what_dkim_vouches_for(results: str, vouched: bool) -> None:
    content = challenge_mail(results=results)
    challenge = found(content)
    assert challenge is not None
    assert AWAITED.is_vouched(challenge, Message(content)) is vouched


def test_the_topmost_results_count() -> None:
    good = "mx.example.com; dkim=pass header.d=ca.test"
    bad = "mx.example.com; dkim=none"
    other = "mx.example.com; spf=pass"
    for results, vouched in (
        (f"{good}\r\nAuthentication-Results: {bad}", True),
        (f"{bad}\r\nAuthentication-Results: {good}", False),
        (f"{other}\r\nAuthentication-Results: {good}", True),
    ):
        content = challenge_mail(results=results)
        challenge = found(content)
        assert challenge is not None
        assert AWAITED.is_vouched(challenge, Message(content)) is vouched


def test_nobodys_word_counts_by_default() -> None:
    content = challenge_mail(results="; dkim=pass header.d=ca.test")
    challenge = found(content)
    assert challenge is not None
    assert not AwaitedMail(CA).is_vouched(challenge, Message(content))
