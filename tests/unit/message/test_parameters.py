"""Content-Type as programs write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.message.parameters import (
    LONGEST_READ,
    MOST_PARAMETERS,
    content_type,
    transfer_encoding,
)
from tests.support.odd_mail import TYPED


@pytest.mark.parametrize(
    ("value", "kind", "parameters"),
    [
        (None, "text/plain", {}),
        (b"", "text/plain", {}),
        (b"text", "text/plain", {}),
        (b"TEXT/HTML; Charset=UTF-8", "text/html", {"charset": "UTF-8"}),
        (b"text/plain; charset=us-ascii (Plain text)", "text/plain", {"charset": "us-ascii"}),
        (b'multipart/mixed; boundary="a;b=\\"c"', "multipart/mixed", {"boundary": 'a;b="c'}),
        (b"multipart/mixed;boundary=abc;", "multipart/mixed", {"boundary": "abc"}),
        (b"multipart/mixed ;\tboundary = abc", "multipart/mixed", {"boundary": "abc"}),
        (b"a/b; x=1; x=2", "a/b", {"x": "1"}),
        (b'a/b; x="open', "a/b", {"x": "open"}),
        (b"a/b; x; y=2", "a/b", {"y": "2"}),
        (b"a/b; name*=utf-8''%e2%82%ac%20rates", "a/b", {"name": "€ rates"}),
        (b'a/b; name*0="a;"; name*1*=%20b; name*2=c', "a/b", {"name": "a; bc"}),
        (b"a/b; name*0*=iso-8859-1'de'%fc; name*1=x", "a/b", {"name": "üx"}),
        (b"a/b; name*1=b; name*0=a", "a/b", {"name": "ab"}),
        (b"a/b; name*=no-such''%41", "a/b", {"name": "A"}),
        (b"a/b; name=plain; name*=utf-8''other", "a/b", {"name": "plain"}),
        (b"a/b; name*=punycode''%41", "a/b", {"name": "A"}),
        (b"a/b; a*%b=x; b=y" % (b"1" * 5000), "a/b", {"b": "y"}),
        (b"a/b; a*12345=x; a*9999=y; a*x=z; a**=u; a*0**=v", "a/b", {"a": "y"}),
        (b"a/b; a*\xd9\xa1=x; b=y", "a/b", {"b": "y"}),
    ],
)
def test_content_type(value: bytes | None, kind: str, parameters: dict[str, str]) -> None:
    found = content_type(value)
    assert (found.type, dict(found.parameters)) == (kind, parameters)


@given(st.binary(max_size=80) | st.text("a/b;=*\"'\\0% ", max_size=80).map(str.encode) | TYPED)
def test_any_value_is_read(value: bytes) -> None:
    found = content_type(value)
    assert "/" in found.type
    for text in found.parameters.values():
        text.encode()


@pytest.mark.parametrize("unit", [b";", b"; a", b";a*0=", b'"', b"=", b" ", b';a="\\', b"a/"])
def test_a_value_without_end_is_quick(unit: bytes) -> None:
    content_type(b"a/b; x=y" + unit * (1_000_000 // len(unit)))


def test_of_many_parameters_some_are_read_and_all_are_doubtful() -> None:
    named = b"".join(b";p%d=x" % n for n in range(2 * MOST_PARAMETERS))
    found = content_type(b"a/b;boundary=b" + named[: LONGEST_READ - 20])
    assert len(found.parameters) == MOST_PARAMETERS
    assert found.doubtful == set(found.parameters)


def test_of_a_long_value_the_beginning_is_read_and_all_is_doubtful() -> None:
    padding = b'; x="' + b"x" * LONGEST_READ + b'"'
    found = content_type(b"a/b; boundary=b" + padding + b"; protocol=c")
    assert "protocol" not in found.parameters
    assert found.doubtful == {"boundary", "x"}
    assert not content_type(b'a/b; boundary=b; x="' + b"x" * 1000 + b'"').doubtful


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        (None, "7bit"),
        (b"", "7bit"),
        (b"Base64", "base64"),
        (b"quoted-printable (safe)", "quoted-printable"),
        (b"x-uuencode", "x-uuencode"),
    ],
)
def test_transfer_encoding(value: bytes | None, encoding: str) -> None:
    assert transfer_encoding(value) == encoding
