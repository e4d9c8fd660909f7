"""What every program of the matrix is asked for, and what it says of itself.

A `Program` is one S/MIME program set up for one user, with a home of its own in the folder it
gets. It takes and gives whole mails as they go over the wire, with CRLF. What it can is data,
`can_read` and `can_write`: what is not there has to fail, and a test holds it to that.

Only certificates that are valid by the clock are of use: `readers.issue_now`. RFC 8551 for the
forms, RFC 5753 and RFC 8418 for the agreements. Raises `Refused` with the program's own words.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Final, Protocol

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from smimefilter.pki.certificate import Certificate
from tests.support.needs import need
from tests.support.pki import Issued
from tests.support.readers import PASSWORD, key_file, pem

LIMIT: Final = 60.0  # seconds that any process may take


class Refused(Exception):
    """A program did not do what it was asked; the text is what it said."""


class Kind(StrEnum):
    """What a mail is made with. Ciphers stand for RSA recipients by PKCS #1 v1.5; paddings,
    curves and signatures for the commonest of the rest: AES-256-CBC, SHA-256."""

    CLEAR = "clear-signed"
    OPAQUE = "opaque-signed"
    PSS = "clear-signed, RSA-PSS"  # salted as long as the digest, RFC 4056 §3
    PSS_LONG = "clear-signed, RSA-PSS, longest salt"
    ECDSA = "clear-signed, ECDSA P-256"
    AES_256_CBC = "AES-256-CBC"
    AES_128_CBC = "AES-128-CBC"
    AES_256_GCM = "AES-256-GCM"
    TRIPLE_DES = "3DES"
    RC2 = "RC2"
    OAEP = "RSA-OAEP"
    ECDH_P256 = "ECDH P-256"
    ECDH_P384 = "ECDH P-384"
    ECDH_P521 = "ECDH P-521"
    X25519 = "X25519"


SIGNATURES: Final = frozenset({Kind.CLEAR, Kind.OPAQUE, Kind.PSS, Kind.PSS_LONG, Kind.ECDSA})
ENCRYPTIONS: Final = frozenset(Kind) - SIGNATURES
AGREEMENTS: Final = frozenset({Kind.ECDH_P256, Kind.ECDH_P384, Kind.ECDH_P521, Kind.X25519})


@dataclass(frozen=True, slots=True)
class Opened:
    """What a program made of a mail: the MIME entity inside, and its word on a signature."""

    entity: bytes
    valid: bool = False  # said to be a good signature of a trusted signer
    signer: str = ""  # address or common name of the signer, as the program told it


@dataclass(frozen=True, slots=True)
class Papers:
    """Somebody's certificate and key in the forms that programs import."""

    issued: Issued

    @property
    def address(self) -> str:
        (address,) = self.issued.certificate.addresses
        return address

    @property
    def certificate(self) -> bytes:
        """PEM."""
        return pem(self.issued.certificate)

    @property
    def chain(self) -> bytes:
        """PEM of the certificates above, without the root."""
        return b"".join(map(pem, self.issued.chain[:-1]))

    @property
    def key(self) -> bytes:
        """PKCS #8 PEM, without a password."""
        return self.issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def pkcs12(self) -> bytes:
        """3DES, under `PASSWORD`, salted anew each time."""
        try:
            return key_file(self.issued)
        except TypeError:  # the library writes no X25519 key, but openssl does
            return self._pkcs12_by_openssl()

    def _pkcs12_by_openssl(self) -> bytes:
        triple_des = ("-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES")
        password = ("-macalg", "sha1", "-passout", f"pass:{PASSWORD}")
        everything = self.key + self.certificate + self.chain
        openssl = need("openssl")
        return run(
            openssl, "pkcs12", "-export", *triple_des, *password, stdin=everything
        ).stdout


@dataclass(frozen=True, slots=True)
class Setup:
    """What a program is set up with."""

    folder: Path  # empty, the program's own
    root: Certificate
    user: Papers


class Program(Protocol):
    """One program for one user. What most of them do alike is here, to be inherited."""

    name: ClassVar[str]
    can_read: ClassVar[frozenset[Kind]]
    can_write: ClassVar[frozenset[Kind]]
    composes: ClassVar[bool] = False  # what it writes is MIME of its own around the contents
    cannot_carry: ClassVar[frozenset[str]] = frozenset()  # letters it cannot write
    garbles: ClassVar[frozenset[str]] = frozenset()  # letters that it decrypts to others

    def __init__(self, setup: Setup) -> None: ...

    def version(self) -> str:
        """What the program says of itself, one line."""

    def verify(self, mail: bytes) -> Opened: ...

    def decrypt(self, mail: bytes) -> Opened: ...

    def within(self, entity: bytes, headers: bytes) -> bytes:
        """What it protects of a mail when it writes one."""
        return entity

    def sign(self, entity: bytes, headers: bytes, kind: Kind = Kind.CLEAR) -> bytes:
        """A mail with this header (without MIME fields) and the entity, signed as the user."""

    def encrypt(
        self, entity: bytes, headers: bytes, recipients: Sequence[Papers], kind: Kind
    ) -> bytes:
        """The same for recipients, of whom only the certificates are used."""

    def sign_and_encrypt(
        self,
        entity: bytes,
        headers: bytes,
        recipients: Sequence[Papers],
        kinds: tuple[Kind, Kind],
    ) -> bytes:
        """Signed in the first way, and that encrypted in the second."""
        signing, encrypting = kinds
        return self.encrypt(self.sign(entity, b"", signing), headers, recipients, encrypting)

    def close(self) -> None:
        """Ends what runs on."""
        return


def run(
    program: Path | str,
    *arguments: str | Path,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """A process that ends within `LIMIT`, speaks English and succeeds. Raises `Refused`."""
    done = subprocess.run(
        [str(program), *map(str, arguments)],
        input=stdin,
        env={**os.environ, "LC_ALL": "C", **(environment or {})},
        cwd=folder,
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise Refused(said or f"ended with {done.returncode} and said nothing")
    return done


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def stays_closed(decrypt: Callable[[], Opened], entity: bytes) -> bool:
    """Whether a mail is not decrypted: the program refuses, in words, or garbage comes out.

    Some go on with a random key where theirs does not do, so that nobody learns why; of 256
    such mails one ends in octets that look like a padding.
    """
    try:
        return entity not in decrypt().entity
    except Refused as error:
        return bool(str(error).strip())


def no_option(kind: Kind) -> Refused:
    """For what cannot even be asked of a program."""
    return Refused(f"has no option for {kind}")


def first_line(output: bytes) -> str:
    return output.decode(errors="replace").strip().partition("\n")[0]
