"""Line ends, line lengths and base64, against the slow and obvious way."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.message import lines
from smimefilter.message.lines import base64_lines, crlf, from_base64, is_canonical, is_clear

BYTES = st.lists(
    st.sampled_from([b"\r\n", b"\n", b"\r", b"a", b"x" * 997, b"\x00", b"\xff"]), max_size=12
).map(b"".join)


@given(BYTES, st.integers(0, 5))
def test_is_canonical(data: bytes, start: int) -> None:
    start = min(start, len(data))
    assert is_canonical(data, start) is not bool(
        re.search(rb"(?<!\r)\n|\r(?!\n)", data[start:])
    )


@given(BYTES, st.integers(0, 5))
def test_is_clear(data: bytes, start: int) -> None:
    start = min(start, len(data))
    tail = data[start:]
    clear = (
        tail.isascii()
        and b"\0" not in tail
        and not re.search(rb"(?<!\r)\n|\r(?!\n)", tail)
        and all(len(line) <= 998 for line in tail.split(b"\r\n"))
    )
    assert is_clear(data, start) is clear


@pytest.mark.parametrize(("length", "clear"), [(998, True), (999, False)])
@pytest.mark.parametrize("end", [b"\r\n", b"\r\nmore\r\n", b""])
def test_the_longest_line(length: int, clear: bool, end: bytes) -> None:
    assert is_clear(b"short\r\n" + b"x" * length + end) is clear
    assert is_clear(b"x" * length + end) is clear
    assert is_clear(b"x" * 990 + b"\r\n" + b"x" * length + end) is clear


def test_blocks_are_joined_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_BLOCK", 3)
    good = b"a\r\n\r\nbcdefgh\r\ni"
    assert is_canonical(good)
    for at, byte in enumerate(good):
        if byte in b"\r\n":
            assert not is_canonical(good[:at] + good[at + 1 :])


@given(BYTES)
def test_crlf(data: bytes) -> None:
    assert crlf(data) == re.sub(rb"(?<!\r)\n", b"\r\n", data)
    assert crlf(crlf(data)) == crlf(data)


@given(st.lists(st.binary(max_size=200), max_size=6))
def test_base64_in_any_chunks(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    text = b"".join(base64_lines(map(memoryview, chunks)))
    assert text == base64.encodebytes(whole).replace(b"\n", b"\r\n")


@pytest.mark.parametrize("size", [0, 56, 57, 58, 57 * 256, 57 * 256 + 1, 600_000])
@pytest.mark.parametrize("cut", [1, 57, 100_000])
def test_base64_of_all_sizes(size: int, cut: int) -> None:
    data = bytes(n % 251 for n in range(size))
    text = b"".join(base64_lines([data[:cut], data[cut:]]))
    assert text == base64.encodebytes(data).replace(b"\n", b"\r\n")


# base64, read


@given(st.binary(max_size=300), st.integers(1, 80), st.sampled_from([b"\r\n", b"\n", b" \t"]))
def test_base64_is_read_back(data: bytes, columns: int, newline: bytes) -> None:
    text = base64.b64encode(data)
    wrapped = newline.join(text[at : at + columns] for at in range(0, len(text), columns))
    assert from_base64(wrapped) == from_base64(memoryview(newline + wrapped + newline)) == data


@pytest.mark.parametrize("size", [4, 5, 6, 7, 8, 9, 300])
@given(data=st.data())
def test_base64_is_read_back_whatever_the_block(size: int, data: st.DataObject) -> None:
    octets = data.draw(st.binary(max_size=60))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "_BLOCK", size)
        assert from_base64(base64.encodebytes(octets)) == octets
        broken = base64.b64encode(octets + b"xx") + b"QUJD"
        if (len(octets) + 2) % 3:
            with pytest.raises(ValueError, match="ase64"):
                from_base64(broken)


@pytest.mark.parametrize(
    "text", [b"Q", b"QQ", b"QQ=", b"QQ===", b"QQ==QQ==", b"=", b"====", b"QUJD=", b"QUJ\xe9",
             b"QUJD--", b"QU-_", b"QUJD\0", b"QUJDQ"]
)  # fmt: skip
def test_what_is_not_base64(text: bytes) -> None:
    with pytest.raises(ValueError, match="ase64"):
        from_base64(text)
