"""M2Crypto: openssl's older PKCS #7 functions, for Python programs.

PKCS #7 knows RSA recipients by PKCS #1 v1.5, and no authenticated content.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.support.needs import need_module
from tests.support.readers import pem

from .mime import common_name, crlf
from .program import Kind, Opened, Papers, Program, Setup, no_option, run, written

_SCRIPT: Final = Path(__file__).with_name("m2crypto_script.py")
_CIPHERS: Final = {
    Kind.AES_128_CBC: "aes_128_cbc",
    Kind.AES_256_GCM: "aes_256_gcm",
    Kind.TRIPLE_DES: "des_ede3_cbc",
    Kind.RC2: "rc2_cbc",
}


class M2Crypto(Program):
    """CBC and RSA by PKCS #1 v1.5, and ECDSA."""

    name = "M2Crypto"
    can_read = frozenset(
        {
            Kind.CLEAR,
            Kind.OPAQUE,
            Kind.ECDSA,
            Kind.AES_256_CBC,
            Kind.AES_128_CBC,
            Kind.TRIPLE_DES,
        }
    )
    can_write = can_read

    def __init__(self, setup: Setup) -> None:
        need_module("M2Crypto")
        self._folder = setup.folder
        self._root = written(setup.folder / "root.pem", pem(setup.root))
        self._certificate = written(setup.folder / "user.pem", setup.user.certificate)
        self._key = written(setup.folder / "user.key", setup.user.key)
        self._chain = written(setup.folder / "chain.pem", setup.user.chain)

    def version(self) -> str:
        return importlib.metadata.version("M2Crypto")

    def verify(self, mail: bytes) -> Opened:
        content, signers = self._run("verify", mail, self._root)
        return Opened(content, valid=True, signer=common_name(signers))

    def decrypt(self, mail: bytes) -> Opened:
        content, _ = self._run("decrypt", mail, self._key, self._certificate)
        return Opened(content)

    def sign(self, entity: bytes, headers: bytes, kind: Kind = Kind.CLEAR) -> bytes:
        if kind in {Kind.PSS, Kind.PSS_LONG}:
            raise no_option(kind)
        way = "opaque" if kind is Kind.OPAQUE else "clear"
        papers = (self._key, self._certificate, self._chain)
        mail, _ = self._run("sign", entity, way, *papers)
        return headers + crlf(mail)

    def encrypt(
        self, entity: bytes, headers: bytes, recipients: Sequence[Papers], kind: Kind
    ) -> bytes:
        if kind is Kind.OAEP:
            raise no_option(kind)
        files = [
            written(self._folder / f"recipient{number}.pem", who.certificate)
            for number, who in enumerate(recipients)
        ]
        mail, _ = self._run("encrypt", entity, _CIPHERS.get(kind, "aes_256_cbc"), *files)
        return headers + crlf(mail)

    def _run(self, action: str, content: bytes, *rest: Path | str) -> tuple[bytes, bytes]:
        """What came out, and what was said besides."""
        source, output = written(self._folder / "source", content), self._folder / "output"
        said = run(sys.executable, _SCRIPT, action, source, output, *rest).stdout
        return output.read_bytes(), said
