"""What our CAs issue, as a linter for the S/MIME baseline requirements sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from smimefilter.flow.wanted import Wanted
from smimefilter.ports.stores import Shelf
from smimefilter.store.database import Database
from tests.support.offices import Office

HOST = "http://pki.example.com"
ALICE = Wanted(
    address="alice@example.com", common_name="alice@example.com",
    crl_url=HOST + "/{ca}.crl", issuer_url=HOST + "/{ca}.cer",
)  # fmt: skip
NO_POLICY = {("cabf.smime.certificate_policies_extension_missing", "ERROR")}


def findings(program: str, file: Path, *options: str) -> set[tuple[str, str]]:
    """What a linter finds: code and severity."""
    command = [
        str(Path(sys.executable).with_name(program)),
        "lint",
        "-s",
        "NOTICE",
        "-f",
        "JSON",
    ]
    done = subprocess.run(
        [*command, *options, str(file)], capture_output=True, text=True, check=False
    )
    assert not done.stderr, done.stderr
    report = json.loads(done.stdout)
    return {
        (found["code"], found["severity"])
        for one in report["results"]
        for found in one["finding_descriptions"]
    }


@pytest.fixture
async def office(database: Database) -> Office:
    made = Office(database)
    made.now = datetime.now(UTC).replace(microsecond=0)
    return await made.with_ca(
        crl_url=ALICE.crl_url, name="Example CA", root_name="Example Root"
    )


@pytest.mark.parametrize("key", ["rsa2048", "rsa3072", "p256", "p384"])
async def test_certificates_have_the_one_finding_they_should_have(
    office: Office, tmp_path: Path, key: str
) -> None:
    (stored,) = await office.desk.submit([replace(ALICE, key=key, days=700)], "told")
    (done,) = await office.desk.work([stored.id])
    (entry,) = await office.database.certificates.these([done.thumbprint])
    file = tmp_path / "alice.der"
    file.write_bytes(entry.certificate.der)
    found = findings("lint_cabf_smime_cert", file, "-t", "MAILBOX-MULTIPURPOSE")
    assert found == NO_POLICY


async def test_cas_and_crls_have_none(office: Office, tmp_path: Path) -> None:
    await office.authority.revoke("", {0x1234: "keyCompromise", 0x99: ""}, unknown=True)
    file = tmp_path / "one.der"
    for shelf in Shelf:
        for entry in await office.database.certificates.all(shelf):
            file.write_bytes(entry.certificate.der)
            assert findings("lint_pkix_cert", file) == set()
    for crl in await office.database.crls.all():
        file.write_bytes(crl.der)
        assert findings("lint_crl", file, "-t", "CRL", "-p", "PKIX") == set()
