"""`gpgsm`, which knows CMS and no MIME, with a home where the root is trusted.

Its home has a short name, because its agent's socket lies there; the agent is ended by
`close`.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.support.needs import need
from tests.support.readers import PASSWORD, cms_of, is_clear_signed, pem, signed_of

from .mime import clear_mail, opaque_mail
from .program import (
    Kind,
    Opened,
    Papers,
    Program,
    Refused,
    Setup,
    first_line,
    no_option,
    run,
    written,
)

_CIPHERS: Final = {
    Kind.AES_128_CBC: "AES128",
    Kind.TRIPLE_DES: "3DES",
    Kind.RC2: "RC2",
    Kind.AES_256_GCM: "AES256-GCM",
}
# Keys are protected less slowly than they should be: half a second of each use is saved.
_AGENT: Final = "allow-loopback-pinentry\ns2k-count 65536\n"
_TRIES: Final = 4
_SIGNER: Final = re.compile(r'Good signature from "/CN=([^"/]+)"')


class Gpgsm(Program):
    """CBC and RSA by PKCS #1 v1.5, and ECDSA."""

    name = "gpgsm"
    can_read = frozenset(
        {
            Kind.CLEAR,
            Kind.OPAQUE,
            Kind.PSS,
            Kind.ECDSA,
            Kind.AES_256_CBC,
            Kind.AES_128_CBC,
            Kind.TRIPLE_DES,
        }
    )
    can_write = can_read - {Kind.PSS, Kind.ECDSA}

    def __init__(self, setup: Setup) -> None:
        self._program = need("gpgsm")
        self._home = Path(tempfile.mkdtemp(prefix="gpgsm"))
        self._user = setup.user
        try:
            self._furnish(setup)
        except BaseException:
            self.close()
            raise

    def _furnish(self, setup: Setup) -> None:
        home = self._home
        (home / "gpgsm.conf").write_text("batch\ndisable-crl-checks\nno-secmem-warning\n")
        (home / "gpg-agent.conf").write_text(_AGENT)
        (home / "trustlist.txt").write_text(f"{setup.root.sha1.upper()} S relax\n")
        self._import(pem(setup.root))
        self._import(setup.user.chain)
        self._import_key(setup.user)

    def _import_key(self, user: Papers) -> None:
        """gpgsm 2.2 cannot read one PKCS #12 file in forty, which is good to all others: then
        the same key in another file, salted anew, does."""
        for tries_left in reversed(range(_TRIES)):
            try:
                self._import(user.pkcs12())
            except Refused:
                if not tries_left:
                    raise
            else:
                return

    def version(self) -> str:
        return first_line(run(self._program, "--version").stdout)

    def verify(self, mail: bytes) -> Opened:
        if is_clear_signed(mail):
            content, signature = signed_of(mail)
            said = self._run(
                "--verify",
                written(self._home / "signature", signature),
                written(self._home / "content", content),
            )
        else:
            output = self._output()
            cms = written(self._home / "cms", cms_of(mail))
            said = self._run("--output", output, "--verify", cms)
            content = output.read_bytes()
        signer = _SIGNER.search(said)
        return Opened(content, valid=bool(signer), signer=signer[1] if signer else "")

    def decrypt(self, mail: bytes) -> Opened:
        output = self._output()
        cms = written(self._home / "cms", cms_of(mail))
        try:
            self._run("--status-fd", "2", "--output", output, "--decrypt", cms)
        except Refused as error:
            # Its exit code also speaks of other recipients, whose certificates it has not.
            if "DECRYPTION_OKAY" not in str(error):
                raise
        return Opened(output.read_bytes())

    def sign(self, entity: bytes, headers: bytes, kind: Kind = Kind.CLEAR) -> bytes:
        way = "--sign" if kind is Kind.OPAQUE else "--detach-sign"
        if kind in {Kind.PSS, Kind.PSS_LONG}:
            raise no_option(kind)
        signer = ("--local-user", _id(self._user), "--digest-algo", "SHA256")
        cms = self._write(entity, *signer, way)
        if kind is Kind.OPAQUE:
            return opaque_mail(headers, cms, "signed-data")
        return clear_mail(headers, entity, cms, "sha-256")

    def encrypt(
        self, entity: bytes, headers: bytes, recipients: Sequence[Papers], kind: Kind
    ) -> bytes:
        if kind is Kind.OAEP:
            raise no_option(kind)
        arguments = ["--cipher-algo", _CIPHERS.get(kind, "AES256")]
        for who in recipients:
            self._import(who.chain + who.certificate)
            arguments += ["--recipient", _id(who)]
        cms = self._write(entity, *arguments, "--encrypt")
        return opaque_mail(headers, cms, "enveloped-data")

    def close(self) -> None:
        run(need("gpgconf"), "--homedir", self._home, "--kill", "all")
        shutil.rmtree(self._home, ignore_errors=True)

    def _import(self, content: bytes) -> None:
        self._run("--import", written(self._home / "import", content))

    def _output(self) -> Path:
        output = self._home / "output"
        output.unlink(missing_ok=True)
        return output

    def _write(self, entity: bytes, *arguments: str) -> bytes:
        output = self._output()
        source = written(self._home / "entity", entity)
        self._run("--output", output, *arguments, source)
        return output.read_bytes()

    def _run(self, *arguments: str | Path) -> str:
        loopback = ("--yes", "--pinentry-mode", "loopback", "--passphrase-fd", "0")
        home = {"GNUPGHOME": str(self._home)}
        stdin = f"{PASSWORD}\n".encode()
        done = run(self._program, *loopback, *arguments, environment=home, stdin=stdin)
        return done.stderr.decode(errors="replace")


def _id(who: Papers) -> str:
    certificate = x509.load_pem_x509_certificate(who.certificate)
    return f"0x{certificate.fingerprint(hashes.SHA1()).hex().upper()}"  # noqa: S303
