"""The root certificates of the operating system, on request; the root store is empty without.

A root that the system trusts for other purposes only, or distrusts for mail, is left out.

Leaves storing them to `flow/imports.py`. Raises `AdminError`.
"""

from __future__ import annotations

import warnings
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from cryptography.utils import CryptographyDeprecationWarning
from oscrypto import trust_list
from oscrypto.errors import CACertsError

from smimefilter.base.errors import AdminError
from smimefilter.pki.certificate import Certificate, UnreadableCertificate

_ANY_PURPOSE: Final = "2.5.29.37.0"
_MAIL: Final = "1.3.6.1.5.5.7.3.4"


@dataclass(frozen=True, slots=True)
class SystemRoots:
    """What the system trusts for mail, as far as it can be read here."""

    certificates: tuple[Certificate, ...]
    skipped: int  # not for mail, or not readable


def system_roots() -> SystemRoots:
    """The system's roots as they are now. Raises `AdminError` when it has none."""
    trust_list.clear_cache()
    try:
        found = [(one.dump(), for_, not_for) for one, for_, not_for in trust_list.get_list()]
    except (CACertsError, OSError, ValueError, TypeError) as error:
        said = " ".join(str(error).split())
        raise AdminError(
            f"the root certificates of this system cannot be read: {said}",
            mend="install the package ca-certificates",
        ) from None
    certificates: dict[Certificate, None] = {}
    skipped = 0
    for der, for_, not_for in found:
        certificate = _readable(der) if _for_mail(for_, not_for) else None
        if certificate is None:
            skipped += 1
        else:
            certificates[certificate] = None
    return SystemRoots(tuple(certificates), skipped)


def _for_mail(trusted_for: AbstractSet[str], distrusted_for: AbstractSet[str]) -> bool:
    """By the purposes the system names; none named means all."""
    if distrusted_for & {_MAIL, _ANY_PURPOSE}:
        return False
    return not trusted_for or bool(trusted_for & {_MAIL, _ANY_PURPOSE})


def _readable(der: bytes) -> Certificate | None:
    with warnings.catch_warnings():
        # some roots of the nineties have serial number 0
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        try:
            return Certificate.read(der)
        except UnreadableCertificate:
            return None
