"""Setting up the handler for GlobalSign Atlas, in steps with a person at its site in between.

Credentials of the API, a CSR for mutual TLS whose key stays in the settings, the certificate
made of it. Each step keeps what it did, so that the next may be done on another day. While a
new CSR waits for its certificate the one in use stays in use.

Leaves printing to `cli/atlas.py`, keeping settings to `registry.py`. RFC 2986. Raises
`AdminError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from smimefilter.base.errors import AdminError
from smimefilter.pki.build import generate_key, signing_digest
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.export import certificates_pem
from smimefilter.pki.keyfile import UnreadableKeyFile
from smimefilter.pki.keyfile import read as read_keyfile
from smimefilter.pki.privatekey import belongs_together
from smimefilter.ports.audit import AuditRecord

from .registry import Registry

NAME: Final = "atlas"


class AtlasSetUp:
    """The settings of the handler, filled step by step."""

    def __init__(self, registry: Registry, clock: Callable[[], datetime]) -> None:
        self._registry = registry
        self._clock = clock

    async def credentials(self, api_key: str, api_secret: str) -> list[str]:
        """Keep the API credential. What is missing still."""
        if not api_key.strip() or not api_secret.strip():
            raise AdminError("key and secret of the API credential are needed")
        changes = {"api_key": api_key.strip(), "api_secret": api_secret.strip()}
        return await self._keep(changes, "API credential")

    async def csr(self, common_name: str, kind: str, *, anew: bool = False) -> bytes:
        """A CSR for mutual TLS, PEM: for the key that waits for its certificate, or for a new
        one. The key and certificate in use are not touched."""
        waiting = (await self._registry.stored(NAME)).get("new_mtls_key")
        if waiting and not anew:
            return _csr(_loaded(waiting), common_name)
        key = generate_key(kind)
        csr = _csr(key, common_name)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        await self._keep({"new_mtls_key": pem.decode()}, "key for mutual TLS made")
        return csr

    async def certificate(self, content: bytes, name: str) -> tuple[Certificate, list[str]]:
        """Bring the certificate for mutual TLS; it is matched with the key that waits, or with
        the one in use. What is missing still."""
        try:
            found = read_keyfile(content, keys=False).certificates
        except UnreadableKeyFile as error:
            raise AdminError(str(error), where=name) from None
        stored = await self._registry.stored(NAME)
        keys = [stored[one] for one in ("new_mtls_key", "mtls_key") if stored.get(one)]
        if not keys:
            raise AdminError(
                "there is no key that it could be for", where=name,
                mend="make one: smimefilter atlas setup csr",
            )  # fmt: skip
        for pem in keys:
            for certificate in found:
                if belongs_together(certificate, _loaded(pem)):
                    return certificate, await self._use(certificate, found, pem)
        raise AdminError(
            "it is for another key than that of the CSR", where=name,
            mend="print the CSR again: smimefilter atlas setup csr",
        )  # fmt: skip

    async def _use(
        self, certificate: Certificate, found: tuple[Certificate, ...], key: str
    ) -> list[str]:
        if certificate.not_after <= self._clock():
            raise AdminError(f"it has expired, on {certificate.not_after:%Y-%m-%d}")
        chain = [certificate, *(one for one in found if one != certificate and one.is_ca)]
        changes = {
            "mtls_certificate": certificates_pem(chain).decode(),
            "mtls_key": key,
            "new_mtls_key": None,
        }
        return await self._keep(changes, "certificate for mutual TLS")

    async def shown(self) -> list[tuple[str, Any]]:
        """How far it is, without secrets."""
        stored = await self._registry.stored(NAME)
        certificate = _certificate(stored.get("mtls_certificate", ""))
        shown = await self._registry.shown(NAME)
        return [
            ("url", shown["url"]),
            ("API credential", bool(stored.get("api_key") and stored.get("api_secret"))),
            ("mTLS certificate", certificate.subject if certificate else None),
            ("issued by", certificate.issuer if certificate else None),
            ("expires", f"{certificate.not_after:%Y-%m-%d}" if certificate else None),
            ("CSR waits for its certificate", bool(stored.get("new_mtls_key"))),
            ("next", self._next(stored, certificate)),
        ]

    def _next(self, stored: Mapping[str, Any], certificate: Certificate | None) -> str:
        if not (stored.get("api_key") and stored.get("api_secret")):
            return "give the API credential: smimefilter atlas setup key"
        if stored.get("new_mtls_key"):
            return "bring the certificate of the CSR: smimefilter atlas setup certificate FILE"
        if certificate is None:
            return "make a CSR for mutual TLS: smimefilter atlas setup csr"
        if certificate.not_after <= self._clock():
            return "its certificate has expired; make a CSR: smimefilter atlas setup csr"
        return "nothing is missing; try it: smimefilter handler test atlas"

    async def _keep(self, changes: Mapping[str, Any], what: str) -> list[str]:
        record = AuditRecord(self._clock(), NAME, "configured", what)
        return await self._registry.configure(NAME, changes, record)


def _loaded(pem: str) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError):
        raise AdminError(
            "the key for mutual TLS in the settings cannot be read",
            mend="make another one: smimefilter atlas setup csr --anew",
        ) from None


def _certificate(pem: str) -> Certificate | None:
    try:
        return next(iter(read_keyfile(pem.encode(), keys=False).certificates), None)
    except UnreadableKeyFile:
        return None


def _csr(key: PrivateKeyTypes, common_name: str) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    signer, digest = signing_digest(key, "sha256")
    csr = x509.CertificateSigningRequestBuilder(name).sign(signer, digest)
    return csr.public_bytes(Encoding.PEM)
