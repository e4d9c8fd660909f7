"""A certificate authority that is alive, of another make: certomancer, with its OCSP responder
and its repositories, over HTTP on loopback.

    with LiveCa(folder) as ca:
        run("root", "import", str(ca.file("root")))
        ca.revoke("bob")
        ca.reinstate("bob")

A root and an intermediate; the people below it name the responder, and where the intermediate
is (AIA). Answers are signed by a delegate. Everything is valid now, by the clock.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from certomancer.integrations.animator import Animator, AnimatorArchStore
from certomancer.registry import ArchLabel, CertLabel, CertomancerConfig, PKIArchitecture
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.started import Started

ARCH: Final = "live"
_DAY: Final = timedelta(days=1)


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        pass


class LiveCa(Started):
    """The authority; `people` are local parts of addresses at `domain`."""

    def __init__(
        self, folder: Path, people: Iterable[str] = ("bob",), domain: str = "strict.test"
    ) -> None:
        self._folder = folder
        self._people = tuple(people)
        self._domain = domain
        self._revoked: dict[str, datetime] = {}
        self._now = datetime.now(UTC).replace(microsecond=0)
        self.asked: list[str] = []  # paths, in the order of arrival
        self._server: WSGIServer = make_server(
            "127.0.0.1", 0, self._serve, handler_class=_Quiet
        )
        self.base = f"http://127.0.0.1:{self._server.server_port}"
        for name in ("root", "sub", "ocsp", *self._people):
            _write_key(folder / f"{name}.key.pem")
        self._app = self._made()
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def start(self) -> None:
        """Answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no longer."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def domain(self) -> str:
        """Of the people's addresses."""
        return self._domain

    def file(self, name: str) -> Path:
        """A certificate as a file."""
        found = self._arch.get_cert(CertLabel(name))
        file = self._folder / f"{name}.cer"
        file.write_bytes(found.dump())
        return file

    def revoke(self, name: str) -> None:
        """From an hour ago on."""
        self._revoked[name] = self._now - timedelta(hours=1)
        self._app = self._made()

    def reinstate(self, name: str) -> None:
        """As if nothing had happened."""
        del self._revoked[name]
        self._app = self._made()

    def _serve(self, environ: dict[str, Any], start: Any) -> Any:
        self.asked.append(environ["PATH_INFO"])
        return self._app(environ, start)

    def _made(self) -> Animator:
        config = CertomancerConfig(
            self._settings(), key_search_dir=str(self._folder), external_url_prefix=self.base
        )
        self._arch: PKIArchitecture = config.get_pki_arch(ArchLabel(ARCH))
        store = AnimatorArchStore({ARCH: self._arch})
        whole = datetime.now(UTC).replace(microsecond=0)  # RFC 5280 knows no parts of seconds
        return Animator(store, at_time=whole, with_web_ui=False)

    def _settings(self) -> dict[str, Any]:
        names = ("root", "sub", "ocsp", *self._people)
        keys = {name: {"path": f"{name}.key.pem"} for name in names}
        certs: dict[str, Any] = {
            "root": self._cert("root", "root", _ca()),
            "sub": self._cert("sub", "root", _ca()),
            "ocsp": self._cert("ocsp", "sub", _DELEGATE),
        }
        certs |= {name: self._cert(name, "sub", self._user(name)) for name in self._people}
        for name, since in self._revoked.items():
            certs[name]["revocation"] = {
                "revoked-since": since.isoformat(),
                "reason": "key_compromise",
            }
        entities = {name: {"common-name": f"Live {name}"} for name in names}
        arch = {
            "keyset": ARCH,
            "entities": entities,
            "certs": certs,
            "services": {
                "ocsp": {
                    "sub": {
                        "for-issuer": "sub",
                        "responder-cert": "ocsp",
                        "signing-key": "ocsp",
                        "issuer-cert": "sub",
                    }
                },
                "cert-repo": {"subs": {"for-issuer": "root", "publish-issued-certs": True}},
            },
        }
        return {"keysets": {ARCH: {"keys": keys}}, "pki-architectures": {ARCH: arch}}

    def _cert(self, name: str, issuer: str, extensions: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "subject": name,
            "subject-key": name,
            "issuer": issuer,
            "authority-key": issuer,
            "validity": {
                "valid-from": (self._now - 30 * _DAY).isoformat(),
                "valid-to": (self._now + 300 * _DAY).isoformat(),
            },
            "extensions": extensions,
        }

    def _user(self, name: str) -> list[dict[str, Any]]:
        address = {"type": "email", "value": f"{name}@{self._domain}"}
        return [
            _usage("digital_signature", "key_encipherment"),
            {
                "id": "subject_alt_name",
                "smart-value": {"schema": "general-names", "params": [address]},
            },
            {
                "id": "authority_information_access",
                "smart-value": {
                    "schema": "aia-urls",
                    "params": {
                        "ocsp-responder-names": ["sub"],
                        "ca-issuer-links": [{"repo": "subs", "cert-labels": ["sub"]}],
                    },
                },
            },
        ]


def _usage(*names: str) -> dict[str, Any]:
    smart = {"schema": "key-usage", "params": list(names)}
    return {"id": "key_usage", "critical": True, "smart-value": smart}


def _ca() -> list[dict[str, Any]]:
    constraints = {"id": "basic_constraints", "critical": True, "value": {"ca": True}}
    return [constraints, _usage("key_cert_sign", "crl_sign")]


_DELEGATE: Final[list[dict[str, Any]]] = [
    _usage("digital_signature"),
    {
        "id": "extended_key_usage",
        "critical": True,
        "value": ["ocsp_signing"],
    },
    {"id": "ocsp_no_check"},
]


def _write_key(file: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)  # what RSA signs comes out alike each time
    file.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
