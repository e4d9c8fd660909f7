"""A private OpenLDAP server for tests, and a way to change what it holds.

    with Slapd() as directory:
        dn = directory.put("CA", {"certificateRevocationList;binary": [crl]})
        fetch(directory.url(dn, "certificateRevocationList;binary"))
        directory.put("CA", {"certificateRevocationList;binary": [newer]})

It lives in a folder and on a loopback port of its own; the slapd of the system is neither used
nor touched. slapd looks at what it is given: a value of certificateRevocationList has to be a
CRL. Needs the programs slapd and ldapmodify (`need`). Raises `SlapdTrouble` with its log.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tests.support.needs import need
from tests.support.ports import ReservedPort
from tests.support.started import Started

SUFFIX: Final = "dc=example,dc=com"
_MANAGER: Final = f"cn=manager,{SUFFIX}"
_PASSWORD: Final = "written-by-tests-only"
_ALREADY_THERE: Final = 68  # LDAP result code entryAlreadyExists, RFC 4511 §4.1.9
_CLASSES: Final = ("cRLDistributionPoint", "pkiCA")  # together they hold all that a CA has

_SETTINGS: Final = """
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {home}/slapd.pid
{tls}
database mdb
maxsize 268435456
suffix "{suffix}"
rootdn "{manager}"
rootpw {password}
directory {home}/data
dbnosync
access to * by * read
"""
_BASE: Final = (
    f"dn: {SUFFIX}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: x\n"
)


class SlapdTrouble(Exception):
    """slapd does not do what it should; says why."""


class Slapd(Started):
    """The server. Its port is known, and its own, from the start.

    With `tls` (certificate and key, PEM files) it listens by ldaps.
    """

    def __init__(self, *, tls: tuple[Path, Path] | None = None) -> None:
        self._program = need("slapd")
        self._modify = need("ldapmodify")
        self._tls = tls
        self._place = ReservedPort()
        self.port = self._place.number
        self.scheme = "ldap" if tls is None else "ldaps"
        self._home = Path(tempfile.mkdtemp(prefix="slapd-"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Listen, and hold nothing but the top entry."""
        (self._home / "data").mkdir()
        settings = self._home / "slapd.conf"
        settings.write_text(self._settings())
        with (self._home / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, "-d", "0", "-f", settings, "-h", self._listeners],
                stdout=log,
                stderr=log,
            )
        try:
            self._wait_until_it_takes_entries()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it and forget everything."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=15)
        self._place.release()
        shutil.rmtree(self._home)

    def url(self, dn: str = SUFFIX, *query: str, host: str = "127.0.0.1") -> str:
        """An LDAP URL, RFC 4516; `query` is attributes, scope and filter."""
        tail = "".join(f"?{quote(part, safe=';,=()&|')}" for part in query)
        return f"{self.scheme}://{host}:{self.port}/{quote(dn, safe=',=')}{tail}"

    def put(self, name: str, attributes: Mapping[str, Sequence[bytes]]) -> str:
        """Add the entry `cn=name` with these values, or replace them in it; its DN. A name
        that LDIF or a DN would have to escape is none."""
        dn = f"cn={name},{SUFFIX}"
        classes = "".join(f"objectClass: {one}\n" for one in _CLASSES)
        values = {about: _lines(about, attributes[about]) for about in attributes}
        done = self._change(f"dn: {dn}\n{classes}cn: {name}\n{''.join(values.values())}")
        if done.returncode == _ALREADY_THERE:
            changes = "-\n".join(f"replace: {about}\n{values[about]}" for about in values)
            done = self._change(f"dn: {dn}\nchangetype: modify\n{changes}")
        _check(done)
        return dn

    def refer(self, name: str, to: str) -> str:
        """Make `cn=name` a referral to an LDAP URL; its DN."""
        dn = f"cn={name},{SUFFIX}"
        classes = "objectClass: referral\nobjectClass: extensibleObject\n"
        _check(self._change(f"dn: {dn}\n{classes}cn: {name}\nref: {to}\n", "-M"))
        return dn

    @property
    def _listeners(self) -> str:
        """The one for clients, and a socket for changes, which needs no TLS."""
        return f"{self.scheme}://127.0.0.1:{self.port}/ {self._inside}"

    @property
    def _inside(self) -> str:
        return f"ldapi://{quote(str(self._home / 'socket'), safe='')}/"

    def _settings(self) -> str:
        tls = ""
        if self._tls is not None:
            certificate, key = self._tls
            tls = f"TLSCertificateFile {certificate}\nTLSCertificateKeyFile {key}"
        return _SETTINGS.format(
            home=self._home, suffix=SUFFIX, manager=_MANAGER, password=_PASSWORD, tls=tls
        )

    def _wait_until_it_takes_entries(self) -> None:
        assert self._process is not None
        for _ in range(100):
            done = self._change(_BASE)
            if done.returncode == 0:
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.1)
        raise SlapdTrouble((self._home / "log").read_text() + done.stderr.decode())

    def _change(self, ldif: str, *options: str) -> subprocess.CompletedProcess[bytes]:
        """Apply LDIF; what is not a change is an entry to add."""
        login = ["-H", self._inside, "-D", _MANAGER, "-w", _PASSWORD]
        return subprocess.run(
            [self._modify, "-a", "-x", *login, *options],
            input=ldif.encode(),
            capture_output=True,
            check=False,
        )


def _lines(name: str, values: Sequence[bytes]) -> str:
    return "".join(f"{name}:: {base64.b64encode(value).decode()}\n" for value in values)


def _check(done: subprocess.CompletedProcess[bytes]) -> None:
    if done.returncode:
        raise SlapdTrouble(done.stderr.decode())
