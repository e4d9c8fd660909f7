"""Addresses that are one, and addresses that are not."""

from __future__ import annotations

import pytest

from smimefilter.base.address import BadAddress, address_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alice@Example.COM", "alice@example.com"),
        ("müller@bücher.example", "MÜLLER@xn--bcher-kva.example"),
        ("jose\u0301@x.test", "josé@x.test"),
        ('"alice"@x.test', "alice@x.test"),
        ("a@x.test.", "a@x.test"),
    ],
)
def test_one(one: str, other: str) -> None:
    assert address_key(one) == address_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("straße@x.test", "strasse@x.test"),
        ("\u0131van@x.test", "ivan@x.test"),
        ('"a b"@x.test', '"ab"@x.test'),
    ],
)
def test_two(one: str, other: str) -> None:
    assert address_key(one) != address_key(other)


@pytest.mark.parametrize(
    "text",
    ["", "a", "@x.test", "a@", "a@x..test", "a@x.test..", "a b@x.test",
     "\u212aate@x.test",
     "\uff41@x.test", "a@.test", "a@b@c.test", '"a b@x.test',
     "\ufb01n@x.test", "\u017fmith@x.test", "a" * 1000 + "@x.test"],
)  # fmt: skip
def test_none(text: str) -> None:
    with pytest.raises(BadAddress):
        address_key(text)
