"""Crypt::SMIME, the S/MIME of Perl programs: openssl's CMS with choices of its own.

It takes whole mails, and copies the subject into what it protects.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.support.needs import need, need_perl
from tests.support.readers import pem

from .mime import common_name, crlf
from .program import (
    AGREEMENTS,
    Kind,
    Opened,
    Papers,
    Program,
    Setup,
    no_option,
    run,
    written,
)

_SCRIPT: Final = Path(__file__).with_suffix(".pl")
_SUBJECT: Final = re.compile(rb"(?mi)^Subject:.*\r\n(?:[ \t].*\r\n)*")


class CryptSmime(Program):
    """Reads what openssl reads, without its legacy ciphers. Writes AES-128-CBC."""

    name = "Crypt::SMIME"
    can_read = frozenset(Kind) - {Kind.RC2, Kind.X25519}
    can_write = frozenset({Kind.CLEAR, Kind.ECDSA, Kind.AES_128_CBC}) | AGREEMENTS - {
        Kind.X25519
    }

    def __init__(self, setup: Setup) -> None:
        self._perl = need("perl")
        need_perl("Crypt::SMIME")
        self._folder = setup.folder
        self._root = written(setup.folder / "root.pem", pem(setup.root))
        self._certificate = written(setup.folder / "user.pem", setup.user.certificate)
        self._key = written(setup.folder / "user.key", setup.user.key)
        self._chain = written(setup.folder / "chain.pem", setup.user.chain)

    def version(self) -> str:
        told = run(self._perl, "-MCrypt::SMIME", "-e", "print Crypt::SMIME->VERSION").stdout
        return told.decode()

    def verify(self, mail: bytes) -> Opened:
        content, signers = self._run("verify", mail, self._root)
        return Opened(content, valid=True, signer=common_name(signers))

    def decrypt(self, mail: bytes) -> Opened:
        content, _ = self._run("decrypt", mail, self._key, self._certificate)
        return Opened(content)

    def within(self, entity: bytes, headers: bytes) -> bytes:
        subject = _SUBJECT.search(headers)
        return (subject[0] if subject else b"") + entity

    def sign(self, entity: bytes, headers: bytes, kind: Kind = Kind.CLEAR) -> bytes:
        if kind not in {Kind.CLEAR, Kind.ECDSA}:
            raise no_option(kind)
        papers = (self._key, self._certificate, self._chain)
        mail, _ = self._run("sign", headers + entity, *papers)
        return crlf(mail)

    def encrypt(
        self, entity: bytes, headers: bytes, recipients: Sequence[Papers], kind: Kind
    ) -> bytes:
        if kind not in {Kind.AES_128_CBC, *AGREEMENTS}:
            raise no_option(kind)
        files = [
            written(self._folder / f"recipient{number}.pem", who.certificate)
            for number, who in enumerate(recipients)
        ]
        mail, _ = self._run("encrypt", headers + entity, *files)
        return crlf(mail)

    def sign_and_encrypt(
        self,
        entity: bytes,
        headers: bytes,
        recipients: Sequence[Papers],
        kinds: tuple[Kind, Kind],
    ) -> bytes:
        signing, encrypting = kinds
        return self.encrypt(self.sign(entity, headers, signing), b"", recipients, encrypting)

    def _run(self, action: str, mail: bytes, *papers: Path) -> tuple[bytes, bytes]:
        """What came out, and what was said besides."""
        source, output = written(self._folder / "source", mail), self._folder / "output"
        said = run(self._perl, _SCRIPT, action, source, output, *papers).stdout
        return output.read_bytes(), said
