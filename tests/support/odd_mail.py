"""Hypothesis strategies for mail as it comes: odd headers, odd line ends, odd MIME."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

LINE_ENDS: Final = st.sampled_from([b"\r\n", b"\n", b"\r", b"\r\r\n", b""])
_TOKENS: Final = [
    b"From ", b"From:", b"Subject", b":", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\r\n\r\n",
    b"\n\n", b"X-A: b", b"a", b"=", b"?", b"\xc3\xa9", b"\xff", b"\x00", b".", b"--b",
    b"MIME-Version: 1.0", b"Content-Type: multipart/mixed; boundary=b\r\n",
    b"Content-Type: message/rfc822\r\n", b"Content-Transfer-Encoding: base64\r\n",
]  # fmt: skip
RAW: Final = st.lists(st.sampled_from(_TOKENS) | st.binary(max_size=8), max_size=40).map(
    b"".join
)

# Types, parameters and boundaries as hostile as the rest: what MIME is read from.
_MIME_TOKENS: Final = [
    b"Content-Type: ", b"Content-Transfer-Encoding: ", b"base64", b"quoted-printable", b"8bit",
    b"multipart/signed", b"multipart/encrypted", b"multipart/mixed", b"text/calendar",
    b"message/rfc822", b"application/pkcs7-mime", b"application/pkcs7-signature",
    b"application/octet-stream", b"application/pgp-encrypted", b"; protocol=", b"; boundary=b",
    b"; boundary*=punycode''b", b"; boundary*0*=utf-16''%00", b"; name=x.p7m", b"*",
    b"9" * 5000, b"; a*", b"=", b"'", b'"', b"%", b"\\", b"b", b"\r\n", b"\r\n\r\n", b"\n--b\n",
    b"\r\n--b--\r\n", b"Version: 1\r\n", b"-----BEGIN PGP MESSAGE-----\r\n",
    b"-----END PGP MESSAGE-----\r\n", b"QUJD", b"\xff", b"\xed\xa0\x80", b"\x00",
]  # fmt: skip
TYPED: Final = st.lists(st.sampled_from(_MIME_TOKENS), max_size=30).map(
    lambda tokens: b"Content-Type: " + b"".join(tokens)
)

_TEXT_LINES: Final = st.sampled_from(
    [
        b"Hello", b"", b".", b"From here", b"-- ", b"tab\t", b"equals = sign", b"--",
        "Grüße".encode(), b"x" * 1200, b"bare\rreturn", b"nul\x00", b"\xe9 latin",
        b"=20 looks encoded", b"SGVsbG8=",
    ]
)  # fmt: skip
_TYPES: Final = st.sampled_from(
    [
        b"", b"Content-Type: text/plain; charset=utf-8\r\n", b"Content-Type: text/html\r\n",
        b"Content-Type: application/octet-stream; name=x\r\n",
        b"Content-Type: image/png\r\nContent-Disposition: inline\r\n",
    ]
)  # fmt: skip
_ENCODINGS: Final = st.sampled_from(
    [b"", b"Content-Transfer-Encoding: 8bit\r\n", b"Content-Transfer-Encoding: 7bit\r\n"]
)


@st.composite
def _leaf(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(_TEXT_LINES, max_size=6))
    return draw(_TYPES) + draw(_ENCODINGS) + b"\r\n" + b"\r\n".join(lines)


@st.composite
def _multipart(draw: st.DrawFn, parts: st.SearchStrategy[bytes]) -> bytes:
    boundary = b"b%d" % draw(st.integers(0, 10**9))
    body = b"".join(
        b"\r\n--" + boundary + b"\r\n" + part
        for part in draw(st.lists(parts, min_size=1, max_size=3))
    )
    return (
        b"Content-Type: multipart/mixed; boundary=" + boundary + b"\r\n"
        + draw(_ENCODINGS) + b"\r\n" + draw(st.sampled_from([b"", b"preamble"])) + body
        + b"\r\n--" + boundary + b"--" + draw(st.sampled_from([b"", b"\r\n", b"\r\nend"]))
    )  # fmt: skip


@st.composite
def _attached(draw: st.DrawFn, parts: st.SearchStrategy[bytes]) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\nFrom: c@example.net\r\n" + draw(parts)


ENTITY: Final = st.recursive(
    _leaf(), lambda parts: _multipart(parts) | _attached(parts), max_leaves=5
)
MAIL: Final = ENTITY.map(
    lambda entity: b"From: Alice <alice@example.com>\r\nMIME-Version: 1.0\r\n" + entity
)
