"""OCSP and missing issuers, live: responders of other makes, and mail that waits for them."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from smimefilter.config import Fetch
from smimefilter.fetch.net import GuardedNet
from smimefilter.pki.export import certificates_pem
from smimefilter.pki.ocsp import OcspAnswer, question
from smimefilter.ports.net import FetchFailed, Request
from smimefilter.trust.ocsp import ocsp_key
from smimefilter.trust.verdict import Standing, TrustRules
from tests.support.certomancer import LiveCa
from tests.support.commands import Commands
from tests.support.needs import need
from tests.support.ocsp import SIGNING
from tests.support.people import People
from tests.support.postoffice import ALICE, POLICY, PostOffice, letter
from tests.support.program import Program, shipped_settings
from tests.support.sink import Sink
from tests.support.trust import knowing, verdict

pytestmark = pytest.mark.system

BOB, ERIN = "bob@strict.test", "erin@strict.test"
ASKING = POLICY.replace(
    "preferences:\n", "preferences:\n  ocsp: yes\n  fetch-issuers: yes\n", 1
)


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[LiveCa]:
    (tmp_path / "ca").mkdir()
    with LiveCa(tmp_path / "ca", ("bob", "erin")) as made:
        yield made


@pytest.fixture
def office(authority: LiveCa, tmp_path: Path) -> Iterator[PostOffice]:
    """A filter that knows the root and the people, and neither the CA between nor a CRL."""
    home = tmp_path / "filter"
    (home / "policies").mkdir(parents=True)
    (home / "policies" / "global.yaml").write_text(ASKING)
    (tmp_path / "papers").mkdir()
    people = People(tmp_path / "papers")
    people.add(ALICE)
    with Sink() as sink:
        settings: dict[str, Any] = shipped_settings(home, port=0, next_hop=sink.port)
        settings["fetch"] = {"allow": ["127.0.0.0/8"], "mail-waits": 20, "crls": False}
        program = Program(home, settings)
        run = Commands(program.config)
        run("init")
        run("root", "import", str(people.root_file), str(authority.file("root")))
        certificates = [str(authority.file(name)) for name in ("bob", "erin")]
        run("certificate", "import", str(people.authority_file), *certificates)
        password = ("--password-file", str(people.password_file))
        run("key", "import", str(people.identity(ALICE)), *password)
        stock = type("Stock", (), {"people": people})()
        with program:
            yield PostOffice(stock, program, sink)


def reply_to(office: PostOffice, address: str) -> str:
    (reply,) = office.hand_over(ALICE, [address], letter(ALICE, address))
    return reply


def test_a_mail_waits_for_issuer_and_answer(office: PostOffice, authority: LiveCa) -> None:
    authority.revoke("erin")
    assert reply_to(office, BOB).startswith("250")
    (mail,) = office.sink.mails
    assert b"enveloped-data" in mail.content
    assert "(found: revoked)" in reply_to(office, ERIN)
    asked = [path for path in authority.asked if "/ocsp/" in path]
    assert len(asked) == 2

    for _ in range(3):  # what was found out is known, after a restart as well
        assert reply_to(office, BOB).startswith("250")
        assert "(found: revoked)" in reply_to(office, ERIN)
        office.program.stop()
        office.program.start()
    assert [path for path in authority.asked if "/ocsp/" in path] == asked
    (issuer,) = office.command("certificate", "list", "--subject", "Live sub", "--json").json
    assert issuer["origin"].startswith("AIA http://127.0.0.1")
    explained = office.command("explain", "--from", ALICE, "--to", BOB).out
    assert "not revoked, its issuer answers" in explained


def test_explain_says_what_is_not_at_hand(office: PostOffice) -> None:
    explained = office.command("explain", "--from", ALICE, "--to", BOB, code=0).out
    assert "CN=Live sub is not at hand" in explained


# the responder of openssl


class OpensslResponder:
    """`openssl ocsp -port`, for what `people.authority` issued."""

    def __init__(self, folder: Path, people: People, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self._folder, self._people, self._port = folder, people, port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, revoked: set[str], delegate: Any) -> None:
        folder, people = self._folder, self._people
        expiry = f"{people.now + timedelta(days=300):%y%m%d%H%M%SZ}"
        since = f"{people.now - timedelta(days=2):%y%m%d%H%M%SZ},keyCompromise"
        lines = [
            "\t".join(
                [
                    "R" if address in revoked else "V",
                    expiry,
                    since if address in revoked else "",
                    one.certificate.serial_hex.upper(),
                    "unknown",
                    f"/CN={address}",
                ]
            )
            for address, one in people.issued.items()
        ]
        (folder / "index.txt").write_text("\n".join(lines) + "\n")
        (folder / "signer.pem").write_bytes(certificates_pem([delegate.certificate]))
        key = delegate.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "signer.key").write_bytes(key)
        command = [
            need("openssl"), "ocsp", "-port", str(self._port), "-index", "index.txt",
            "-CA", people.authority_file, "-rsigner", "signer.pem", "-rkey", "signer.key",
            "-nmin", "10",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(timeout=10)


@pytest.mark.parametrize("delegated", [True, False])
async def test_answers_of_openssl(
    tmp_path: Path, free_port: Callable[[], int], delegated: bool
) -> None:
    people = People(tmp_path)
    port = free_port()
    responder = OpensslResponder(tmp_path, people, port)
    for address in (BOB, ERIN):
        people.add(address, ocsp_urls=(responder.url,))
    signer = (
        people._valid(people.authority.issue, "Responder", extended_key_usage=SIGNING)
        if delegated
        else people.authority
    )
    responder.start({ERIN}, signer)
    now = datetime.now(UTC) + timedelta(seconds=2)
    rules = TrustRules(ocsp=True)
    known = knowing([people.root], [people.authority])
    try:
        async with GuardedNet(Fetch(allow=("127.0.0.0/8",))) as net:
            for address, standing in ((BOB, Standing.VALID), (ERIN, Standing.REVOKED)):
                one = people.issued[address].certificate
                authority = people.authority.certificate
                nonce = secrets.token_bytes(32)
                body = question(one, authority, nonce)
                kind = "application/ocsp-request"
                request = Request(responder.url, 1 << 16, body=body, content_type=kind)
                answer = OcspAnswer.read(await fetched(net, request))
                assert answer.nonce == nonce
                told = known.with_answers({ocsp_key(one, authority): answer})
                found = verdict(one, told, at=now, rules=rules)
                assert (found.standing, found.needs) == (standing, ())
    finally:
        responder.stop()


async def fetched(net: GuardedNet, request: Request) -> bytes:
    """What is answered, once anybody answers."""
    end = time.monotonic() + 20
    while True:
        try:
            return (await net.fetch(request)).content or b""
        except FetchFailed:
            assert time.monotonic() < end
