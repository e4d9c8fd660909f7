"""The account that `make chaos` gives: it must see what it is there to see."""

from __future__ import annotations

from smimefilter.base.envelope import NO_ATTRIBUTES
from tests.chaos.account import Account, settle
from tests.support.sink import Mail, Rcpt

SEALED = b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n"
NOTICE = (
    b"From: mailer-daemon@gw.test\r\nTo: alice@in.test\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/report; boundary="x"\r\n\r\n'
    b"--x\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; gw.test\r\n\r\n"
    b"Final-Recipient: rfc822; carol@strict.test\r\nAction: failed\r\nStatus: 5.7.5\r\n\r\n"
    b"--x\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <chaos-7@in.test>\r\n\r\n"
    b"--x--\r\n"
)


def mail(number: int, *to: str, head: bytes = SEALED, body: bytes = b"MIAG") -> Mail:
    content = b"Message-ID: <chaos-%d@in.test>\r\n" % number + head + b"\r\n" + body
    return _mail("alice@in.test", to, content)


def _mail(sender: str, to: tuple[str, ...], content: bytes) -> Mail:
    return Mail(sender, (), tuple(map(Rcpt, to)), content, "x", NO_ATTRIBUTES, "Q", 1)


def account(sent: dict[int, tuple[str, ...]], *arrived: Mail) -> Account:
    return settle(dict(sent), arrived, arrived, {(9, "bob@strict.test")})


def test_what_arrived_once_is_well() -> None:
    found = account({1: ("bob@strict.test",)}, mail(1, "bob@strict.test"))
    assert (found.once, found.duplicates, found.good) == (1, 0, True)


def test_what_never_arrived_is_lost_unless_it_is_queued() -> None:
    found = account({1: ("bob@strict.test",), 9: ("bob@strict.test", "erin@strict.test")})
    assert found.lost == [(1, "bob@strict.test"), (9, "erin@strict.test")]
    assert found.queued == 1
    assert not found.good


def test_copies_too_many_are_counted() -> None:
    twice = [mail(1, "bob@strict.test", "dave@clear.test"), mail(1, "bob@strict.test")]
    found = account({1: ("bob@strict.test", "dave@clear.test")}, *twice)
    assert (found.once, found.repeated, found.duplicates) == (1, 1, 1)


def test_what_left_in_clear_is_seen() -> None:
    plain = mail(1, "bob@strict.test", head=b"", body=b"Grapefruit juice at nine.")
    disguised = mail(2, "bob@strict.test", body=b"Grapefruit juice at nine.")
    allowed = mail(3, "dave@clear.test", head=b"")
    sent = {1: ("bob@strict.test",), 2: ("bob@strict.test",), 3: ("dave@clear.test",)}
    found = account(sent, plain, disguised, allowed)
    assert found.in_clear == [(1, "bob@strict.test"), (2, "bob@strict.test")]
    assert not found.good


def test_a_notice_is_no_loss() -> None:
    found = account({7: ("carol@strict.test",)}, _mail("", ("alice@in.test",), NOTICE))
    assert (found.bounced, found.lost, dict(found.reasons)) == (1, [], {"5.7.5": 1})
