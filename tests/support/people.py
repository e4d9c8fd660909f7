"""A small PKI as files, as an administrator has them: roots, certificates, PKCS#12, CRLs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from smimefilter.pki.export import certificates_pem, identity_pkcs12
from tests.support.pki import Issued, root

PASSWORD = "kept in a file"


class People:
    """A root, an intermediate, and whoever gets a certificate, with files in `folder`.

    Their certificates are valid now, by the clock: they are for programs that look at it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.root = self._valid(root)
        self.authority = self._valid(self.root.issue, "Test Sub CA", ca=True)
        self.issued: dict[str, Issued] = {}
        self.password_file = self._write("password", PASSWORD.encode())
        self.root_file = self._write("root.pem", certificates_pem([self.root.certificate]))
        self.authority_file = self._write(
            "authority.pem", certificates_pem([self.authority.certificate])
        )

    def add(self, address: str, **special: Any) -> Issued:
        """Somebody with a certificate; `certificate` and `identity` give it as files."""
        issue = self.authority.issue
        name = special.pop("name", address.partition("@")[0])
        self.issued[address] = self._valid(issue, name, mail=address, **special)
        return self.issued[address]

    def certificate(self, address: str) -> Path:
        """The certificate as PEM."""
        content = certificates_pem([self.issued[address].certificate])
        return self._write(f"{address}.pem", content)

    def identity(self, address: str, *, old: bool = False) -> Path:
        """Certificate, chain and key as PKCS#12 under `PASSWORD`; `old`: 3DES."""
        issued = self.issued[address]
        content = identity_pkcs12(issued.identity, PASSWORD, name=address, old=old)
        return self._write(f"{address}.p12", content)

    def crl(self, *addresses: str) -> Path:
        """A CRL of the intermediate that revokes these people."""
        revoked = [self.issued[address] for address in addresses]
        hour, week = timedelta(hours=1), timedelta(days=7)
        content = self.authority.crl(
            revoked, this_update=self.now - hour, next_update=self.now + week
        )
        return self._write("authority.crl", content)

    def _valid(self, make: Any, *args: Any, **special: Any) -> Issued:
        day, year = timedelta(days=1), timedelta(days=365)
        special.setdefault("not_before", self.now - 400 * day)
        special.setdefault("not_after", self.now + year)
        issued = make(*args, **special)
        assert isinstance(issued, Issued)
        return issued

    def _write(self, name: str, content: bytes) -> Path:
        file = self.folder / name
        file.write_bytes(content)
        return file
