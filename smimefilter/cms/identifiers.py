"""How CMS names a certificate: by issuer and serial number, or by its key identifier.

In what is written the name is sliced from the certificate, not encoded anew: a reader compares
bytes, and old certificates hold strings of kinds that an encoder would change. In what is read
a name in other kinds of strings is the same name.

RFC 5652 §5.3, §6.2.1, §10.2.4, RFC 5280 §7.1. Raises `UnreadableCertificate`, and `BadCms` for
what came.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asn1crypto import x509

from smimefilter.pki import tlv
from smimefilter.pki.certificate import Certificate, UnreadableCertificate
from smimefilter.pki.names import name_key

from . import ber, der

LONGEST_NAME: Final = 1024  # octets of an issuer that is compared but byte by byte
_SHOWN: Final = 32  # octets of a key identifier or serial number that are for people
_LOW: Final = (1 << 8 * _SHOWN) - 1


def issuer_and_serial(certificate: Certificate) -> bytes:
    """IssuerAndSerialNumber of a certificate, DER."""
    try:
        body = x509.Certificate.load(certificate.der)["tbs_certificate"]
        return der.tlv(der.SEQUENCE, body["issuer"].dump(), body["serial_number"].dump())
    except (ValueError, TypeError) as error:
        raise UnreadableCertificate(f"issuer and serial cannot be read: {error}") from None


@dataclass(frozen=True, slots=True)
class Identifier:
    """What a SignerInfo or a RecipientInfo names a certificate by: one of both."""

    issuer: bytes = b""  # Name, as it came
    serial: int = 0
    key_id: bytes = b""  # subjectKeyIdentifier

    def names(self, certificate: Certificate) -> bool:
        """Whether it is this certificate; False for one that cannot be read."""
        try:
            if self.key_id:
                return certificate.subject_key_id == self.key_id
            return certificate.serial == self.serial and (
                certificate.issuer_der == self.issuer
                or _same_name(certificate.issuer_der, self.issuer)
            )
        except UnreadableCertificate:
            return False

    def __str__(self) -> str:
        if self.key_id:
            return f"key {self.key_id[:_SHOWN].hex()}"
        issuer = _readable(self.issuer)
        serial = f"{self.serial & _LOW:x}"  # what is longer is nobody's
        return f"serial {serial}" + (f" of {issuer[: _SHOWN * 4]}" if issuer else "")


def serial_of(certificate: Certificate) -> int | None:
    """The serial number, taken from the bytes: of 100 000 certificates in well under a second.
    None where that cannot be read."""
    data = certificate.der
    try:
        start, _ = tlv.expect(data, 0, len(data), tlv.SEQUENCE)
        start, stop = tlv.expect(data, start, len(data), tlv.SEQUENCE)
        if data[start] == tlv.CONTEXT_0:  # version
            _, start = tlv.expect(data, start, stop, tlv.CONTEXT_0)
        start, stop = tlv.expect(data, start, stop, tlv.INTEGER)
    except (tlv.BadDer, IndexError):
        return None
    return int.from_bytes(data[start:stop], "big", signed=True)


def identifier(element: ber.Element, effort: ber.Effort) -> Identifier:
    """A SignerIdentifier or RecipientIdentifier. Raises `BadCms`."""
    if element.tag == ber.SEQUENCE:
        fields = ber.Fields(element.content, effort)
        issuer = fields.take(ber.SEQUENCE).der
        serial = ber.integer(fields.take(ber.INTEGER))
        fields.end()
        return Identifier(issuer, serial)
    return Identifier(key_id=ber.joined(element, effort))


def _readable(name: bytes) -> str:
    """A name for people, as RFC 4514 writes it; empty where it cannot be read."""
    if not name or len(name) > LONGEST_NAME:
        return ""
    try:
        return str(x509.Name.load(name).human_friendly)
    except Exception:  # noqa: BLE001 - a stranger wrote it, in whatever types there are
        return ""


def _same_name(one: bytes, other: bytes) -> bool:
    """Whether two names are one, whatever kinds of strings they are written in."""
    if max(len(one), len(other)) > LONGEST_NAME:
        return False
    return name_key(one) == name_key(other)
