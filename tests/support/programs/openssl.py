"""`openssl cms`, which takes and gives mails as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tests.support.needs import need
from tests.support.readers import is_clear_signed, pem

from .mime import common_name, crlf
from .program import (
    Kind,
    Opened,
    Papers,
    Program,
    Setup,
    first_line,
    run,
    written,
)

_CIPHERS: Final = {
    Kind.AES_128_CBC: "-aes-128-cbc",
    Kind.AES_256_GCM: "-aes-256-gcm",
    Kind.TRIPLE_DES: "-des3",
    Kind.RC2: "-rc2-128",
}
_PSS: Final = {
    Kind.PSS: ("-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:digest"),
    Kind.PSS_LONG: ("-keyopt", "rsa_padding_mode:pss"),  # what it does by itself
}
_PROVIDERS: Final = ("-provider", "default", "-provider", "legacy")  # legacy has RC2


class Openssl(Program):
    """All kinds but X25519, which came with a later version."""

    name = "openssl"
    can_read = frozenset(Kind) - {Kind.X25519}
    can_write = frozenset(Kind) - {Kind.X25519}

    def __init__(self, setup: Setup) -> None:
        self._program = need("openssl")
        self._folder = setup.folder
        self._root = written(setup.folder / "root.pem", pem(setup.root))
        self._certificate = written(setup.folder / "user.pem", setup.user.certificate)
        self._key = written(setup.folder / "user.key", setup.user.key)
        self._chain = written(setup.folder / "chain.pem", setup.user.chain)

    def version(self) -> str:
        return first_line(run(self._program, "version").stdout)

    def verify(self, mail: bytes) -> Opened:
        # Detached content is text to it unless told otherwise, as it is to a mail program.
        as_it_is = () if is_clear_signed(mail) else ("-binary",)
        signer = self._folder / "signer.pem"
        content = self._read(
            mail, "-verify", "-CAfile", self._root, "-signer", signer, *as_it_is
        )
        return Opened(content, valid=True, signer=common_name(signer.read_bytes()))

    def decrypt(self, mail: bytes) -> Opened:
        keys = ("-inkey", self._key, "-recip", self._certificate)
        return Opened(self._read(mail, "-decrypt", "-binary", *keys))

    def sign(self, entity: bytes, headers: bytes, kind: Kind = Kind.CLEAR) -> bytes:
        keys = ("-signer", self._certificate, "-inkey", self._key, "-certfile", self._chain)
        opaque = ("-nodetach",) if kind is Kind.OPAQUE else ()
        pss = _PSS.get(kind, ())
        return self._write(entity, headers, "-sign", "-md", "sha256", *keys, *pss, *opaque)

    def encrypt(
        self, entity: bytes, headers: bytes, recipients: Sequence[Papers], kind: Kind
    ) -> bytes:
        cipher = _CIPHERS.get(kind, "-aes-256-cbc")
        arguments = [cipher]
        for number, who in enumerate(recipients):
            file = written(self._folder / f"recipient{number}.pem", who.certificate)
            arguments += ["-recip", str(file)]
            if kind is Kind.OAEP:
                arguments += ["-keyopt", "rsa_padding_mode:oaep"]
                arguments += ["-keyopt", "rsa_oaep_md:sha256"]
        return self._write(entity, headers, "-encrypt", *arguments)

    def _read(self, mail: bytes, *arguments: object) -> bytes:
        content = self._folder / "content"
        self._run(mail, "-inform", "SMIME", "-out", content, *arguments)
        return content.read_bytes()

    def _write(self, entity: bytes, headers: bytes, *arguments: object) -> bytes:
        mail = self._folder / "mail"
        self._run(entity, "-binary", "-outform", "SMIME", "-out", mail, *arguments)
        return headers + crlf(mail.read_bytes())

    def _run(self, content: bytes, *arguments: object) -> None:
        source = written(self._folder / "source", content)
        run(self._program, "cms", *_PROVIDERS, "-in", source, *map(str, arguments))
