"""A PKI in a line: `root().issue("Sub", ca=True).issue("Alice", mail="alice@example.com")`.

Time is fixed (`NOW`), keys are made once per kind and number and kept for the whole run: a
test names only what is special about its certificate.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from smimefilter.pki.build import Identity, Profile, build_crl, generate_key, issue
from smimefilter.pki.certificate import Certificate

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
YEAR = timedelta(days=365)


@cache
def key_of(kind: str, name: str) -> PrivateKeyTypes:
    """The key of that kind that everybody called `name` has."""
    return generate_key(kind)


class Issued:
    """A certificate, its key and chain; and a CA for what it issues."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    @property
    def certificate(self) -> Certificate:
        return self.identity.certificate

    @property
    def key(self) -> PrivateKeyTypes:
        return self.identity.key

    @property
    def chain(self) -> tuple[Certificate, ...]:
        """Certificates above, nearest first, the root last."""
        return self.identity.chain

    @property
    def thumbprint(self) -> str:
        return self.certificate.thumbprint

    def issue(self, name: str, **special: Any) -> Issued:
        return Issued(_identity(name, self.identity, **special))

    def crl(
        self,
        revoked: Iterable[Issued | Certificate | int] = (),
        *,
        this_update: datetime = NOW - timedelta(hours=1),
        next_update: datetime = NOW + timedelta(days=7),
        number: int = 1,
        digest: str = "sha256",
    ) -> bytes:
        """A full CRL, DER, of this CA."""
        serials = [_serial(one) for one in revoked]
        return build_crl(
            self.identity,
            [(serial, this_update) for serial in serials],
            this_update=this_update,
            next_update=next_update,
            number=number,
            digest=digest,
        )


def root(name: str = "Test Root", **special: Any) -> Issued:
    return Issued(_identity(name, None, ca=True, **special))


def _serial(one: Issued | Certificate | int) -> int:
    if isinstance(one, int):
        return one
    return one.serial if isinstance(one, Certificate) else one.certificate.serial


def _identity(
    name: str,
    issuer: Identity | None,
    *,
    mail: str | Iterable[str] = (),
    key: str | PrivateKeyTypes = "rsa2048",
    not_before: datetime = NOW - YEAR,
    not_after: datetime = NOW + YEAR,
    **special: Any,
) -> Identity:
    """`special` are fields of `smimefilter.pki.build.Profile`."""
    profile = Profile(
        common_name=name,
        not_before=not_before,
        not_after=not_after,
        addresses=(mail,) if isinstance(mail, str) else tuple(mail),
        **special,
    )
    own = key_of(key, name) if isinstance(key, str) else key
    return issue(profile, own, issuer)
