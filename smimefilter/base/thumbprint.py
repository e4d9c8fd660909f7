"""SHA-512 thumbprints as people paste them, and as the gateway compares them.

Leaves computing one to `pki/`. Raises `ValueError`.
"""

from __future__ import annotations

from typing import Final

_DIGITS: Final = frozenset("0123456789abcdef")
_OTHER_LENGTHS: Final = {32: "MD5", 40: "SHA-1", 64: "SHA-256", 96: "SHA-384"}
_HOW: Final = "print it with: smimefilter certificate show FILE"


def thumbprint_of(text: str) -> str:
    """A SHA-512 thumbprint in its canonical form: 128 lower-case hex digits.

    Accepts upper and lower case, colons or spaces between bytes, and a `sha512:` prefix.
    Raises `ValueError` with a sentence that says which command prints the right one.
    """
    digits = text.strip().lower().removeprefix("sha512:").replace(":", "").replace(" ", "")
    if not digits or not _DIGITS.issuperset(digits):
        raise ValueError(f"'{text}' is not a thumbprint of hex digits; {_HOW}")
    if len(digits) != 128:
        known = _OTHER_LENGTHS.get(len(digits))
        kind = f"a {known} thumbprint" if known else f"{len(digits)} hex digits"
        raise ValueError(f"{kind} where SHA-512 (128 hex digits) is needed; {_HOW}")
    return digits
