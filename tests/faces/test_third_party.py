"""A request handler, and an SMS transport, of somebody else's installed package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.postoffice import Installation
from tests.support.program import COMMAND

PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "somebody-elses-ca"
version = "1.0"
[project.entry-points."smimefilter.handlers"]
somebody = "somebody_elses_ca:Somebody"
broken = "somebody_elses_ca:Missing"
[tool.hatch.build.targets.wheel]
include = ["somebody_elses_ca.py"]
"""
MODULE = '''\
"""A CA that signs with a key of its own, after having been asked twice."""

from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import BaseModel, SecretStr

from smimefilter.pki.certificate import Certificate
from smimefilter.ports.handlers import HandlerTrouble, Issued, Later


class Settings(BaseModel):
    account: str
    token: SecretStr


class Somebody:
    title = "somebody else's CA"
    settings = Settings
    answers_later = True
    can_download = can_upload = False

    def __init__(self, settings):
        self.settings = settings

    @classmethod
    def opened(cls, settings, services):
        return cls(settings)

    async def request(self, order, remember):
        if not order.state:
            await remember({"number": 4711})
            return Later("ordered as no. 4711")
        request = x509.load_der_x509_csr(order.csr)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Somebody")])
        now = datetime.now(timezone.utc)
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        builder = x509.CertificateBuilder(
            name, request.subject, request.public_key(), 4711, now, now + timedelta(days=9)
        ).add_extension(names, False)
        made = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
        return Issued(Certificate(made))

    async def test(self):
        if self.settings.token.get_secret_value() != "right":
            raise HandlerTrouble("the CA does not know this token")
        return f"account {self.settings.account}"

    async def close(self):
        pass
'''


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It, installed."""
    source = tmp_path_factory.mktemp("source")
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "somebody_elses_ca.py").write_text(MODULE)
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    pip += ["--no-build-isolation", "--disable-pip-version-check", "--target", str(target)]
    subprocess.run([*pip, str(source)], check=True, capture_output=True)
    return target


def test_a_handler_of_another_package(
    installation: Installation, package: Path, tmp_path: Path
) -> None:
    def run(*arguments: str, code: int = 0) -> str:
        config = ("--config", str(installation.program.config))
        environment: Mapping[str, str] = {**os.environ, "PYTHONPATH": str(package)}
        done = subprocess.run(
            [*COMMAND, *arguments, *config],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout + (done.stderr if code else "")

    rows = {row["name"]: row for row in json.loads(run("handler", "list", "--json"))}
    assert rows["somebody"]["title"] == "somebody else's CA"
    assert not rows["somebody"]["configured"]
    assert rows["broken"]["title"].startswith("cannot be loaded: ")
    assert "account: field required" in run("handler", "test", "somebody", code=1)
    secret = tmp_path / "token"
    secret.write_text("wrong\n")
    assert "still missing: token" in run("handler", "configure", "somebody", "account=acme")
    run("handler", "configure", "somebody", f"token=@{secret}")
    shown = json.loads(run("handler", "show", "somebody", "--json"))
    assert shown == {"account": "acme", "token": "(secret)"}
    assert "does not know this token" in run("handler", "test", "somebody", code=1)
    secret.write_text("right\n")
    run("handler", "configure", "somebody", f"token=@{secret}")
    assert run("handler", "test", "somebody") == "somebody: account acme\n"
    assert b"right" not in (tmp_path / "smimefilter.db").read_bytes()

    run("ca", "settings", "request-handler", "somebody")
    done = run("certificate", "request", "zoe@in.test", "--cn", "Zoe", "--key", "p256")
    assert done.startswith("pending: zoe@in.test: ordered as no. 4711")
    (row,) = json.loads(run("pending", "list", "--json"))
    (row,) = json.loads(run("pending", "reschedule", row["id"], "--json"))
    assert row["state"] == "issued"
    assert "zoe@in.test" in run("certificate", "list", "--address", "zoe@in.test")
