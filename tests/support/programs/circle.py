"""The people of the matrix and their programs: each program is set up once for each user.

Users differ in the kind of their key. Setting up costs up to seconds, so it is done when
first asked for and kept until `close`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.support.pki import Issued
from tests.support.readers import issue_now

from .program import Kind, Papers, Program, Setup

RSA: Final = "rsa2048"
KEYS: Final[Mapping[Kind, str]] = {  # what the signer or recipient has; the others have RSA
    Kind.ECDSA: "p256",
    Kind.ECDH_P256: "p256",
    Kind.ECDH_P384: "p384",
    Kind.ECDH_P521: "p521",
    Kind.X25519: "x25519",
}


def key_for(kind: Kind) -> str:
    return KEYS.get(kind, RSA)


class Circle:
    """A root, a CA, and one user for each kind of key."""

    def __init__(self, folder: Path, root: str = "Programs Root") -> None:
        self._folder = folder
        self._open = ExitStack()
        self._programs: dict[tuple[str, str], Program] = {}
        self._users: dict[str, Issued] = {}
        self.root = issue_now(None, root)
        self._authority = issue_now(self.root, "Programs CA", ca=True)

    def user(self, key: str = RSA) -> Issued:
        """Whoever has that kind of key: name `User p256`, address `p256@example.org`."""
        if key not in self._users:
            address = f"{key}@example.org"
            self._users[key] = issue_now(self._authority, f"User {key}", mail=address, key=key)
        return self._users[key]

    def papers(self, key: str = RSA) -> Papers:
        return Papers(self.user(key))

    def program(self, kind: type[Program], key: str = RSA) -> Program:
        """The program with that user's key, trusting the root. Raises `Refused`."""
        place = (kind.name, key)
        if place not in self._programs:
            folder = Path(tempfile.mkdtemp(prefix=f"{kind.name}-", dir=self._folder))
            program = kind(Setup(folder, self.root.certificate, self.papers(key)))
            self._open.callback(program.close)
            self._programs[place] = program
        return self._programs[place]

    def versions(self) -> list[str]:
        """Name and version of each program that was set up."""
        return sorted({f"{one.name}: {one.version()}" for one in self._programs.values()})

    def close(self) -> None:
        """Ends what the programs left running."""
        self._open.close()
