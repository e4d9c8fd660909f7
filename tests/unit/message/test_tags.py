"""What is taken for a tag of ours in a subject, and what it may cost to find out."""

from __future__ import annotations

import unicodedata

import pytest

from smimefilter.message.tags import MOST_SUBJECTS, tag_pattern, untagged
from smimefilter.message.wire import Message

TAGS = (tag_pattern("[decrypted]", "{signer}"), tag_pattern("[signed by {signer}]", "{signer}"))


def test_a_mail_has_only_so_many_subjects() -> None:
    few = Message(b"Subject: x\r\n" * MOST_SUBJECTS + b"\r\n")
    assert untagged(few, TAGS) is few
    many = Message(b"Subject: x\r\n" * 1000 + b"\r\n")
    assert len(untagged(many, TAGS).all("Subject")) == MOST_SUBJECTS


def test_many_combining_marks_are_not_put_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []

    def counting(form: str, text: str) -> str:
        lengths.append(len(text))
        return known(form, text)  # type: ignore[arg-type]

    known = unicodedata.normalize
    monkeypatch.setattr("smimefilter.message.tags.unicodedata.normalize", counting)
    marks = "\u0301\u0316".encode()
    untagged(Message(b"Subject: o" + marks * 4000 + b"\r\n\r\n"), TAGS)
    assert lengths
    assert max(lengths) < 100


def test_marks_hide_no_tag() -> None:
    marks = "\u0301".encode() * 100
    message = Message(b"Subject: x" + marks + b" [decrypted]\r\n\r\n")
    assert b"[decrypted]" not in (untagged(message, TAGS).get("Subject") or b"")


@pytest.mark.parametrize(
    "tag", ["[by {signer}]", "(by {signer})", "{by {signer}}", "<by {signer}>"]
)
def test_a_tag_ends_with_its_own_bracket(tag: str) -> None:
    pattern = tag_pattern(tag, "{signer}")
    subject = f"one {tag.replace('{signer}', 'a@x.test')} two {tag[0]}three{tag[-1]}"
    clean = untagged(Message(f"Subject: {subject}\r\n\r\n".encode()), [pattern])
    assert clean.get("Subject") == f"one two {tag[0]}three{tag[-1]}".encode()
