from __future__ import annotations

import pytest

from smimefilter.base.thumbprint import thumbprint_of

DIGITS = "0123456789abcdef" * 8


@pytest.mark.parametrize(
    "text",
    [
        DIGITS,
        DIGITS.upper(),
        f"sha512:{DIGITS}",
        f" SHA512:{DIGITS.upper()}\n",
        ":".join(DIGITS[at : at + 2] for at in range(0, 128, 2)),
        " ".join(DIGITS[at : at + 4] for at in range(0, 128, 4)),
    ],
)
def test_one_form(text: str) -> None:
    assert thumbprint_of(text) == DIGITS


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "hex digits"),
        ("sha512:", "hex digits"),
        ("xyz", "hex digits"),
        ("ab" * 20, "SHA-1"),
        ("ab" * 32, "SHA-256"),
        ("ab" * 48, "SHA-384"),
        ("ab" * 16, "MD5"),
        (DIGITS + "0", "129"),
        (f"sha256:{DIGITS}", "hex digits"),
    ],
)
def test_what_is_none_says_what_it_is(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match="certificate show") as caught:
        thumbprint_of(text)
    assert hint in str(caught.value)
