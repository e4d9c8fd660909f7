"""Files that people import, by their content and not by their name's ending.

Certificates and CRLs as DER, PEM, bare base64 or in PKCS#7 (certs-only or signed); private
keys as DER or PEM, encrypted or not; PKCS#12. Several items in one file, text around them, any
line ends, byte order marks. A key is matched to the certificates whose public key it has.

An item that cannot be taken is named in `refused` and does not spoil the others; a file that
yields nothing at all is an error.

Leaves PKCS#12 to `pkcs12.py`, encodings of keys to `privatekey.py`, judging what is read to
whoever imports it. RFC 7468, RFC 5652 §5. Raises `UnreadableKeyFile` and its kinds.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from asn1crypto import cms, parser
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from . import tlv
from .build import Identity
from .certificate import Certificate, UnreadableCertificate
from .crl import Crl, UnreadableCrl
from .pbe import Effort, PasswordNeeded, UnreadableKeyFile, WrongPassword
from .pem import blocks, is_base64, plain_text, without_headers
from .pkcs12 import open_pkcs12
from .privatekey import belongs_together, load_encrypted_key, load_key, load_old_pem

__all__ = ["KeyFile", "PasswordNeeded", "Refused", "UnreadableKeyFile", "WrongPassword", "read"]

_MALFORMED: Final = (ValueError, TypeError, KeyError, IndexError, OverflowError)

_PARAMETERS: Final = {"DH PARAMETERS", "DSA PARAMETERS", "EC PARAMETERS"}  # no loss
_FOREIGN: Final = {
    "OPENSSH PRIVATE KEY": "a key for SSH, not for mail",
    "PUBLIC KEY": "a public key alone, without a certificate",
    "RSA PUBLIC KEY": "a public key alone, without a certificate",
    "ATTRIBUTE CERTIFICATE": "an attribute certificate, not one for mail",
    "PGP PUBLIC KEY BLOCK": "a PGP key, not an X.509 certificate",
    "PGP PRIVATE KEY BLOCK": "a PGP key, not an X.509 certificate",
}

_INTEGER, _OCTETS, _OID, _SEQUENCE = 2, 4, 6, 16  # universal ASN.1 tags
_CONSTRUCTED_SEQUENCE: Final = 0x30
_BETWEEN: Final = b"\r\n\t \0"  # what may stand between two DER values
_PFX_VERSION: Final = b"\x03"

_Load = Callable[[bytes], PrivateKeyTypes]


@dataclass(frozen=True, slots=True)
class Refused:
    """An item of a file that is not taken: which one, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class KeyFile:
    """What a file holds. No certificate and no CRL appears twice."""

    certificates: tuple[Certificate, ...] = ()  # all, those with keys too
    identities: tuple[Identity, ...] = ()  # each certificate that has its key in the file
    lone_keys: tuple[PrivateKeyTypes, ...] = ()  # keys without a certificate
    crls: tuple[bytes, ...] = ()  # DER
    refused: tuple[Refused, ...] = ()


def read(data: bytes, password: str | None = None, *, keys: bool = True) -> KeyFile:
    """All that a file holds.

    `password` opens what is encrypted; None means that there is none. With `keys=False`
    private keys and PKCS#12 files are refused unopened.
    Raises `PasswordNeeded`, `WrongPassword`, or `UnreadableKeyFile` when nothing is found.
    """
    reading = _Reading(password, keys)
    text = plain_text(data)
    if not text.strip():
        raise UnreadableKeyFile("the file is empty")
    if b"-----BEGIN " in text:
        reading.pem(text)
    elif data[0] == _CONSTRUCTED_SEQUENCE:
        reading.der_series(data)
    elif is_base64(text):
        reading.base64("the file", text)
    found = reading.result()
    if found.certificates or found.lone_keys or found.crls:
        return found
    if found.refused:
        first, *others = found.refused
        more = f", and {len(others)} more like it" if others else ""
        raise UnreadableKeyFile(f"{first.what}: {first.why}{more}")
    raise UnreadableKeyFile("no certificate, private key or CRL in it, as PEM or DER")


class _Reading:
    """One file being read: takes items one after the other, then matches keys."""

    def __init__(self, password: str | None, keys: bool) -> None:
        self._password: Final = password
        self._wants_keys: Final = keys
        self._effort: Final = Effort()
        self._certificates: Final[dict[Certificate, None]] = {}
        self._keys: Final[list[PrivateKeyTypes]] = []
        self._crls: Final[dict[bytes, None]] = {}
        self._refused: Final[list[Refused]] = []

    def result(self) -> KeyFile:
        """What was found so far, keys matched."""
        identities = [
            Identity(certificate, key)
            for certificate in self._certificates
            for key in self._keys
            if belongs_together(certificate, key)
        ]
        matched = {id(identity.key) for identity in identities}
        return KeyFile(
            certificates=tuple(self._certificates),
            identities=tuple(identities),
            lone_keys=tuple(key for key in self._keys if id(key) not in matched),
            crls=tuple(self._crls),
            refused=tuple(self._refused),
        )

    # encodings

    def pem(self, text: bytes) -> None:
        """Every armoured block; what stands between them is no concern."""
        for number, (label, block) in enumerate(blocks(text), 1):
            what = f"{label} (block {number})"
            if label in _PARAMETERS:
                continue
            if label in _FOREIGN:
                self._refuse(what, _FOREIGN[label])
            elif block is None:
                self._refuse(what, "cut off: its END line is missing")
            elif b"Proc-Type:" in block:
                self._key(what, block, partial(self._old_pem, label))
            else:
                self.base64(what, without_headers(block))

    def base64(self, what: str, text: bytes) -> None:
        """The DER in a base64 text."""
        try:
            der = base64.b64decode(b"".join(text.split()), validate=True)
        except binascii.Error:
            self._refuse(what, "its base64 is damaged")
            return
        self._der(what, der)

    def der_series(self, data: bytes) -> None:
        """DER values one after the other, white space between them."""
        position = number = 0
        while position < len(data):
            if data[position] in _BETWEEN:
                position += 1
                continue
            number += 1
            end = _end_of_value(data, position)
            self._der(f"item {number}", data[position:end])
            position = end

    # items

    def _der(self, what: str, der: bytes) -> None:
        try:
            take = self._taker(der)
        except _MALFORMED:
            self._refuse(what, "its ASN.1 structure is damaged")
            return
        take(what, der)

    def _taker(self, der: bytes) -> Callable[[str, bytes], None]:
        """What reads this kind of structure, told by the first two values in its SEQUENCE.

        Bytes after the structure are left alone: OpenSSL puts its own trust settings after a
        TRUSTED CERTIFICATE, and they are not ours.
        """
        inside = parser.parse(der)[4]
        rest = inside[parser.peek(inside) :]
        _, _, first, _, value, _ = parser.parse(inside)
        second = parser.parse(rest)[2] if rest else None
        if (first, second) == (_INTEGER, _SEQUENCE) and value == _PFX_VERSION:
            return self._pkcs12
        if first == _INTEGER:
            return partial(self._key, load=load_key)
        if first == _OID:
            return self._pkcs7
        if (first, second) == (_SEQUENCE, _OCTETS):
            return partial(self._key, load=self._encrypted_key)
        return self._signed_object

    def _signed_object(self, what: str, der: bytes) -> None:
        der = der[: _end_of_value(der)]
        try:
            self._certificates[Certificate.read(der)] = None
        except UnreadableCertificate as error:
            why = str(error).partition(": error parsing")[0]  # not the parser's inner state
            self._other_signed_object(what, der, why)

    def _other_signed_object(self, what: str, der: bytes, why: str) -> None:
        try:
            self._crls[Crl.read(der).der] = None
        except UnreadableCrl:
            if _is_request(der):
                why = "a certificate request, not the certificate itself"
            self._refuse(what, why)

    def _pkcs7(self, what: str, der: bytes) -> None:
        try:
            info = cms.ContentInfo.load(der)
            kind = info["content_type"].native
            if kind != "signed_data":
                self._refuse(what, f"PKCS#7 {kind}, which holds no certificates")
                return
            held = [
                choice.chosen.dump()
                for field in ("certificates", "crls")
                for choice in info["content"][field] or ()
            ]
        except _MALFORMED:
            self._refuse(what, "its PKCS#7 structure is damaged")
            return
        for number, one in enumerate(held, 1):
            self._signed_object(f"item {number} of its PKCS#7", one)

    def _pkcs12(self, what: str, der: bytes) -> None:
        if not self._wants_keys:
            self._refuse(what, "a PKCS#12 file with private keys: import it as keys")
            return
        contents = open_pkcs12(der, self._password, self._effort)
        for number, one in enumerate(contents.certificates + contents.crls, 1):
            self._signed_object(f"item {number} of its PKCS#12", one)
        for key in contents.keys:
            self._key("a private key of its PKCS#12", key, load_key)
        for kind in contents.others:
            self._refuse("an item of its PKCS#12", f"neither certificate nor key ({kind})")

    def _key(self, what: str, encoded: bytes, load: _Load) -> None:
        if not self._wants_keys:
            self._refuse(what, "a private key: import it as a key")
            return
        try:
            self._keys.append(load(encoded))
        except (PasswordNeeded, WrongPassword):
            raise
        except UnreadableKeyFile as error:
            self._refuse(what, str(error))

    def _encrypted_key(self, der: bytes) -> PrivateKeyTypes:
        return load_encrypted_key(der, self._password, self._effort)

    def _old_pem(self, label: str, block: bytes) -> PrivateKeyTypes:
        return load_old_pem(label, block, self._password)

    def _refuse(self, what: str, why: str) -> None:
        self._refused.append(Refused(what, why))


def _end_of_value(data: bytes, start: int = 0) -> int:
    """Where the ASN.1 value ends that begins at `start`; at the end when it is broken."""
    try:
        return tlv.element(data, start, len(data))[2]
    except tlv.BadDer:
        pass  # an indefinite length, perhaps
    try:
        return start + int(parser.peek(data[start:]))
    except _MALFORMED:
        return len(data)


def _is_request(der: bytes) -> bool:
    try:
        x509.load_der_x509_csr(der)
    except (ValueError, x509.InvalidVersion):
        return False
    return True
