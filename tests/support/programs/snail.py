"""s-nail, a user's whole mail program: it reads an mbox and writes MIME of its own.

What it writes goes to a file instead of a mail server (`mta=test`). It reads by openssl's
older PKCS #7 functions, and gives back what it decrypts as a mail in an mbox: LF, and a blank
line at the end.
"""

from __future__ import annotations

import email
import email.message
import email.policy
import email.utils
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.support.needs import need
from tests.support.readers import is_clear_signed, pem, signed_of

from .mime import crlf
from .program import Kind, Opened, Papers, Program, Refused, Setup, no_option, run, written

_FROM_LINE: Final = b"From MAILER-DAEMON Thu Jan  1 00:00:00 2026\n"
_DECODED: Final = re.compile(rb"\nX-Decoding-Date: [^\n]*\n")
_CIPHERS: Final = {
    Kind.AES_256_CBC: "AES256",
    Kind.AES_128_CBC: "AES128",
    Kind.AES_256_GCM: "id-aes256-GCM",
    Kind.TRIPLE_DES: "DES3",
    Kind.RC2: "RC2-CBC",
}


class Snail(Program):
    """Clear-signed mails, CBC and RSA by PKCS #1 v1.5."""

    name = "s-nail"
    can_read = frozenset(
        {Kind.CLEAR, Kind.ECDSA, Kind.AES_256_CBC, Kind.AES_128_CBC, Kind.TRIPLE_DES}
    )
    can_write = can_read
    composes = True
    cannot_carry = frozenset({"alternative"})
    # The blank line before the mail within is gone from what it decrypts.
    garbles = frozenset({"mail within"})

    def __init__(self, setup: Setup) -> None:
        self._program = need("s-nail")
        self._folder = setup.folder
        self._user = setup.user
        root = written(setup.folder / "root.pem", pem(setup.root))
        pair = written(setup.folder / "pair.pem", setup.user.key + setup.user.certificate)
        chain = written(setup.folder / "chain.pem", setup.user.chain)
        self._settings = {
            "v15-compat": "yes",
            "ttycharset": "utf-8",
            "smime-ca-no-defaults": "yes",
            "smime-ca-file": str(root),
            f"smime-sign-cert-{setup.user.address}": str(pair),
            f"smime-sign-include-certs-{setup.user.address}": str(chain),
            f"smime-sign-digest-{setup.user.address}": "SHA256",
        }

    def version(self) -> str:
        return run(self._program, "--version").stdout.decode().partition("\n")[0]

    # reading

    def verify(self, mail: bytes) -> Opened:
        said = self._ask(mail, "verify 1")
        if "verified successfully" not in said:
            raise Refused(said)
        if not is_clear_signed(mail):
            raise Refused(f"verified, but shows no content: {said}")
        # It compares the certificate with the sender, and names nobody.
        sender = email.message_from_bytes(mail.partition(b"\r\n\r\n")[0])["From"]
        return Opened(signed_of(mail).content, valid=True, signer=_address(sender))

    def decrypt(self, mail: bytes) -> Opened:
        output = self._folder / "decrypted"
        output.unlink(missing_ok=True)
        said = self._ask(mail, f"decrypt 1 {output}")
        # Where it cannot decrypt, it says so and copies the mail as it is.
        found = _DECODED.search(content := output.read_bytes())
        if not found:
            raise Refused(said)
        return Opened(crlf(content[found.end() :].removesuffix(b"\n")))

    def _ask(self, mail: bytes, command: str) -> str:
        content = _FROM_LINE + mail.replace(b"\r\n", b"\n") + b"\n"
        mbox = written(self._folder / "mbox", content)
        done = self._run({}, "-R", "-#", "-f", mbox, stdin=f"{command}\nxit\n".encode())
        return (done.stdout + done.stderr).decode(errors="replace").strip()

    # writing

    def sign(self, entity: bytes, headers: bytes, kind: Kind = Kind.CLEAR) -> bytes:
        if kind not in {Kind.CLEAR, Kind.ECDSA}:
            raise no_option(kind)
        return self._send(entity, headers, {"smime-sign": "yes"})

    def encrypt(
        self, entity: bytes, headers: bytes, recipients: Sequence[Papers], kind: Kind
    ) -> bytes:
        return self._send(entity, headers, self._encrypting(recipients, kind))

    def sign_and_encrypt(
        self,
        entity: bytes,
        headers: bytes,
        recipients: Sequence[Papers],
        kinds: tuple[Kind, Kind],
    ) -> bytes:
        signing, encrypting = kinds
        if signing not in {Kind.CLEAR, Kind.ECDSA}:
            raise no_option(signing)
        both = {"smime-sign": "yes", **self._encrypting(recipients, encrypting)}
        return self._send(entity, headers, both)

    def _encrypting(self, recipients: Sequence[Papers], kind: Kind) -> dict[str, str]:
        if kind is Kind.OAEP:
            raise no_option(kind)
        settings = {"smime-force-encryption": "yes"}
        for number, who in enumerate(recipients):
            file = written(self._folder / f"recipient{number}.pem", who.certificate)
            settings[f"smime-encrypt-{who.address}"] = str(file)
            settings[f"smime-cipher-{who.address}"] = _CIPHERS.get(kind, "AES256")
        return settings

    def _send(self, entity: bytes, headers: bytes, settings: dict[str, str]) -> bytes:
        """The mail that the user writes: its text typed, the rest attached."""
        header = email.message_from_bytes(headers, policy=email.policy.default)
        text, *attachments = _pieces(entity)
        arguments: list[str | Path] = ["-s", str(header["Subject"])]
        for number, part in enumerate(attachments):
            arguments += ["-a", self._attachment(part, number)]
        outbox = self._folder / "outbox"
        outbox.unlink(missing_ok=True)
        settings = {"mta": f"test://{outbox}", "from": str(header["From"]), **settings}
        content = text.get_payload(decode=True)
        assert isinstance(content, bytes)
        if not attachments:
            arguments += ["-M", text.get_content_type()]
        arguments.append(str(header["To"]))
        self._run(settings, *arguments, stdin=content.replace(b"\r\n", b"\n"))
        from_line, _, mail = outbox.read_bytes().partition(b"\n")
        assert from_line.startswith(b"From ")
        return crlf(mail.removesuffix(b"\n"))

    def _attachment(self, part: email.message.Message, number: int) -> Path:
        if part.get_content_type() == "message/rfc822":
            (inner,) = part.get_payload()
            return written(self._folder / f"{number}.eml", inner.as_bytes())
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        return written(self._folder / (part.get_filename() or f"{number}.bin"), content)

    def _run(
        self, settings: dict[str, str], *arguments: str | Path, stdin: bytes
    ) -> subprocess.CompletedProcess[bytes]:
        every = (f"-S{name}={value}" for name, value in {**self._settings, **settings}.items())
        home = {"HOME": str(self._folder)}
        return run(self._program, "-:/", *every, *arguments, stdin=stdin, environment=home)


def _pieces(entity: bytes) -> list[email.message.Message]:
    """The text first, then what is attached to it. Raises `Refused`."""
    whole = email.message_from_bytes(entity)
    if not whole.is_multipart():
        return [whole]
    if whole.get_content_type() != "multipart/mixed":
        raise Refused(f"does not compose {whole.get_content_type()}")
    parts = whole.get_payload()
    assert isinstance(parts, list)
    return parts


def _address(sender: str) -> str:
    return email.utils.parseaddr(sender)[1]
