"""The account at Atlas by its commands: set-up in steps, domains, the chain, an order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.cas.atlas import KEY, SECRET, AtlasService
from tests.support.cas.globalsign import closes, says, stranger, tls
from tests.support.commands import Commands
from tests.support.postoffice import Installation

IVAN = "ivan@in.test"


@pytest.fixture
def atlas() -> Iterator[AtlasService]:
    with AtlasService() as service:
        yield service


@pytest.fixture
def run(installation: Installation, atlas: AtlasService, tmp_path: Path) -> Commands:
    """Commands of an installation that knows where Atlas is, and nothing more."""
    run = installation.command
    (tmp_path / "roots.pem").write_text(tls().roots)
    roots = f"roots=@{tmp_path / 'roots.pem'}"
    done = run("handler", "configure", "atlas", f"url={atlas.url}", roots)
    assert "still missing: api_key, api_secret, mtls_certificate, mtls_key" in done.out
    return run


@pytest.fixture
def ready(run: Commands, tmp_path: Path) -> Commands:
    """All set up."""
    credential(run, tmp_path)
    run("atlas", "setup", "csr", "--out", str(tmp_path / "mtls.csr"))
    run(
        "atlas",
        "setup",
        "certificate",
        certified(tmp_path, (tmp_path / "mtls.csr").read_text()),
    )
    return run


def credential(run: Commands, folder: Path, secret: str = SECRET) -> None:
    (folder / "api-key").write_text(f"{KEY}\n")
    (folder / "api-secret").write_text(f"{secret}\n")
    files = ("--api-key-file", str(folder / "api-key"),
             "--api-secret-file", str(folder / "api-secret"))  # fmt: skip
    run("atlas", "setup", "key", *files)


def certified(folder: Path, csr: str, days: int = 30) -> str:
    """A file with the certificate that Atlas makes of a CSR."""
    public = x509.load_pem_x509_csr(csr.encode()).public_key()
    file = folder / "mtls.pem"
    file.write_text(tls().issuer.certificate("mTLS", public, days))
    return str(file)


def next_step(run: Commands) -> str:
    return str(run("atlas", "setup", "show", "--json").json["next"])


def test_set_up_in_steps_that_can_be_taken_on_different_days(
    run: Commands, atlas: AtlasService, tmp_path: Path
) -> None:
    assert "smimefilter atlas setup key" in next_step(run)
    assert "api_key: field required" in run.complaint("atlas", "domain", "list")
    credential(run, tmp_path)
    assert "smimefilter atlas setup csr" in next_step(run)
    csr = run("atlas", "setup", "csr").out
    assert csr.startswith("-----BEGIN CERTIFICATE REQUEST-----")
    parsed = x509.load_pem_x509_csr(csr.encode())
    assert parsed.subject.rfc4514_string() == "CN=smimefilter"
    again = run("atlas", "setup", "csr", "--cn", "gateway").out
    assert x509.load_pem_x509_csr(again.encode()).public_key() == parsed.public_key()
    assert "smimefilter atlas setup certificate FILE" in next_step(run)
    assert "mtls_certificate: field required" in run.complaint("handler", "test", "atlas")
    done = run("atlas", "setup", "certificate", certified(tmp_path, csr))
    assert done.out.startswith("uses CN=mTLS until ")
    assert "nothing is missing" in done.out
    assert "smimefilter handler test atlas" in next_step(run)
    tried = run("handler", "test", "atlas").out
    assert tried.startswith("atlas: logged in; 7 certificates left")


def test_a_new_mtls_certificate_while_the_old_one_is_used(
    ready: Commands, tmp_path: Path
) -> None:
    before = ready("handler", "show", "atlas", "--json").json["mtls_certificate"]
    csr = ready("atlas", "setup", "csr").out
    assert "bring the certificate" in next_step(ready)
    ready("handler", "test", "atlas")  # with the old one
    anew = ready("atlas", "setup", "csr", "--anew").out
    file = certified(tmp_path, csr)
    assert "another key than that of the CSR" in ready.complaint(
        "atlas", "setup", "certificate", file
    )
    ready("atlas", "setup", "certificate", certified(tmp_path, anew))
    assert ready("handler", "show", "atlas", "--json").json["mtls_certificate"] != before
    ready("handler", "test", "atlas")


def test_what_is_wrong_with_a_certificate(run: Commands, tmp_path: Path) -> None:
    csr = tmp_path / "x.csr"
    run_setup = ("atlas", "setup", "certificate")
    file = tmp_path / "other.pem"
    file.write_text(stranger().pair("x").certificate)
    assert "smimefilter atlas setup csr" in run.complaint(*run_setup, str(file))
    run("atlas", "setup", "csr", "--out", str(csr))
    assert "there is such a file" in run.complaint("atlas", "setup", "csr", "--out", str(csr))
    assert "another key" in run.complaint(*run_setup, str(file))
    file.write_text("nonsense")
    assert "damaged" in run.complaint(*run_setup, str(file))
    old = certified(tmp_path, csr.read_text(), days=-1)
    assert "it has expired" in run.complaint(*run_setup, old)
    assert "no such kind of key" in run.complaint("atlas", "setup", "csr", "--key", "p256")
    assert "setup key" in next_step(run)


def test_settings_that_were_spoiled_by_hand_are_mended_by_setting_up(
    ready: Commands, tmp_path: Path
) -> None:
    spoilt = tmp_path / "spoilt"
    spoilt.write_text("nonsense")
    for name in ("mtls_key", "mtls_certificate", "new_mtls_key"):
        ready("handler", "configure", "atlas", f"{name}=@{spoilt}")
    assert "do not fit" in ready.complaint("handler", "test", "atlas")
    assert "--anew" in ready.complaint("atlas", "setup", "csr")
    file = certified(tmp_path, ready("atlas", "setup", "csr", "--anew").out)
    assert "nothing is missing" in ready("atlas", "setup", "certificate", file).out
    ready("handler", "test", "atlas")


def test_secrets_are_shown_nowhere(
    ready: Commands, installation: Installation, tmp_path: Path
) -> None:
    shown = ready("handler", "show", "atlas").out + ready("atlas", "setup", "show").out
    assert SECRET not in shown
    assert KEY not in shown
    assert "PRIVATE KEY" not in shown
    for file in installation.home.glob("smimefilter.db*"):
        assert SECRET.encode() not in file.read_bytes()
        assert b"PRIVATE KEY" not in file.read_bytes()
    credential(ready, tmp_path, "not-this-one")
    said = ready.complaint("atlas", "domain", "list")
    assert said == "atlas: Atlas does not take the API key and secret"


def test_a_domain_from_claim_to_certificates(ready: Commands, atlas: AtlasService) -> None:
    done = ready("atlas", "domain", "register", "In.Test.")
    (id_,) = atlas.claims
    assert f'in.test. 300 IN TXT "globalsign-domain-verification=TOKEN{id_}"' in done.out
    pending = ready("atlas", "domain", "validate", "in.test", code=1)
    assert pending.out.startswith("pending: in.test")
    atlas.in_dns.add("in.test")
    assert ready("atlas", "domain", "validate", "in.test").out == "verified: in.test\n"
    (row,) = ready("atlas", "domain", "list", "--json").json
    assert (row["domain"], row["status"], row["claim"]) == ("in.test", "VERIFIED", id_)
    assert row["log"][0] == "1970-01-01 00:00 ERROR: in.test"
    assert ready("atlas", "domain", "list", "--status", "PENDING").out == "no claims\n"
    again = ready("atlas", "domain", "reassert", "in.test", "--json").json
    assert (again["claim"], again["token"]) == (id_, f"AGAIN{id_}")
    assert ready("atlas", "domain", "delete", "in.test").out.startswith("deleted the claim")
    assert atlas.claims == {}


def test_an_authorization_domain_and_a_claim_by_its_id(
    ready: Commands, atlas: AtlasService
) -> None:
    ready("atlas", "domain", "register", "mail.in.test")
    ready("atlas", "domain", "register", "mail.in.test")
    first, second = atlas.claims
    atlas.in_dns.add("in.test")
    validate = ("atlas", "domain", "validate", "mail.in.test")
    ready(*validate, "--authorization-domain", "in.test")
    assert atlas.claims[second]["status"] == "VERIFIED"  # the newest one
    ready(*validate, "--claim", first, code=1)
    ready(*validate, "--authorization-domain", "in.test")  # the one that is not verified
    assert atlas.claims[first]["status"] == "VERIFIED"
    said = ready.complaint(*validate, "--authorization-domain", "n.test")
    assert "not a domain above" in said
    assert "is for mail.in.test" in ready.complaint(
        "atlas", "domain", "delete", "x.test", "--claim", first
    )
    assert "no claim has such an id" in ready.complaint(*validate, "--claim", "../x")


def test_many_claims_come_in_pages(ready: Commands, atlas: AtlasService) -> None:
    atlas.most_per_page = 3
    for number in range(7):
        atlas._new_claim(f"d{number}.test")
    listed = ready("atlas", "domain", "list", "--json").json
    assert [row["domain"] for row in listed] == [f"d{number}.test" for number in range(7)]


def test_what_cannot_be_claimed(ready: Commands, atlas: AtlasService) -> None:
    said = ready.complaint("atlas", "domain", "register", "forbidden.test")
    assert "422: Validation error message; blacklist: forbidden.test is on it" in said
    for odd in ("in", "a/../login.test", "x?y.test", "[1.2.3.4]", ""):
        assert "domain" in ready.complaint("atlas", "domain", "register", odd)
    assert "smimefilter atlas domain register no.test" in ready.complaint(
        "atlas", "domain", "validate", "no.test"
    )
    for answer in (says("{}", 201), says("nonsense", 201), says('{"token": "a b"}', 201)):
        atlas.behave["POST /claims"] = answer
        assert "gave no token" in ready.complaint("atlas", "domain", "register", "a.test")
    for odd in ("{}", "[1]", '[{"id": "../x", "domain": "a.test"}]'):
        atlas.behave["GET /claims"] = says(odd)
        assert "something else" in ready.complaint("atlas", "domain", "list")
    atlas.behave["GET /claims"] = closes
    assert "the connection broke" in ready.complaint("atlas", "domain", "list")


def test_the_chain_and_an_order(ready: Commands, atlas: AtlasService) -> None:
    done = ready("atlas", "import-chain")
    assert "added: CN=Atlas Root" in done.out
    assert "2 added, 0 already there, 0 refused" in done.out
    assert "0 added, 2 already there" in ready("atlas", "import-chain").out
    assert "Atlas Root" in ready("root", "list").out
    done = ready("certificate", "request", IVAN, "--cn", "Ivan", "--handler", "atlas",
                 "--key", "rsa2048", "--days", "90", "--json")  # fmt: skip
    assert done.json["state"] == "issued", done.json
    thumbprint = done.json["thumbprint"]
    verdict = ready("certificate", "verify", thumbprint, "--purpose", "sign").out
    assert "verdict: valid" in verdict
    assert len(atlas.orders) == 1


def test_a_chain_that_is_none_is_not_trusted(ready: Commands, atlas: AtlasService) -> None:
    leaf = stranger().pair("leaf").certificate.replace("\n", "\\n")
    for odd in ("[]", "{}", f'["{leaf}"]', '["nonsense"]'):
        atlas.behave["GET /trustchain"] = says(odd)
        before = ready("root", "list").out
        assert ready.complaint("atlas", "import-chain").startswith("atlas: Atlas gave ")
        assert ready("root", "list").out == before
