"""BouncyCastle with JavaMail: S/MIME of Java programs, behind a small server in Java.

One process serves all users: a request holds all there is to know. Source and protocol are
`BouncyCastle.java`.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, ClassVar, Final

from tests.support.needs import need, need_file
from tests.support.readers import pem

from .program import LIMIT, Kind, Opened, Papers, Program, Refused, Setup, no_option

_SOURCE: Final = Path(__file__).with_name("BouncyCastle.java")
_JARS: Final = {  # Debian package by file
    "bcmail.jar": "libbcmail-java",
    "bcpkix.jar": "libbcpkix-java",
    "bcutil.jar": "libbcutil-java",
    "bcprov.jar": "libbcprov-java",
    "javax.mail.jar": "libmail-java",
    "javax.activation.jar": "libactivation-java",
}
_OPTIONS: Final = ("-Xmx1g", "-XX:+UseSerialGC")
_PIECE: Final = 1 << 20


class BouncyCastle(Program):
    """Everything but X25519."""

    name = "BouncyCastle"
    can_read = frozenset(Kind) - {Kind.X25519}
    can_write = can_read - {Kind.PSS_LONG}
    composes = True  # adds a Content-Transfer-Encoding

    def __init__(self, setup: Setup) -> None:
        self._root = pem(setup.root)
        self._identity = setup.user.pkcs12()
        self._server = _Server.shared(setup.folder)

    def version(self) -> str:
        (version,) = self._server.ask(b"version")
        return version.decode()

    def verify(self, mail: bytes) -> Opened:
        content, subject = self._server.ask(b"verify", self._root, mail)
        return Opened(content, valid=True, signer=subject.decode().removeprefix("CN="))

    def decrypt(self, mail: bytes) -> Opened:
        (content,) = self._server.ask(b"decrypt", self._identity, mail)
        return Opened(content)

    def sign(self, entity: bytes, headers: bytes, kind: Kind = Kind.CLEAR) -> bytes:
        if kind is Kind.PSS_LONG:
            raise no_option(kind)
        (signed,) = self._server.ask(
            b"sign", self._identity, kind.name.lower().encode(), entity
        )
        return headers + signed

    def encrypt(
        self, entity: bytes, headers: bytes, recipients: Sequence[Papers], kind: Kind
    ) -> bytes:
        certificates = [who.certificate for who in recipients]
        (encrypted,) = self._server.ask(b"encrypt", kind.encode(), entity, *certificates)
        return headers + encrypted

    def close(self) -> None:
        self._server.release()


class _Server:
    """The Java process, shared by those who use it and ended by the last of them."""

    _one: ClassVar[_Server | None] = None

    def __init__(self, folder: Path) -> None:
        jars = [need_file(Path("/usr/share/java") / jar, _JARS[jar]) for jar in _JARS]
        path = os.pathsep.join(map(str, jars))
        self._said = folder / "said"
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [need("java"), *_OPTIONS, "-cp", path, _SOURCE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
            )
        self._users = 0

    @classmethod
    def shared(cls, folder: Path) -> _Server:
        cls._one = cls._one or cls(folder)
        cls._one._users += 1
        return cls._one

    def release(self) -> None:
        self._users -= 1
        if not self._users:
            type(self)._one = None
            self._process.kill()
            self._process.communicate()

    def ask(self, *parts: bytes) -> list[bytes]:
        """The answer to a request. Raises `Refused`, and `TimeoutError` after `LIMIT`."""
        pipe = self._process.stdin
        assert pipe
        try:
            pipe.write(_number(len(parts)))
            for part in parts:
                pipe.write(_number(len(part)) + part)
            pipe.flush()
            outcome, *answer = self._answer()
        except (BrokenPipeError, EOFError):
            raise RuntimeError(self._said.read_text(errors="replace")) from None
        if outcome != b"ok":
            raise Refused(answer[0].decode(errors="replace"))
        return answer

    def _answer(self) -> list[bytes]:
        deadline = time.monotonic() + LIMIT
        pipe = self._process.stdout
        assert pipe
        number = int.from_bytes(_read(pipe, 4, deadline), "big")
        return [
            _read(pipe, int.from_bytes(_read(pipe, 4, deadline), "big"), deadline)
            for _ in range(number)
        ]


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _read(pipe: IO[bytes], size: int, deadline: float) -> bytes:
    content = bytearray()
    while len(content) < size:
        ready, _, _ = select.select([pipe], [], [], deadline - time.monotonic())
        if not ready:
            raise TimeoutError(f"no answer within {LIMIT:.0f} s")
        piece = os.read(pipe.fileno(), min(size - len(content), _PIECE))
        if not piece:
            raise EOFError
        content += piece
    return bytes(content)
