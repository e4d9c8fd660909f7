"""CAs of ours as people call them, by an id, a thumbprint or a name; and serial numbers.

The id of a CA is the beginning of its subject key identifier; the URL and the origin of its
CRL have it in them. Leaves keeping CAs to `authority.py`. Raises `AdminError`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from smimefilter.base.errors import AdminError
from smimefilter.pki.certificate import Certificate

SHORTEST: Final = 4  # digits of an id or thumbprint
_ID: Final = 16  # hex digits of a CA's key identifier that it is called by
_HEX: Final = frozenset("0123456789abcdef")
_LONGEST_SERIAL: Final = 40  # hex digits, RFC 5280 §4.1.2.2
_LISTED: Final = "list them with: smimefilter ca list"


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA as the commands show it."""

    id: str  # what it is called by, and its CRL
    certificate: Certificate
    root: Certificate | None
    is_default: bool
    crl_number: int
    has_key: bool = True  # False: taken offline


def called(found: Collection[Authority], which: str) -> Authority:
    """The one that is called so: by its whole id or common name, or else by the beginning of
    its id or thumbprint. Raises `AdminError` for none and for several."""
    digits = "".join(which.lower().removeprefix("sha512:").replace(":", "").split())
    named = [
        one
        for one in found
        if digits == one.id or which.casefold() == one.certificate.common_name.casefold()
    ]
    if not named and len(digits) >= SHORTEST:
        named = [
            one
            for one in found
            if one.id.startswith(digits) or one.certificate.thumbprint.startswith(digits)
        ]
    if len(named) == 1:
        return named[0]
    if named:
        these = ", ".join(f"{one.id} {one.certificate.subject}" for one in named)
        raise AdminError(f"{len(named)} CAs are called '{which}': {these}", mend="write its id")
    if digits and len(digits) < SHORTEST and not set(digits) - _HEX:
        mend = f"of an id or thumbprint write {SHORTEST} digits or more; {_LISTED}"
        raise AdminError(f"no CA is called '{which}'", mend=mend)
    raise AdminError(f"no CA is called '{which}'", mend=_LISTED)


def ca_id(certificate: Certificate) -> str:
    """What a CA is called by in commands and in the URL of its CRL: the beginning of its
    subject key identifier."""
    return (certificate.subject_key_id or bytes.fromhex(certificate.sha256)).hex()[:_ID]


def url_for(template: str, authority: Certificate) -> str:
    """A distribution point: `{ca}` in it stands for the CA's id."""
    return template.replace("{ca}", ca_id(authority))


def urls_for(template: str, authority: Certificate) -> tuple[str, ...]:
    """The same for a certificate; none where there is no template."""
    return (url_for(template, authority),) if template else ()


def origin_of(certificate: Certificate) -> str:
    """What the CRLs that a CA of ours makes are stored as coming from."""
    return f"CA {ca_id(certificate)}"


def serials_of(texts: Collection[str]) -> Sequence[int]:
    """Serial numbers as people write them: hex digits, with colons, blanks or 0x. Raises
    `AdminError`; 0 is none."""
    found = []
    for text in texts:
        digits = "".join(text.lower().removeprefix("0x").replace(":", "").split())
        if (
            not digits
            or len(digits) > _LONGEST_SERIAL
            or set(digits) - _HEX
            or not int(digits, 16)
        ):
            raise AdminError(
                f"'{text}' is no serial number",
                mend="write it in hex, as certificates show it; it is above 0",
            )
        found.append(int(digits, 16))
    return found
