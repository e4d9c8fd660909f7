"""A filter to measure: its own folder, a sink behind it, pinned to a core of its own."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.bench import load
from tests.support.people import People
from tests.support.program import COMMAND, Program

ALICE, BOB = "alice@in.test", "bob@out.test"
TEN = "bob@ten.test"  # ten people, nine with a number before the name
PLAIN = "plain.test"  # whose mail nobody's policy touches
POLICY = """
preferences: {encrypt: mandatory, sign: always}
domains:
  - {domain: in.test, preferences: {locality: internal}}
  - {domain: plain.test, preferences: {encrypt: never, sign: never}}
"""


def ten(count: int = 10) -> list[str]:
    """The addresses that the load generator makes of one, so many of them."""
    return [TEN, *(f"{number}{TEN}" for number in range(2, count + 1))]


class Installation:
    """A running filter and its sink."""

    def __init__(self, home: Path, workers: int = 1) -> None:
        """More than one worker may have all cores."""
        self.home = home
        self._workers = workers
        self._stack = ExitStack()
        self.sink = ""  # its port
        self._program: Program
        self.people: People

    def __enter__(self) -> Self:
        sink, self.sink_pid = self._stack.enter_context(load.sink())
        self.sink = str(sink)
        settings = {
            "hostname": "filter.test",
            "workers": self._workers,
            "listeners": [{"protocol": "smtp", "port": 0}],
            "next-hop": {"port": sink},
            "master-key": "master.key",
            "policies": "policies",
        }
        folder = self.home / "policies"  # of their own, as shipped: what is in it is watched
        folder.mkdir()
        (folder / "global.yaml").write_text(POLICY)
        core = ("taskset", "-c", load.FILTER_CORE) if self._workers == 1 else ()
        command = (*core, *COMMAND)
        self._program = Program(self.home, settings, command=command)
        self._fill()
        self._program.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._program.stop()
        self._stack.close()

    @property
    def port(self) -> int:
        return self._program.port("smtp")

    @property
    def pid(self) -> int:
        return self._program.pid

    def run(self, *arguments: str) -> None:
        """Run a command of the program on it."""
        self._program.run(*arguments)

    def restart(self) -> None:
        self._program.stop()
        self._program.start()

    def key_files(self) -> tuple[Path, Path, Path]:
        """Alice's key, her certificate, and Bob's, PEM."""
        key = self.home / "alice.key"
        key.write_bytes(_key_pem(self.people.issued[ALICE].key))
        return key, self.people.certificate(ALICE), self.people.certificate(BOB)

    def opened_mail(self, size: int) -> Path:
        """A mail that Bob signed and encrypted to Alice, with openssl."""
        plain = load.mail_file(self.home, size, BOB, ALICE).read_bytes()
        head, _, body = plain.partition(b"\n\n")
        key = self.home / "bob.key"
        key.write_bytes(_key_pem(self.people.issued[BOB].key))
        inner = b"Content-Type: text/plain; charset=us-ascii\n\n" + body
        signer = ["-signer", str(self.people.certificate(BOB)), "-inkey", str(key)]
        signed = _openssl(["-sign", *signer], inner)
        certificate = str(self.people.certificate(ALICE))
        sealed = _openssl(["-encrypt", "-aes-256-cbc", certificate], signed)
        kept = [
            line for line in head.split(b"\n") if not line.startswith((b"MIME", b"Content"))
        ]
        file = self.home / f"opened-{size}"
        file.write_bytes(b"\n".join(kept) + b"\n" + sealed)
        return file

    def _fill(self) -> None:
        people = self.people = People(self.home)
        people.add(ALICE)
        people.add(BOB)
        for one in ten():
            people.add(one)
        run = self._program.run
        run("init")
        run("root", "import", str(people.root_file))
        run("certificate", "import", str(people.authority_file), str(people.certificate(BOB)))
        run("certificate", "import", *(str(people.certificate(one)) for one in ten()))
        password = ("--password-file", str(people.password_file))
        run("key", "import", str(people.identity(ALICE)), *password)


def _openssl(arguments: list[str], content: bytes) -> bytes:
    run = ["openssl", "cms", *arguments]
    return subprocess.run(run, input=content, check=True, capture_output=True).stdout


def _key_pem(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
