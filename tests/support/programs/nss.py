"""`cmsutil` of NSS, the library of Thunderbird, which knows CMS and no MIME."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.support.needs import need
from tests.support.readers import PASSWORD, cms_of, is_clear_signed, pem, signed_of

from .mime import clear_mail, opaque_mail
from .program import (
    AGREEMENTS,
    SIGNATURES,
    Kind,
    Opened,
    Papers,
    Program,
    Refused,
    Setup,
    no_option,
    run,
    written,
)

_SIGNER: Final = re.compile(rb'signer0\.id="([^"]*)"')
_GOOD: Final = b"signer0.status=GoodSignature"
_CONTENT: Final = b"level=0.1; type=data; \n"
_CIPHERS: Final = frozenset({Kind.AES_256_CBC, Kind.AES_128_CBC, Kind.TRIPLE_DES, Kind.RC2})


class Nss(Program):
    """It chooses the cipher by itself: AES-128-CBC for those of whom it knows nothing."""

    name = "cmsutil"
    can_read = SIGNATURES | _CIPHERS
    can_write = frozenset({Kind.CLEAR, Kind.OPAQUE, Kind.ECDSA, Kind.AES_128_CBC})

    def __init__(self, setup: Setup) -> None:
        self._program = need("cmsutil")
        self._folder = setup.folder
        self._store = f"sql:{setup.folder}"
        self._certutil = need("certutil")
        self._user = setup.user
        run(self._certutil, "-N", "-d", self._store, "--empty-password")
        self._import("root", pem(setup.root), "CT,C,C")
        identity = written(setup.folder / "import", setup.user.pkcs12())
        keys = ("-d", self._store, "-K", "", "-i", identity, "-W", PASSWORD)
        run(need("pk12util"), *keys)

    def version(self) -> str:
        done = run("dpkg-query", "--show", "--showformat", "${Version}", "libnss3")
        return f"NSS {done.stdout.decode()}"

    def verify(self, mail: bytes) -> Opened:
        detached: tuple[str | Path, ...] = ()
        if is_clear_signed(mail):
            content, cms = signed_of(mail)
            detached = ("-c", written(self._folder / "content", content))
        else:
            cms = cms_of(mail)
        levels, content = self._decode(cms, *detached)
        signer = _SIGNER.search(levels)
        if _GOOD not in levels or not signer:
            raise Refused(levels.decode(errors="replace"))
        return Opened(content, valid=True, signer=signer[1].decode())

    def decrypt(self, mail: bytes) -> Opened:
        _, content = self._decode(cms_of(mail))
        return Opened(content)

    def sign(self, entity: bytes, headers: bytes, kind: Kind = Kind.CLEAR) -> bytes:
        if kind in {Kind.PSS, Kind.PSS_LONG}:
            raise no_option(kind)
        detached = () if kind is Kind.OPAQUE else ("-T",)
        signer = ("-N", self._user.address, "-G", "-P", "-Y", self._user.address)
        cms = self._write(entity, "-S", *signer, *detached)
        if kind is Kind.OPAQUE:
            return opaque_mail(headers, cms, "signed-data")
        return clear_mail(headers, entity, cms, "sha-256")

    def encrypt(
        self, entity: bytes, headers: bytes, recipients: Sequence[Papers], kind: Kind
    ) -> bytes:
        if kind not in {Kind.AES_128_CBC, *AGREEMENTS}:
            raise no_option(kind)
        for who in recipients:
            self._import(who.address, who.certificate, ",,")
        addresses = ",".join(who.address for who in recipients)
        cms = self._write(entity, "-E", "-r", addresses)
        return opaque_mail(headers, cms, "enveloped-data")

    def _import(self, name: str, certificate: bytes, trust: str) -> None:
        file = written(self._folder / "import", certificate)
        run(self._certutil, "-A", "-d", self._store, "-n", name, "-t", trust, "-a", "-i", file)

    def _decode(self, cms: bytes, *arguments: str | Path) -> tuple[bytes, bytes]:
        """What it says about the levels, and the content."""
        source = ("-i", written(self._folder / "cms", cms))
        store = ("-d", self._store, "-h", "0")
        report = run(self._program, "-D", *store, *source, *arguments).stdout
        levels, found, content = report.partition(_CONTENT)
        if not found:
            raise Refused(report[:500].decode(errors="replace"))
        return levels, content

    def _write(self, entity: bytes, *arguments: str) -> bytes:
        source = written(self._folder / "entity", entity)
        output = self._folder / "output"
        run(self._program, *arguments, "-d", self._store, "-i", source, "-o", output)
        return output.read_bytes()
