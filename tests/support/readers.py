"""Other programs that read S/MIME: openssl, gpgsm, and cmsutil of NSS.

Each reader gets whole mails, as a recipient would, and gives back the entity that was
protected. `Unreadable` carries what the program said. Certificates for readers have to be
valid now, because the programs look at the clock: `issue_now`.

gpgsm and cmsutil know CMS but no MIME: for them the standard library's parser, and a split at
the boundary, take the place of the mail program.
"""

from __future__ import annotations

import binascii
import email
import email.message
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from smimefilter.pki.certificate import Certificate

from .needs import need
from .pki import Issued, root

PASSWORD: Final = "pw"
_MULTIPART: Final = re.compile(
    rb"--(?P<boundary>[^\r\n]+)\r\n(?P<content>.*)\r\n--(?P=boundary)\r\n.*?\r\n\r\n"
    rb"(?P<signature>.*)\r\n--(?P=boundary)--",
    re.DOTALL,
)


class Unreadable(AssertionError):
    """A program could not read a mail, or does not take its signature for good."""


class Signed(NamedTuple):
    """A clear-signed mail, taken apart."""

    content: bytes
    signature: bytes  # DER


def issue_now(issuer: Issued | None, name: str, **special: Any) -> Issued:
    """A certificate that is valid at this moment; a root when there is no issuer."""
    now = datetime.now(UTC)
    special |= {"not_before": now - timedelta(days=1), "not_after": now + timedelta(days=90)}
    return issuer.issue(name, **special) if issuer else root(name, **special)


def cms_of(mail: bytes) -> bytes:
    """The CMS of an application/pkcs7-mime mail, DER."""
    head, body = _taken_apart(mail)
    assert head["Content-Transfer-Encoding"] == "base64"
    return binascii.a2b_base64(body)


def signed_of(mail: bytes) -> Signed:
    """The parts of a multipart/signed mail; the content as its bytes are in the mail."""
    head, body = _taken_apart(mail)
    assert head.get_content_type() == "multipart/signed"
    match = _MULTIPART.search(body)
    assert match
    assert match["boundary"].decode() == head.get_boundary()
    return Signed(match["content"], binascii.a2b_base64(match["signature"]))


def is_clear_signed(mail: bytes) -> bool:
    return _taken_apart(mail)[0].get_content_type() == "multipart/signed"


def _taken_apart(mail: bytes) -> tuple[email.message.Message, bytes]:
    """Header and body; parsing all of a large mail takes seconds."""
    head, _, body = mail.partition(b"\r\n\r\n")
    return email.message_from_bytes(head + b"\r\n\r\n"), body


def pem(certificate: Certificate) -> bytes:
    return certificate.parsed.public_bytes(Encoding.PEM)


def key_file(who: Issued) -> bytes:
    """PKCS #12 as the oldest of the readers takes it: 3DES."""
    protection = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(2000)
        .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
        .hmac_hash(hashes.SHA1())  # noqa: S303 - what gpgsm reads
        .build(PASSWORD.encode())
    )
    name = who.certificate.common_name.encode()
    chain = [certificate.parsed for certificate in who.chain]
    return pkcs12.serialize_key_and_certificates(
        name, who.key, who.certificate.parsed, chain, protection
    )


class Openssl:
    """`openssl cms`: takes mails as they are."""

    def __init__(self, folder: Path, trusted: Certificate) -> None:
        self._program = need("openssl")
        self._folder = folder
        self._root = folder / "root.pem"
        self._root.write_bytes(pem(trusted))

    def verify(self, mail: bytes) -> bytes:
        # Detached content is text to it unless told otherwise, as it is to a mail program.
        as_it_is = () if is_clear_signed(mail) else ("-binary",)
        return self._run(mail, "-verify", "-CAfile", str(self._root), "-cades", *as_it_is)

    def decrypt(self, mail: bytes, who: Issued) -> bytes:
        key, certificate = self._folder / "key.pem", self._folder / "certificate.pem"
        key.write_bytes(
            who.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        certificate.write_bytes(pem(who.certificate))
        keys = ("-inkey", str(key), "-recip", str(certificate))
        return self._run(mail, "-decrypt", "-binary", *keys)

    def _run(self, mail: bytes, *arguments: str) -> bytes:
        source, content = self._folder / "mail", self._folder / "content"
        source.write_bytes(mail)
        content.unlink(missing_ok=True)
        files = ("-in", str(source), "-out", str(content))
        _run(self._program, "cms", *arguments, "-inform", "SMIME", *files)
        return content.read_bytes()


class Gpgsm:
    """`gpgsm` with a home of its own, where the root is trusted and keys are imported."""

    def __init__(self, home: Path, trusted: Certificate, people: Iterable[Issued]) -> None:
        self._program = need("gpgsm")
        self._home = home
        (home / "gpgsm.conf").write_text("batch\ndisable-crl-checks\nno-secmem-warning\n")
        (home / "gpg-agent.conf").write_text("allow-loopback-pinentry\n")
        (home / "trustlist.txt").write_text(f"{trusted.sha1.upper()} S relax\n")
        for certificate in (trusted, *(one for who in people for one in who.chain)):
            self._run("--import", _written(home / "import", pem(certificate)))
        for who in people:
            self._import_key(who)

    def _import_key(self, who: Issued) -> None:
        """gpgsm 2.2 cannot read one PKCS #12 file in forty, which is good to all others: then
        the same key in another file, salted anew, does."""
        for attempts_left in reversed(range(4)):
            try:
                self._run("--import", _written(self._home / "import", key_file(who)))
            except Unreadable:
                if not attempts_left:
                    raise
            else:
                return

    @classmethod
    @contextmanager
    def running(cls, trusted: Certificate, people: Iterable[Issued]) -> Iterator[Gpgsm]:
        """A reader in a folder of a short name (its sockets need that), ended after use."""
        home = Path(tempfile.mkdtemp(prefix="gpgsm"))
        try:
            yield cls(home, trusted, list(people))
        finally:
            _run(need("gpgconf"), "--homedir", str(home), "--kill", "all")
            shutil.rmtree(home, ignore_errors=True)

    def verify(self, mail: bytes) -> bytes:
        if is_clear_signed(mail):
            content, signature = signed_of(mail)
            files = (
                _written(self._home / "signature", signature),
                _written(self._home / "content", content),
            )
            self._run("--verify", *files)
            return content
        output = self._home / "output"
        output.unlink(missing_ok=True)
        cms = _written(self._home / "cms", cms_of(mail))
        self._run("--output", str(output), "--verify", cms)
        return output.read_bytes()

    def decrypt(self, mail: bytes) -> bytes:
        output = self._home / "output"
        output.unlink(missing_ok=True)
        cms = _written(self._home / "cms", cms_of(mail))
        try:
            self._run("--status-fd", "2", "--output", str(output), "--decrypt", cms)
        except Unreadable as error:
            # Its exit code also speaks of other recipients, whose certificates it has not.
            if "DECRYPTION_OKAY" not in str(error):
                raise
        return output.read_bytes()

    def _run(self, *arguments: str) -> bytes:
        loopback = ("--yes", "--pinentry-mode", "loopback", "--passphrase-fd", "0")
        home = {**os.environ, "GNUPGHOME": str(self._home), "LC_ALL": "C"}
        stdin = f"{PASSWORD}\n".encode()
        return _run(self._program, *loopback, *arguments, environment=home, stdin=stdin)


class Nss:
    """`cmsutil`, on the library that Thunderbird uses."""

    def __init__(self, folder: Path, trusted: Certificate, people: Iterable[Issued]) -> None:
        self._program = need("cmsutil")
        self._folder = folder
        self._store = f"sql:{folder}"
        certutil = need("certutil")
        _run(certutil, "-N", "-d", self._store, "--empty-password")
        certificate = _written(folder / "import", trusted.der)
        trust = ("-A", "-n", "root", "-t", "CT,C,C", "-i", certificate)
        _run(certutil, "-d", self._store, *trust)
        for who in people:
            source = ("-i", _written(folder / "import", key_file(who)), "-W", PASSWORD)
            _run(need("pk12util"), "-d", self._store, "-K", "", *source)

    def verify(self, mail: bytes) -> bytes:
        if not is_clear_signed(mail):
            return self._decode(cms_of(mail), "signer0.status=GoodSignature")
        content, signature = signed_of(mail)
        detached = ("-c", _written(self._folder / "content", content))
        return self._decode(signature, "signer0.status=GoodSignature", *detached)

    def decrypt(self, mail: bytes) -> bytes:
        return self._decode(cms_of(mail), "type=envelopedData")

    def _decode(self, cms: bytes, says: str, *arguments: str) -> bytes:
        source = ("-i", _written(self._folder / "cms", cms))
        report = _run(self._program, "-D", "-d", self._store, "-h", "0", *source, *arguments)
        levels, found, content = report.partition(b"level=0.1; type=data; \n")
        if says.encode() not in levels or not found:
            raise Unreadable(f"cmsutil: {report[:500]!r}")
        return content


def _written(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def _run(
    program: Path,
    *arguments: str,
    environment: dict[str, str] | None = None,
    stdin: bytes = b"",
) -> bytes:
    done = subprocess.run(
        [str(program), *arguments],
        env=environment,
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace")
        raise Unreadable(f"{program.name} ended with {done.returncode}: {said}")
    return done.stdout
