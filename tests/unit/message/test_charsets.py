"""Charsets of mail, and names that are none."""

from __future__ import annotations

import pytest

from smimefilter.message.charsets import text_in


@pytest.mark.parametrize(
    ("charset", "octets", "text"),
    [
        ("utf-8", b"\xc3\xbc", "ü"),
        ("UTF8", b"\xc3\xbc", "ü"),
        ("us-ascii", b"a\xff", "a\ufffd"),
        ("ISO-8859-15", b"\xa4", "€"),
        ("windows-1252", b"\x80", "€"),
        ("koi8-r", b"\xc1", "а"),  # noqa: RUF001 - a Cyrillic letter
        ("gb2312", b"\xc4\xe3", "你"),
        ("gb18030", b"\xc4\xe3", "你"),
        ("Big5", b"\xa7A", "你"),
        ("shift_jis", b"\x82\xa0", "あ"),
        ("euc-jp", b"\xa4\xa2", "あ"),
        ("euc-kr", b"\xb0\xa1", "가"),
        ("ks_c_5601-1987", b"\xb0\xa1", "가"),
        ("iso-2022-jp", b'\x1b$B$"\x1b(B', "あ"),
    ],
)
def test_charsets_of_mail(charset: str, octets: bytes, text: str) -> None:
    assert text_in(charset, octets) == text


@pytest.mark.parametrize(
    "charset",
    ["punycode", "idna", "utf-7", "utf-16", "unicode_escape", "hex", "rot13", "mbcs", "",
     "iso-8859-99", "utf-8\n", "utf-8\0", "\ufb01", "٣"],
)  # fmt: skip
def test_other_codecs_are_not_for_strangers(charset: str) -> None:
    assert text_in(charset, b"aa") is None
