"""DER headers and identifiers, against asn1crypto."""

from __future__ import annotations

import pytest
from asn1crypto import core
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.cms import der


@pytest.mark.parametrize(
    "size", [0, 1, 127, 128, 255, 256, 65535, 65536, 1 << 24, (1 << 32) - 1]
)
def test_header_is_minimal(size: int) -> None:
    octets = der.header(der.OCTET_STRING, size)
    assert octets[0] == 4
    if size < 0x80:
        assert octets[1:] == bytes([size])
    else:
        assert octets[1] == 0x80 | (len(octets) - 2)
        assert octets[2] != 0
        assert int.from_bytes(octets[2:], "big") == size


@given(st.integers(min_value=0, max_value=1 << 170))
def test_integer(value: int) -> None:
    assert der.integer(value) == core.Integer(value).dump()


@given(
    st.integers(0, 1),
    st.integers(0, 39),
    st.lists(st.integers(0, 1 << 70), min_size=1, max_size=8),
)
def test_oid(first: int, second: int, rest: list[int]) -> None:
    dotted = ".".join(map(str, (first, second, *rest)))
    assert der.oid(dotted) == core.ObjectIdentifier(dotted).dump()


def test_members_of_a_set_are_in_order() -> None:
    members = [der.tlv(der.SEQUENCE, b"\x05\x00" * n) for n in (9, 1, 70, 3)]
    assert der.set_of(der.SET, members) == der.tlv(der.SET, *sorted(members))
