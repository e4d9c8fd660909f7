"""The settings of the CMP handler, and the credentials that they are: how messages are
protected, and whose protection is believed.

Leaves messages to `pki/cmp.py`, what is sent when to `cmp.py`. RFC 4210 §5.1.3, RFC 9483 §3.1
(sender and reference). Raises `HandlerTrouble`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from cryptography import x509
from pydantic import AfterValidator, Field, SecretStr, field_validator

from smimefilter.pki.build import Identity
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.cmp import Protector, Reply, Signer
from smimefilter.pki.cmpmac import (
    PASSWORD_BASED_MAC,
    PBMAC1,
    MacProtector,
    is_mac,
    mac_verifies,
)
from smimefilter.ports.handlers import HandlerTrouble
from smimefilter.trust.signature import scheme_of, verifies

from .remote import CERTIFICATE_HELP, Server, certificates_in, checked_url, client_identity

_MACS: Final = {"password-based-mac": PASSWORD_BASED_MAC, "pbmac1": PBMAC1}


def _url(text: str) -> str:
    return checked_url(text, ("https", "http"))


class CmpSettings(Server):
    """A CMP server, and how messages are protected."""

    url: Annotated[str, AfterValidator(_url)] = Field(
        description="Of the CMP server, with its path: https://HOST/.well-known/cmp/p/NAME"
    )
    recipient: str = Field(
        "", description="The name of the CA, where it wants that: CN=Example CA,C=DE"
    )
    reference: str = Field(
        "", max_length=64, description="The reference number that goes with the secret."
    )
    secret: SecretStr | None = Field(
        None, description="The shared secret that messages are protected by."
    )
    mac: Literal["password-based-mac", "pbmac1"] = Field(
        "password-based-mac", description="How they are protected by it."
    )
    client_certificate: SecretStr | None = Field(
        None, description=f"{CERTIFICATE_HELP} It signs messages where there is no secret."
    )
    client_key: SecretStr | None = Field(
        None, description="Its key as PEM, where that is not in the same file."
    )
    client_password: SecretStr | None = Field(
        None, description="The password of the key or PKCS#12 file."
    )
    signer_certificates: str = Field(
        "", description="The certificates that the CA signs its messages with, PEM."
    )
    implicit_confirm: bool = Field(
        False, description="Ask the CA to do without a confirmation."
    )

    @field_validator("recipient")
    @classmethod
    def _is_a_name(cls, text: str) -> str:
        try:
            name_of(text)
        except ValueError:
            raise ValueError("should be a name such as CN=Example CA,C=DE") from None
        return text


@dataclass(frozen=True, slots=True)
class Credentials:
    """How we protect, and whom we believe."""

    sender: bytes  # Name, DER
    kid: bytes
    secret: bytes | None
    mac: str
    identity: Identity | None
    signers: tuple[Certificate, ...]

    def __repr__(self) -> str:
        return "<Credentials>"

    def protector(self) -> Protector:
        """For one message."""
        if self.secret is not None:
            return MacProtector(self.secret, self.mac)
        assert self.identity is not None
        return Signer(self.identity.key)

    @property
    def shown(self) -> tuple[Certificate, ...]:
        """Certificates that go with what we sign."""
        if self.secret is not None or self.identity is None:
            return ()
        return (self.identity.certificate, *self.identity.chain)

    def believes(self, reply: Reply) -> bool:
        """Whether somebody that we know protected it. Raises `UnreadableCmp`."""
        if not reply.algorithm or not reply.protection:
            return False
        if is_mac(reply.algorithm):
            return self.secret is not None and mac_verifies(
                self.secret, reply.algorithm, reply.covered, reply.protection
            )
        scheme = scheme_of(reply.algorithm)
        return scheme is not None and any(
            verifies(one.public_key, scheme, reply.protection, reply.covered)
            for one in self.signers
        )


def credentials_of(settings: CmpSettings) -> Credentials:
    """What the settings say. Raises `HandlerTrouble` for what does not do."""
    identity = None
    if settings.client_certificate is not None:
        identity = client_identity(
            settings.client_certificate, settings.client_key, settings.client_password
        )
    signers: tuple[Certificate, ...] = ()
    if settings.signer_certificates.strip():
        try:
            signers = tuple(certificates_in(settings.signer_certificates.encode()))
        except HandlerTrouble:
            raise HandlerTrouble("signer_certificates holds no certificates") from None
    if settings.secret is not None:
        if not settings.reference:
            raise HandlerTrouble("a secret needs its reference")
        sender = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, settings.reference)])
        return Credentials(
            sender.public_bytes(),
            settings.reference.encode(),
            settings.secret.get_secret_value().encode(),
            _MACS[settings.mac],
            identity,
            signers,
        )
    if identity is None:
        raise HandlerTrouble("needs a secret, or a client_certificate")
    if not signers:
        raise HandlerTrouble("needs signer_certificates, by which the CA's answers are known")
    try:
        Signer(identity.key)
    except ValueError as error:
        raise HandlerTrouble(f"the client key is {error}") from None
    certificate = identity.certificate
    kid = certificate.subject_key_id or b""
    return Credentials(certificate.subject_der, kid, None, "", identity, signers)


def name_of(text: str) -> bytes:
    """A name as DER. Raises `ValueError`."""
    return x509.Name.from_rfc4514_string(text).public_bytes()
