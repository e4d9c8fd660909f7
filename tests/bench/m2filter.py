"""What somebody would write in an afternoon: a filter of aiosmtpd and M2Crypto that signs and
encrypts each mail and hands it on with smtplib, to be measured beside ours.

`python -m tests.bench.m2filter KEY CERTIFICATE RECIPIENT NEXT-HOP-PORT PORT`; prints its
port when it listens.
"""

from __future__ import annotations

import smtplib
import sys
import threading
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope
from M2Crypto import BIO, SMIME, X509

HEADERS = (b"From", b"To", b"Subject", b"Message-ID", b"Date")


class Filter:
    """Keeps what does not change from mail to mail."""

    def __init__(self, key: str, certificate: str, recipient: str, port: int) -> None:
        self._smime = SMIME.SMIME()
        self._smime.load_key(key, certificate)
        stack = X509.X509_Stack()
        stack.push(X509.load_cert(recipient))
        self._smime.set_x509_stack(stack)
        self._smime.set_cipher(SMIME.Cipher("aes_256_cbc"))
        self._port = port
        self._hop: smtplib.SMTP | None = None

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        assert isinstance(content, bytes)
        head, _, body = content.partition(b"\r\n\r\n")
        kept = [one for one in head.split(b"\r\n") if one.partition(b":")[0] in HEADERS]
        inner = b"Content-Type: text/plain; charset=us-ascii\r\n\r\n" + body
        signed = BIO.MemoryBuffer()
        flags = SMIME.PKCS7_DETACHED
        signature = self._smime.sign(BIO.MemoryBuffer(inner), flags, algo="sha256")
        self._smime.write(signed, signature, BIO.MemoryBuffer(inner), flags)
        out = BIO.MemoryBuffer()
        self._smime.write(out, self._smime.encrypt(signed))
        if self._hop is None:
            self._hop = smtplib.SMTP("127.0.0.1", self._port)
        mail = b"\r\n".join(kept) + b"\r\n" + out.read()
        self._hop.sendmail(str(envelope.mail_from), envelope.rcpt_tos, mail)
        return "250 Ok"


def main() -> None:
    """Serve until stopped."""
    key, certificate, recipient, hop, port = sys.argv[1:]
    controller = Controller(
        Filter(key, certificate, recipient, int(hop)), hostname="127.0.0.1", port=int(port)
    )
    controller.start()
    print(port, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
