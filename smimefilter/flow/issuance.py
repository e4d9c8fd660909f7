"""What a CA of ours has issued: whether a serial number is one of its own, and how much falls
with a certificate that is a CA itself.

Known are what it issued by request, and what is in the store and has its signature. Leaves
revoking to `authority.py`. Raises `AdminError`, `StoreTrouble`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from smimefilter.base.errors import AdminError
from smimefilter.pki.certificate import Certificate, UnreadableCertificate, is_ca
from smimefilter.ports.requests import Authorities
from smimefilter.ports.stores import Certificates, Shelf
from smimefilter.trust.link import Link

_TOLD: Final = 5  # serials in one line


class Issuance:
    """Looks up what CAs of ours have issued."""

    def __init__(self, authorities: Authorities, certificates: Certificates) -> None:
        self._authorities = authorities
        self._certificates = certificates

    async def check(
        self,
        issuer: Certificate,
        serials: Collection[int],
        now: datetime,
        *,
        unknown: bool,
        authority: bool,
    ) -> None:
        """Whether these may be revoked: those that the issuer never issued as `unknown` alone,
        CAs as an `authority` alone. Raises `AdminError`."""
        left, never = [], []
        for serial in serials:
            known = await self._authorities.find(issuer.thumbprint, serial)
            if known is None or known.der is None:
                left.append(serial)
            if known is None or (known.der is None and known.revoked is None):
                never.append(serial)
        found = await self._stored(issuer, left) if left else []
        for one in found:
            if is_ca(one) and not authority:
                raise await self._is_ca(one, now)
        never = [serial for serial in never if serial not in {one.serial for one in found}]
        if never and not unknown:
            raise _never(issuer, never)

    async def below(self, certificate: Certificate, now: datetime) -> int:
        """How many certificates that a CA issued have neither ended nor been revoked."""
        issued = await self._authorities.issued(certificate.thumbprint)
        revoked = {
            one.serial for one in await self._authorities.revoked(certificate.thumbprint)
        }
        ours = [Certificate(one.der) for one in issued if one.der is not None]
        return sum(
            one.serial not in revoked and one.not_after > now
            for one in {*ours, *await self._stored(certificate)}
        )

    async def _stored(
        self, issuer: Certificate, serials: Collection[int] | None = None
    ) -> list[Certificate]:
        """What is in the store and was issued by it, of these serial numbers where any are
        given; itself left out."""
        entries = await self._certificates.all(Shelf.CERTIFICATES)
        return [
            entry.certificate
            for entry in entries
            if (serials is None or _serial(entry.certificate) in serials)
            and entry.certificate != issuer
            and issued_by(entry.certificate, issuer)
        ]

    async def _is_ca(self, certificate: Certificate, now: datetime) -> AdminError:
        count = await self.below(certificate, now)
        return AdminError(
            f"this is a CA, and with it would fall {certificates(count)} that it issued",
            where=certificate.subject,
            mend="say --authority if that is meant",
        )


def certificates(count: int) -> str:
    """So many, in words."""
    return "1 valid certificate" if count == 1 else f"{count} valid certificates"


def issued_by(certificate: Certificate, issuer: Certificate) -> bool:
    """By its signature: name, key id and serial number anybody could have written."""
    one, above = Link(certificate), Link(issuer)
    try:
        return one.issuer_name == above.name and one.prefers(above) and one.signed_by(above)
    except UnreadableCertificate:
        return False


def _serial(certificate: Certificate) -> int | None:
    try:
        return certificate.serial
    except UnreadableCertificate:
        return None


def _never(issuer: Certificate, serials: Sequence[int]) -> AdminError:
    told = ", ".join(f"{serial:x}" for serial in serials[:_TOLD])
    more = f" and {len(serials) - _TOLD} more" if len(serials) > _TOLD else ""
    return AdminError(
        f"it never issued a certificate with the serial {told}{more}",
        where=issuer.subject,
        mend="say --unknown to revoke it all the same",
    )
