"""A PKCS#11 token in software, SoftHSM2, in a folder of its own.

    hsm = SoftHsm(tmp_path)
    rsa = hsm.put(ALICE)                    # a key of a test, in the token from now on
    with token_of(hsm) as token: ...

The process that opens it finds it by `SOFTHSM2_CONF` in its environment. Needs the Debian
package softhsm2.
"""

from __future__ import annotations

import itertools
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from pkcs11 import Attribute
from pkcs11.util.ec import decode_ec_private_key, decode_ec_public_key
from pkcs11.util.rsa import decode_rsa_private_key

from smimefilter.keys.token import Token, open_token, read_pin
from smimefilter.ports.keys import TokenKey
from tests.support.needs import need, need_file

PIN: Final = "pin-f27c1d"
_MODULES: Final = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    *sorted(Path("/usr/lib").glob("*/softhsm/libsofthsm2.so")),
)
_numbers: Final = itertools.count()


class SoftHsm:
    """An initialised token, and the settings that name it."""

    def __init__(self, home: Path) -> None:
        self.program = need("softhsm2-util")
        found = (one for one in _MODULES if one.exists())
        self.module = need_file(next(found, _MODULES[0]), "softhsm2")
        self.label = f"lab-{os.getpid()}-{next(_numbers)}"
        self.folder = home / "softhsm" / "tokens"
        self.folder.mkdir(parents=True)
        self.config = home / "softhsm" / "softhsm2.conf"
        self.config.write_text(
            f"directories.tokendir = {self.folder}\nobjectstore.backend = file\n"
            "log.level = ERROR\n"
        )
        self.pin_file = home / "softhsm" / "pin"
        self.set_pin(PIN)
        self.environment = {"SOFTHSM2_CONF": str(self.config)}
        self._run(
            "--init-token", "--free", "--label", self.label, "--pin", PIN, "--so-pin", "so-1234"
        )

    @property
    def settings(self) -> dict[str, Any]:
        """`token:` of the daemon's settings."""
        return {
            "module": str(self.module),
            "label": self.label,
            "pin-file": str(self.pin_file),
        }

    def set_pin(self, pin: str) -> None:
        """What is in the PIN file from now on."""
        self.pin_file.write_text(f"{pin}\n")
        self.pin_file.chmod(0o600)

    def put(self, one: Any, *, uses: str = "sign decrypt derive") -> TokenKey:
        """The private key of an issued certificate, put into the token for these uses."""
        id_ = secrets.token_bytes(8)
        form = PrivateFormat.TraditionalOpenSSL
        private = one.key.private_bytes(Encoding.DER, form, NoEncryption())
        public = one.key.public_key()
        may = {
            Attribute.SIGN: "sign" in uses,
            Attribute.DECRYPT: "decrypt" in uses,
            Attribute.DERIVE: "derive" in uses,
        }
        objects: list[dict[Attribute, Any]]
        if isinstance(public, rsa.RSAPublicKey):
            objects = [decode_rsa_private_key(private)]
        else:
            point = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            objects = [decode_ec_private_key(private), decode_ec_public_key(point)]
        common = {Attribute.ID: id_, Attribute.LABEL: "a key", Attribute.TOKEN: True}
        hidden = {Attribute.PRIVATE: True, Attribute.SENSITIVE: True}
        objects[0] = {**objects[0], **common, **hidden, **may}
        objects[1:] = [{**one, **common} for one in objects[1:]]

        def write(session: Any) -> None:
            with session._token.open(rw=True) as writing:
                for attributes in objects:
                    writing.create_object(attributes)

        with token_of(self) as token:
            token.ask(write)
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return TokenKey(id_, der)

    def take_away(self) -> None:
        """As if somebody had pulled it out."""
        self.folder.rename(self.folder.with_name("away"))
        self.folder.mkdir()

    def put_back(self) -> None:
        """As if it had been put in again."""
        self.folder.rmdir()
        self.folder.with_name("away").rename(self.folder)

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(
            [self.program, *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@contextmanager
def token_of(hsm: SoftHsm, timeout: float = 30) -> Iterator[Token]:
    """The token as the filter has it, in this process; closed at the end."""
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ.update(hsm.environment)
    token = open_token(hsm.module, hsm.label, lambda: read_pin(hsm.pin_file, None), timeout)
    try:
        yield token
    finally:
        token.close()
        if before is None:
            del os.environ["SOFTHSM2_CONF"]
        else:
            os.environ["SOFTHSM2_CONF"] = before
