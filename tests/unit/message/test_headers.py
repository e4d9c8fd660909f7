"""Addresses and subjects, with the tricks that are played with them."""

from __future__ import annotations

import email.header
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.message.headers import BadHeader, addresses, cut, cut_subject, decoded
from smimefilter.message.wire import Message
from tests.support.odd_mail import RAW

SUBJECT_TOKENS = [
    b"[encrypt]", b" ", b"\t", b"\r", b"\x0b", b"\x0c", b"\x00", b"\r\n ", b"a", b"\xff",
    b"\xc3\xbc",
    b"=?utf-8?q?[encrypt]_=C3?=", b"=?utf-8?b?w7w=?=", b"=?x?q?a?=", b"=?", b"?=", b"x" * 70,
]  # fmt: skip
TRIGGER = re.compile(r"\[encrypt\]", re.IGNORECASE)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("alice@example.com", ["alice@example.com"]),
        ("<alice@example.com>", ["alice@example.com"]),
        ("Alice <alice@example.com>", ["alice@example.com"]),
        ("Alice B. Example <a.b+c@example.com>", ["a.b+c@example.com"]),
        ('"Example, Alice" <alice@example.com>', ["alice@example.com"]),
        ('"a \\"quoted\\" name" <a@b.test>', ["a@b.test"]),
        ("=?utf-8?q?J=C3=BCrgen?= <j@b.test>", ["j@b.test"]),
        ("alice@example.com (Alice (really))", ["alice@example.com"]),
        ("(Alice) alice@example.com", ["alice@example.com"]),
        ("alice(x)@(y)example.com", ["alice@example.com"]),
        ("a@b.test, c@d.test", ["a@b.test", "c@d.test"]),
        ("a@b.test,, ,C <c@d.test>,", ["a@b.test", "c@d.test"]),
        ("Team: a@b.test, C <c@d.test>;, e@f.test", ["a@b.test", "c@d.test", "e@f.test"]),
        ("undisclosed-recipients:;", []),
        ("", []),
        ('"john doe"@b.test', ['"john doe"@b.test']),
        ('"john"@b.test', ["john@b.test"]),
        ('"a".b."c"@b.test', ["a.b.c@b.test"]),
        ('"a\\"b"@b.test', ['"a\\"b"@b.test']),
        ("a@[192.0.2.1]", ["a@[192.0.2.1]"]),
        ("<@r.test,@s.test:a@b.test>", ["a@b.test"]),
        ("Müller <müller@bücher.test>", ["müller@bücher.test"]),
        ("a @ b . test", ["a@b.test"]),
        ("A\r\n <a@b.test>", ["a@b.test"]),
        ("[ext] A <a@b.test>", ["a@b.test"]),
    ],
)
def test_addresses(value: str, found: list[str]) -> None:
    assert list(addresses(value.encode())) == found


@pytest.mark.parametrize(
    "value",
    [
        '"alice@example.com" <mallory@evil.test>',
        "alice@example.com <mallory@evil.test>",
        "(alice@example.com) <mallory@evil.test>",
        "=?utf-8?q?alice=40example=2Ecom?= <mallory@evil.test>",
        "=?utf-8?b?YWxpY2VAZXhhbXBsZS5jb20=?= <mallory@evil.test>",
        '"<alice@example.com>" <mallory@evil.test>',
        "mallory@evil.test (alice@example.com)",
        '"\\"alice@example.com" <mallory@evil.test>',
    ],
)
def test_a_display_name_is_no_address(value: str) -> None:
    assert addresses(value.encode()) == ("mallory@evil.test",)


@pytest.mark.parametrize(
    "value",
    [
        b"alice",
        b"<>",
        b"Alice <>",
        b"a@b.test <c@d.test> <e@f.test>",
        b"<a@b.test> c@d.test",
        b"a@b.test c@d.test",
        b"a b@c.test",
        b"a@b@c.test",
        b"@b.test",
        b"a@",
        b"a..b@c.test",
        b"Example, Alice <alice@example.com>",
        b"a@b.test; c@d.test",
        b"a@b.test;",
        b"Team: a@b.test; b",
        b"One: Two: a@b.test;;",
        b'"open <a@b.test>',
        b"(open a@b.test",
        b"a@b.test)",
        b"<a@b.test",
        b"a@b.test\x00",
        b"a\x00@b.test",
        b"j\xfcrgen@b.test",
        b"a@b.test\\",
    ],
)
def test_what_has_no_one_reading_is_refused(value: bytes) -> None:
    with pytest.raises(BadHeader):
        addresses(value)


def test_a_display_name_in_an_unknown_charset_does_no_harm() -> None:
    assert addresses(b"J\xfcrgen <j@b.test>") == ("j@b.test",)


@given(st.lists(st.sampled_from('a@.,;:<>"()[]\\ é\t='), max_size=30).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = addresses(text.encode())
    except BadHeader:
        return
    assert all(address.rpartition("@")[0] for address in found)


_LOCAL = st.text("abcXYZ019.+-_'=/é", min_size=1, max_size=12).filter(
    lambda s: ".." not in s and s.strip(".") == s
)
_NAME = st.text('abc ,@<>()[]:;.\\"é', max_size=15)


@given(_NAME, _LOCAL)
def test_a_quoted_name_never_changes_the_address(name: str, local: str) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    assert addresses(f'"{quoted}" <{local}@b.test>'.encode()) == (f"{local}@b.test",)


# text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain", "plain"),
        ("Grüße".encode(), "Grüße"),
        (b"=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        (b"=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"),
        (b"=?iso-8859-1?q?Gr=FC=DFe_alle?= here", "Grüße alle here"),
        (b"=?utf-8*de?q?ja?=", "ja"),
        (b"=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        (b"=?utf-8?q?a?=  plain  =?utf-8?q?b?=", "a  plain  b"),
        (b"=?utf-8?b?w7?= =?utf-8?b?w=?=", "=?utf-8?b?w7?= =?utf-8?b?w=?="),
        (b"=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "ü"),
        (b"=?no-such-charset?q?a?=", "=?no-such-charset?q?a?="),
        (b"=?hex?q?6162?=", "=?hex?q?6162?="),
        (b"a=?utf-8?q?b?=", "a=?utf-8?q?b?="),
        (b"=?utf-8?x?b?=", "=?utf-8?x?b?="),
        (b"=?utf-8?q?open", "=?utf-8?q?open"),
        (b"\xe9", "\ufffd"),
        (b"", ""),
    ],
)
def test_decoded(value: bytes, text: str) -> None:
    assert decoded(value) == text


@given(st.binary(max_size=60) | st.text("=?utf-8qbQB_ \t=C3", max_size=60).map(str.encode))
def test_any_bytes_decode_to_text(value: bytes) -> None:
    decoded(value).encode()


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (b"[encrypt] Hello", b"Hello"),
        (b"Hello [Encrypt]", b"Hello"),
        (b"Re: [encrypt] Hello", b"Re: Hello"),
        (b"[encrypt]", b""),
        (b"  [encrypt]  ", b""),
        (b"a[encrypt]b", b"ab"),
        (b"[encrypt] one [encrypt] two", b"one two"),
        ("é [encrypt] ü".encode(), "é ü".encode()),
        (b"\xe9 [encrypt] x", b"\xe9 x"),
        (b"[encrypt] =?utf-8?q?Gr=C3=BC=C3=9Fe?=", b"=?utf-8?q?Gr=C3=BC=C3=9Fe?="),
        (b"=?utf-8?q?Gr=C3=BC=C3=9Fe?= [encrypt]", b"=?utf-8?q?Gr=C3=BC=C3=9Fe?="),
        (b"=?utf-8?q?=5Bencrypt=5D_plain?= x", b"plain x"),
        (b"no trigger =?utf-8?q?x?=", b"no trigger =?utf-8?q?x?="),
    ],
)
def test_cut_leaves_the_rest(value: bytes, left: bytes) -> None:
    assert cut(value, TRIGGER) == left


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"=?utf-8?b?W2VuY3J5cHRdIEdyw7zDn2U=?= tail", "Grüße tail"),
        (b"=?utf-8?q?A?= [encrypt] =?utf-8?q?B=C3=A9?=", "A Bé"),
        (b"=?utf-8?q?[enc?= =?utf-8?q?rypt]_=C3=A9?=", "é"),
        (b"=?utf-8?q?[encrypt]=0D=0ABcc:_x?=", "Bcc: x"),
    ],
)
def test_cut_reaches_into_encoded_words(value: bytes, text: str) -> None:
    left = cut(value, TRIGGER)
    assert decoded(left) == text
    assert b"\n" not in left


@given(
    st.text(
        st.characters(codec="utf-8", exclude_characters="[]=?", exclude_categories=["C", "Z"]),
        max_size=90,
    ),
    st.text("abc é", max_size=20),
)
def test_cut_of_an_encoded_subject(before: str, after: str) -> None:
    text = f"{before} [encrypt] {after}".strip()
    value = email.header.Header(text, "utf-8", maxlinelen=60).encode(linesep="").encode()
    wanted = TRIGGER.sub("", text)
    assert decoded(cut(value, TRIGGER)).split() == wanted.split()


def test_cut_subject_changes_the_subject_alone() -> None:
    raw = b"From: a@b.test\nsubject: [encrypt]\n Hello\nTo: c@d.test\n\nSubject: [encrypt]\n"
    edited = cut_subject(Message(raw), TRIGGER)
    assert edited.raw == raw.replace(b"subject: [encrypt]\n Hello\n", b"subject: Hello\n", 1)


@pytest.mark.parametrize("raw", [b"From: a@b.test\r\n\r\n", b"Subject: none\r\n\r\n[encrypt]"])
def test_nothing_to_cut_is_the_same_message(raw: bytes) -> None:
    message = Message(raw)
    assert cut_subject(message, TRIGGER) is message


def test_cut_subject_changes_each_subject() -> None:
    raw = b"Subject: one [encrypt]\r\nFrom: a@b.test\r\nSubject: two\r\nsubject: [encrypt]three"
    assert cut_subject(Message(raw), TRIGGER).raw == (
        b"Subject: one\r\nFrom: a@b.test\r\nSubject: two\r\nsubject: three\r\n"
    )


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (b"[encrypt] a\rb", b"a b"),
        (b"[encrypt] a\rBcc: c@d.test", b"a Bcc: c@d.test"),
        (b"a [encrypt] =?utf-8?q?b\rc?= d", b"a =?utf-8?q?b c?= d"),
        (b"[encrypt] " + b"\x0b".join([b"x" * 30] * 3), b" ".join([b"x" * 30] * 3)),
        (b"a\rb", b"a\rb"),
    ],
)
def test_cut_leaves_no_bare_line_end(value: bytes, left: bytes) -> None:
    edited = cut_subject(Message(b"Subject: " + value + b"\r\n\r\n"), TRIGGER)
    assert edited.get("Subject") == left


@given(RAW, st.lists(st.sampled_from(SUBJECT_TOKENS), max_size=20).map(b"".join))
def test_any_subject_is_cut(raw: bytes, subject: bytes) -> None:
    message = Message(b"Subject: " + subject + b"\r\n" + raw)
    edited = cut_subject(message, TRIGGER)
    assert Message(edited.raw).names == message.names
    if edited is not message:
        assert edited.body == message.body


@pytest.mark.parametrize(
    "unit", [b"[encrypt] ", b"=?utf-8?q?[encrypt]?= ", b"\xff", b"x ", b"\r"]
)
def test_a_subject_without_end_is_quick(unit: bytes) -> None:
    value = b"[encrypt]" + unit * (1_000_000 // len(unit))
    cut_subject(Message(b"Subject: " + value + b"\r\n\r\n"), TRIGGER)


@pytest.mark.parametrize("unit", [b"a@b,", b"a", b"a:", b"(", b"<@a,", b'"', b"a ", b".", b","])
def test_an_address_list_without_end_is_quick(unit: bytes) -> None:
    try:
        addresses(unit * (300_000 // len(unit)))
    except BadHeader:
        return


def test_a_long_subject_is_folded_again() -> None:
    raw = b"Subject: [encrypt] " + b"word " * 60 + b"\r\n\r\n"
    edited = cut_subject(Message(raw), TRIGGER)
    assert edited.get("Subject") == (b"word " * 60).strip()
    assert all(len(line) <= 78 for line in edited.raw.split(b"\r\n"))
    assert all(line.strip() for line in edited.lines[0].rstrip(b"\r\n").split(b"\r\n"))
