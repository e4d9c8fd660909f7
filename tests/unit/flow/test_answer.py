"""The SMTP answer as a function of fates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.base.envelope import Deferred, Delivered, Fate, Notified, Refused
from smimefilter.base.errors import Status
from smimefilter.flow.answer import REPLY_OCTETS, one_reply, reply

SENT = Delivered("4AB", "Ok: queued as 4AB")
SENT_ELSEWHERE = Delivered("9XY", "2 bytes, queued as 9XY")
SENT_QUIETLY = Delivered()
LATER = Deferred(Status(4, "4.1"), "next hop not available")
FULL = Deferred(Status(4, "2.2"), "mailbox full")
BUSY = Deferred(Status(4, "3.2"), "system is shutting down")
MUST_ENCRYPT = Refused(Status(5, "7.5"), "no certificate for bob")
NO_USER = Refused(Status(5, "1.1"), "no such user", by_policy=False)
TOLD = Notified(MUST_ENCRYPT)

ONE = [
    (SENT, "250 2.0.0 Ok: queued as 4AB"),
    (Delivered("4AB", "Ok"), "250 2.0.0 Ok: queued as 4AB"),
    (SENT_QUIETLY, "250 2.0.0 Ok"),
    (LATER, "451 4.4.1 next hop not available"),
    (BUSY, "451 4.3.2 system is shutting down"),
    (MUST_ENCRYPT, "554 5.7.5 no certificate for bob"),
    (NO_USER, "550 5.1.1 no such user"),
    (Refused(Status(5, "3.4"), "too big"), "552 5.3.4 too big"),
    (Refused(Status(5, "7.1"), ""), "554 5.7.1 refused"),
    (Deferred(Status(4, "7.1"), ""), "451 4.7.1 try again later"),
    (Deferred(Status(4, "3.0"), "a\r\n250 2.0.0 b\0c"), "451 4.3.0 a 250 2.0.0 b c"),
    (Refused(Status(5, "7.1"), "Müller"), "554 5.7.1 M?ller"),
]

ALL = [
    ([SENT], "250 2.0.0 Ok: queued as 4AB"),
    ([SENT, SENT], "250 2.0.0 Ok: queued as 4AB"),
    ([SENT, SENT_ELSEWHERE, SENT], "250 2.0.0 Ok: queued as 4AB, 9XY"),
    ([SENT_QUIETLY, Delivered("", "fine")], "250 2.0.0 Ok"),
    ([SENT, TOLD], "250 2.0.0 Ok: queued as 4AB"),
    ([SENT, LATER], "451 4.4.1 next hop not available"),
    ([MUST_ENCRYPT, FULL, LATER], "451 4.2.2 mailbox full"),
    ([TOLD, LATER], "451 4.4.1 next hop not available"),
    ([MUST_ENCRYPT, MUST_ENCRYPT], "554 5.7.5 no certificate for bob"),
    ([MUST_ENCRYPT, NO_USER], "554 5.7.5 no certificate for bob (and 1 more reason)"),
]


@pytest.mark.parametrize(("fate", "answer"), ONE)
def test_one_recipient(fate: Fate, answer: str) -> None:
    assert reply(fate) == answer


@pytest.mark.parametrize(("fates", "answer"), ALL)
def test_all_recipients(fates: list[Fate], answer: str) -> None:
    assert one_reply(fates) == answer


def test_only_settled_recipients_are_accepted() -> None:
    assert reply(TOLD).startswith("250 2.0.0 ")
    assert one_reply([TOLD, TOLD]).startswith("250 2.0.0 ")
    assert one_reply([SENT, NO_USER]).startswith("550 5.1.1 refused for 1 of 2")


def test_no_fates_is_a_defect() -> None:
    with pytest.raises(ValueError, match="no fates"):
        one_reply([])


def test_utf8_only_when_asked() -> None:
    refused = Refused(Status(5, "7.5"), "für Müller")
    assert reply(refused, utf8=True) == "554 5.7.5 für Müller"
    assert one_reply([refused, refused], utf8=True) == "554 5.7.5 für Müller"
    assert one_reply([refused, refused]).isascii()


_FATES = st.one_of(
    st.builds(Delivered, st.text(max_size=20), st.text()),
    st.builds(Deferred, st.sampled_from([Status(4, "2.0"), Status(4, "3.2")]), st.text()),
    st.builds(Refused, st.sampled_from([Status(5, "7.5"), Status(5, "5.1")]), st.text()),
    st.just(TOLD),
)


@given(st.lists(_FATES, min_size=1, max_size=4), st.booleans())
def test_any_text_makes_one_safe_line(fates: list[Fate], utf8: bool) -> None:
    for answer in (one_reply(fates, utf8=utf8), reply(fates[0], utf8=utf8)):
        assert len(answer.encode()) <= REPLY_OCTETS
        assert not any(c < " " or c == "\x7f" for c in answer)
        assert utf8 or answer.isascii()
        assert answer[:3].isdigit()
        assert answer[4] == answer[0]  # the enhanced code is of the basic code's class


@given(st.lists(_FATES, min_size=1, max_size=4))
def test_deferral_wins_and_only_settled_mail_is_accepted(fates: list[Fate]) -> None:
    answer = one_reply(fates)
    deferred = any(isinstance(fate, Deferred) for fate in fates)
    refused = any(isinstance(fate, Refused) for fate in fates)
    assert answer[0] == ("4" if deferred else "5" if refused else "2")


@given(st.text(st.characters(codec="utf-8"), min_size=300, max_size=900), st.booleans())
def test_long_texts_are_cut(text: str, utf8: bool) -> None:
    assert len(reply(Refused(Status(5, "7.1"), text), utf8=utf8).encode()) <= REPLY_OCTETS
