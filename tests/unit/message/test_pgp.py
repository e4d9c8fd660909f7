"""ASCII armour: what is encrypted or a signature, and what only looks like it."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.message.pgp import is_detached_signature, is_encrypted_message


def packet(tag: int, content: bytes = b"x" * 20) -> bytes:
    """A packet in the newer form."""
    return bytes([0xC0 | tag, len(content)]) + content


PKESK, SKESK, SEIPD, SED, AEAD = (packet(tag) for tag in (1, 3, 18, 9, 20))
SIGNATURE, COMPRESSED, LITERAL, MARKER, PADDING = map(packet, (2, 8, 11, 10, 21))
OLD_SED = b"\xa4\x05hello"
ENDLESS = b"\xa7whatever comes"
CHUNKED = bytes([0xC0 | 18, 0xE0 | 9]) + bytes(512) + b"\xe0x" + b"\x03abc"


def armour(
    packets: bytes, label: str = "MESSAGE", *, head: str = "", crc: str = "=abcd\n"
) -> bytes:
    text = base64.encodebytes(packets).decode()
    return (
        f"-----BEGIN PGP {label}-----\n{head}\n{text}{crc}-----END PGP {label}-----\n".encode()
    )


def encrypted(block: bytes) -> bool:
    return is_encrypted_message(memoryview(block))


def signature(block: bytes) -> bool:
    return is_detached_signature(memoryview(block))


@pytest.mark.parametrize(
    "packets",
    [
        PKESK + SEIPD,
        PKESK + PKESK + SKESK + SEIPD,
        SKESK + SED,
        SKESK + AEAD,
        MARKER + PKESK + SEIPD + PADDING,
        PKESK + OLD_SED,
        PKESK + ENDLESS,
        PKESK + CHUNKED,
        PKESK + bytes([0xC0 | 18, 192, 8]) + bytes(200),
        PKESK + bytes([0xC0 | 18, 255, 0, 0, 1, 0]) + bytes(256),
        PKESK + b"\xc9\x00",
    ],
)
def test_encrypted(packets: bytes) -> None:
    block = armour(packets)
    assert encrypted(block)
    assert encrypted(block.replace(b"\n", b"\r\n"))
    assert encrypted(armour(packets, crc=""))
    assert not signature(block)


@pytest.mark.parametrize(
    "packets",
    [
        b"",
        LITERAL,  # gpg --store
        COMPRESSED,  # gpg --sign
        SIGNATURE,
        SEIPD,
        PKESK,
        PKESK + LITERAL,
        PKESK + SEIPD + LITERAL,
        LITERAL + PKESK + SEIPD,
        PKESK + SEIPD + SEIPD,
        PKESK + SEIPD[:-1],
        PKESK + SEIPD + b"plain text",
        PKESK + SEIPD + b"\xc0",
        PKESK + CHUNKED[:-1],
        PKESK + bytes([0xC0 | 18]) + b"\xe0x" * 200_000 + b"\x00",
        PKESK + b"\xa6\x00\x00\x00",
        b"TOP SECRET plain text",
    ],
)
def test_an_armour_around_anything_else(packets: bytes) -> None:
    assert not encrypted(armour(packets))


WHOLE = armour(PKESK + SEIPD)


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"TOP SECRET\n" + WHOLE,
        WHOLE + b"TOP SECRET\n",
        WHOLE + WHOLE,
        WHOLE.replace(b"=abcd", b"TOP SECRET"),
        WHOLE.replace(b"=abcd", b"=abcd\n=abcd"),
        WHOLE.replace(b"=abcd", b"=abcde"),
        WHOLE.replace(b"\n\n", b"\n"),
        WHOLE.replace(b"\n\n", b"\nTOP SECRET\n\n"),
        WHOLE.replace(b"\n\n", b"\nTop: secret\n\n"),
        WHOLE.replace(b"\n\n", b"\nComment: %b\n\n" % (b"secret " * 40)),
        WHOLE.replace(b"\n\n", b"\n%b\n" % (b"Comment: secret\n" * 20)),
        WHOLE.replace(b"END PGP MESSAGE", b"END PGP SIGNATURE"),
        WHOLE.replace(b"MESSAGE", b"PUBLIC KEY BLOCK"),
        WHOLE.replace(b"-----END", b"----END"),
        WHOLE.partition(b"-----END")[0],
        b"x" * 10_000 + WHOLE,
    ],
)
def test_what_is_no_whole_block(block: bytes) -> None:
    assert not encrypted(block)
    assert not signature(block)


def test_header_lines_and_white_space_around() -> None:
    head = "Version: GnuPG v2\nComment: https://example.com\n"
    assert encrypted(b"\r\n \n" + armour(PKESK + SEIPD, head=head) + b"\r\n\r\n\t\n")


@pytest.mark.parametrize(
    ("packets", "is_one"),
    [
        (SIGNATURE, True),
        (SIGNATURE + SIGNATURE, True),
        (SIGNATURE + LITERAL, False),
        (LITERAL, False),
        (b"", False),
        (b"not a packet", False),
    ],
)
def test_signatures(packets: bytes, is_one: bool) -> None:
    assert signature(armour(packets, "SIGNATURE")) is is_one
    assert not signature(armour(packets, "MESSAGE"))
    assert not encrypted(armour(packets, "SIGNATURE"))


@given(st.binary(max_size=60))
def test_any_packets_are_looked_at(packets: bytes) -> None:
    encrypted(armour(PKESK + packets))
    signature(armour(packets, "SIGNATURE"))


@given(st.lists(st.sampled_from([*WHOLE.splitlines(keepends=True), b"\n", b"=", b"QUJD"])))
def test_any_lines_are_looked_at(lines: list[bytes]) -> None:
    encrypted(b"".join(lines))
