"""Header fields within the protected part, written and read."""

from __future__ import annotations

import pytest

from smimefilter.message.entity import canonical
from smimefilter.message.protect import (
    Hp,
    differing,
    is_another_author,
    protected,
    restored,
    veiled,
    within,
)
from smimefilter.message.wire import Message

MAIL = Message(
    b"Received: by here; now\r\nX-Own: 1\r\nFrom: a@x.test\r\nTo: b@y.test,\r\n\tc@y.test\r\n"
    b"Bcc: d@y.test\r\nSubject: the plan\r\nKeywords: secret\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\ntext\r\n"
)


WRAPPED = (
    b"Content-Type: message/rfc822; forwarded=no\r\n\r\n"
    b"Subject: inner\r\nContent-Type: text/plain\r\n\r\n"
)


def entity_of(message: Message, hp: Hp) -> bytes:
    return b"".join(map(bytes, protected(message, canonical(message), hp).chunks))


def test_fields_go_within_and_trace_fields_do_not() -> None:
    found = Message(entity_of(MAIL, Hp.CLEAR))
    assert found.get("Content-Type") == b'text/plain; charset=utf-8; hp="clear"'
    assert found.get("Subject") == b"the plan"
    assert found.get("From") == b"a@x.test"
    for name in ("Received", "X-Own", "Bcc", "HP-Outer"):
        assert found.get(name) is None


def test_what_is_encrypted_says_what_stands_outside() -> None:
    found = Message(entity_of(MAIL, Hp.CIPHER))
    assert found.get("Subject") == b"the plan"
    outside = found.all("HP-Outer")
    assert b"Subject: [...]" in outside
    assert b"From: a@x.test" in outside
    assert not [one for one in outside if one.startswith(b"Keywords")]


def test_the_subject_is_hidden_outside() -> None:
    found = veiled(MAIL)
    assert found.get("Subject") == b"[...]"
    assert found.get("Keywords") is None
    assert found.get("To") == MAIL.get("To")


@pytest.mark.parametrize("hp", list(Hp))
def test_there_and_back(hp: Hp) -> None:
    found = within(entity_of(MAIL, hp))
    outside = veiled(MAIL)
    back = restored(outside, found)
    assert back.all("Subject") == [b"the plan"]
    assert back.get("Keywords") == b"secret"
    assert [one.split() for one in back.all("To")] == [[b"b@y.test,", b"c@y.test"]]
    assert back.all("From") == [b"a@x.test"]
    kept = [name for name in back.names if name != b"keywords"]
    assert kept == [name for name in outside.names if name != b"keywords"]  # each in its place
    assert back.names[0] == b"received"
    assert back.get("X-Own") == b"1"
    assert not differing(MAIL, found)
    assert set(differing(outside, found)) == {"subject", "keywords"}


@pytest.mark.parametrize(
    "head",
    [
        b'Content-Type: text/plain; protected-headers="v1"\r\nSubject: inner\r\n\r\n',
        b'Subject: inner\r\nContent-Type: text/plain; hp="cipher"\r\n\r\n',
        WRAPPED,
    ],
    ids=["v1", "hp", "wrapper"],
)
def test_every_way_is_read(head: bytes) -> None:
    found = within(head + b"text\r\n")
    assert found.fields == (b"Subject: inner\r\n",)
    assert bytes(found.entity.body) == b"text\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Type: text/plain\r\nSubject: inner\r\n\r\n",
        b'Content-Type: text/plain; hp="clear"\r\nSubject: a\r\nSubject: b\r\n\r\n',
        b'Content-Type: text/plain; hp="clear"\r\nX-Smimefilter-Signed-By: a\r\n\r\n',
        b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\n",
    ],
    ids=["not said", "twice", "not of these", "a forwarded mail"],
)
def test_what_is_not_restored(head: bytes) -> None:
    assert within(head + b"text\r\n").fields == ()


def test_another_author_within() -> None:
    same = within(entity_of(MAIL, Hp.CLEAR))
    assert not is_another_author(MAIL, same)
    other = Message(MAIL.raw.replace(b"a@x.test", b"boss@x.test"))
    assert is_another_author(other, same)
    assert not is_another_author(other, within(b"Content-Type: text/plain\r\n\r\n"))
