"""`smimefilter audit`, and that every command that changes something leaves a record."""

from __future__ import annotations

import getpass
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import typer.main

from smimefilter.cli.root import app
from tests.support.cas.atlas import KEY, SECRET, AtlasService
from tests.support.cas.globalsign import tls
from tests.support.commands import Commands
from tests.support.postoffice import BOB, DATABASE, GINA, PostOffice, Stock, filter_alone
from tests.support.program import Program, shipped_settings

# What changes nothing in an installation that is there; all else has to leave a record.
READS = {
    "atlas domain list", "atlas setup show", "audit list", "audit verify", "bulk preview",
    "ca list", "account list", "certificate export", "certificate list", "certificate show",
    "certificate verify", "correspondent list", "crl list", "crl show", "crl sources",
    "ctl list", "ctl show", "demo", "doctor", "explain", "handler list", "handler show",
    "handler test", "key generate", "key list", "key token list", "pending download",
    "pending list",
    "pending show", "policy check", "policy list", "policy show", "root list", "serve",
    "version",
}  # fmt: skip
NEEDS_A_TOKEN = {"key token link"}  # tests/system/test_token.py sees to its record


def commands() -> set[str]:
    """All there are."""

    def below(command: Any, path: str) -> Iterator[str]:
        for name, one in getattr(command, "commands", {}).items():
            here = f"{path} {name}".strip()
            yield from below(one, here) if hasattr(one, "commands") else [here]

    return set(below(typer.main.get_command(app), ""))


class Clerk:
    """Runs commands; each has to leave records that say the actor."""

    def __init__(self, office: PostOffice) -> None:
        self._office = office
        self._database = office.home / DATABASE
        self.done: set[str] = set()
        self.told: list[tuple[str, str]] = []

    def records(self) -> list[tuple[str, str, str]]:
        with closing(sqlite3.connect(self._database)) as connection:
            asked = "SELECT actor, event, detail FROM audit ORDER BY number"
            return connection.execute(asked).fetchall()

    def __call__(self, name: str, *arguments: str, event: str, code: int = 0) -> Any:
        before = len(self.records())
        run = self._office.command
        done = run(*name.split(), *arguments, code=code)
        new = self.records()[before:]
        assert event in [told for _, told, _ in new], (name, new)
        assert {actor for actor, _, _ in new} <= {getpass.getuser()}, new
        self.done.add(name)
        return done


@pytest.fixture
def office(stock: Stock, tmp_path: Path) -> Iterator[PostOffice]:
    home = tmp_path / "home"
    home.mkdir()
    with filter_alone(stock, home) as office:
        yield office


def test_every_command_that_changes_something_leaves_a_record(
    office: PostOffice, tmp_path: Path
) -> None:
    clerk = Clerk(office)
    for part in (_stores, _authority, _requests, _atlas, _installation):
        part(clerk, office, tmp_path)
    assert clerk.done.isdisjoint(READS)
    assert commands() - clerk.done - NEEDS_A_TOKEN == READS
    secrets = ("a long password", SECRET, KEY)
    assert not [one for one in clerk.records() if any(secret in str(one) for secret in secrets)]
    assert office.command("audit", "verify").out.startswith("whole: ")


def password(folder: Path) -> tuple[str, str]:
    (folder / "password").write_text("a long password\n")
    return "--password-file", str(folder / "password")


def _stores(clerk: Clerk, office: PostOffice, folder: Path) -> None:
    people, run = office.people, office.command
    bob, gina = office.who(BOB).thumbprint, office.who(GINA).thumbprint
    clerk("certificate remove", bob, event="certificate removed")
    clerk("certificate import", str(people.certificate(BOB)), event="certificate added")
    own = ("--password-file", str(people.password_file))
    clerk("key import", str(people.identity(BOB)), *own, event="private key added")
    clerk("key export", bob, "--to", str(folder / "bob.p12"), *password(folder),
          event="private key exported")  # fmt: skip
    clerk("root remove", people.root.thumbprint, event="root removed")
    clerk("root import", str(people.root_file), event="root added")
    clerk("ctl add", gina, "white", "--note", "why", event="trust list entry set")
    clerk("ctl remove", gina, event="trust list entry removed")
    clerk("policy set", "global", "sign", "never", event="preference set")
    clerk("policy unset", "global", "sign", event="preference unset")
    clerk("account add", "alice", *password(folder), event="login added")
    clerk("account remove", "alice", event="login removed")
    with closing(sqlite3.connect(office.home / DATABASE)) as connection, connection:
        connection.execute("INSERT INTO correspondents VALUES ('x@x.test', '', 1)")
    clerk("correspondent remove", "x@x.test", event="correspondent forgotten")
    clerk("crl update", event="CRLs fetched")
    assert run("audit", "list", "--object", gina, "--json").json[1]["details"] == "white: why"


def _authority(clerk: Clerk, office: PostOffice, folder: Path) -> None:
    run = office.command
    made = ("--root", "Root CA", "--key", "p256")
    clerk("ca create", "Sub CA", *made, event="CA created")
    clerk("ca default", "Sub CA", event="CA made the default")
    clerk("ca settings", "key", "p256", event="preference set")
    clerk("crl create", "ab", "--unknown", event="CRL made")
    crls = run("crl", "list", "--json").json
    (sub,) = [one["sha256"] for one in crls if one["issuer"] == "CN=Sub CA"]
    with closing(sqlite3.connect(office.home / DATABASE)) as connection:
        (der,) = connection.execute("SELECT der FROM crls WHERE sha256 = ?", (sub,)).fetchone()
    (folder / "sub.crl").write_bytes(der)
    clerk("crl remove", sub, event="CRL removed")
    clerk("crl import", str(folder / "sub.crl"), event="CRL added")
    clerk("ca offline", "Root CA", "--to", str(folder / "root.p12"), *password(folder),
          event="key of a CA taken offline")  # fmt: skip


def _requests(clerk: Clerk, office: PostOffice, folder: Path) -> None:
    run = office.command
    run("ca", "settings", "mail-sender", "ca@in.test")
    ask = ("certificate request", "ivan@in.test", "--cn", "Ivan")
    issued = clerk(*ask, "--json", event="issued").json
    clerk("certificate send", issued["thumbprint"], "--to", "ivan@in.test",
          event="private key sent")  # fmt: skip
    clerk("certificate revoke", issued["thumbprint"], event="revoked")
    waits = clerk(*ask, "--handler", "csr", "--json", event="requested").json
    clerk("pending reschedule", waits["request"], event="rescheduled")
    answer = _answered(office, waits["request"], folder)
    clerk("pending upload", answer, event="uploaded")
    waits = run(*ask[0].split(), *ask[1:], "--handler", "csr", "--json").json
    clerk("pending delete", waits["request"], event="deleted")
    (folder / "people.csv").write_text("e,cn\na@in.test,A\n")
    clerk("bulk submit", str(folder / "people.csv"), event="requested")


def _answered(office: PostOffice, request: str, folder: Path) -> str:
    """What a CA elsewhere makes of a request."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from tests.support.pki import root

    csr = x509.load_pem_x509_csr(office.command("pending", "download", request).out.encode())
    ca = root("Elsewhere")
    builder = (
        x509.CertificateBuilder()
        .subject_name(csr.subject)
        .issuer_name(ca.certificate.parsed.subject)
        .public_key(csr.public_key())
        .serial_number(77)
        .not_valid_before(office.people.now)
        .not_valid_after(office.people.root.certificate.not_after)
    )
    for extension in csr.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    from cryptography.hazmat.primitives.hashes import SHA256

    made = builder.sign(ca.key, SHA256())
    file = folder / "answer.pem"
    file.write_bytes(made.public_bytes(Encoding.PEM))
    return str(file)


def _atlas(clerk: Clerk, office: PostOffice, folder: Path) -> None:
    from tests.faces.test_cli_atlas import certified

    with AtlasService() as atlas:
        (folder / "roots.pem").write_text(tls().roots)
        clerk("handler configure", "atlas", f"url={atlas.url}", f"roots=@{folder}/roots.pem",
              event="configured")  # fmt: skip
        (folder / "api-key").write_text(f"{KEY}\n")
        (folder / "api-secret").write_text(f"{SECRET}\n")
        clerk("atlas setup key", "--api-key-file", f"{folder}/api-key",
              "--api-secret-file", f"{folder}/api-secret", event="configured")  # fmt: skip
        csr = clerk("atlas setup csr", event="configured").out
        clerk("atlas setup certificate", certified(folder, csr), event="configured")
        clerk("atlas domain register", "in.test", event="domain claimed at Atlas")
        clerk("atlas domain validate", "in.test", code=1, event="domain validated at Atlas")
        clerk("atlas domain reassert", "in.test", event="domain claimed anew at Atlas")
        clerk("atlas domain delete", "in.test", event="claim of a domain deleted at Atlas")
        clerk("atlas import-chain", event="certificate added")


def _installation(clerk: Clerk, office: PostOffice, folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    program = Program(other, shipped_settings(other, port=0, next_hop=1))
    Commands(program.config)("init")
    with closing(sqlite3.connect(other / DATABASE)) as connection:
        told = connection.execute("SELECT event FROM audit").fetchall()
    assert told == [("database set up",)]
    clerk.done.add("init")
    file = folder / "node.tar.gz"
    clerk("backup", str(file), event="backup made")
    for path in (
        other / DATABASE,
        *other.glob(f"{DATABASE}-*"),
        other / "policies/global.yaml",
    ):
        path.unlink(missing_ok=True)
    shutil.copy(office.home / "master.key", other)
    Commands(program.config)("restore", str(file))
    with closing(sqlite3.connect(other / DATABASE)) as connection:
        told = connection.execute("SELECT event FROM audit ORDER BY number").fetchall()
    assert told[-1] == ("restored",)
    clerk.done.add("restore")
    new = folder / "new.key"
    clerk("key rotate", "--new", str(new), event="master key changed")
    shutil.copy(new, office.home / "master.key")


# the commands themselves


def test_records_are_listed_and_verified(
    office: PostOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = office.command
    monkeypatch.setenv("SUDO_USER", "carla")
    run("policy", "set", "strict.test", "sign", "never")
    (last,) = run("audit", "list", "--since", "1h", "--action", "preference", "--json").json
    by_sudo = " (sudo by carla)" if getpass.getuser() == "root" else ""
    assert last["actor"] == f"{getpass.getuser()}{by_sudo}"
    assert (last["object"], last["details"]) == ("strict.test sign", '"never"')
    assert run("audit", "list", "--until", "2020-01-01").out == "no records\n"
    assert len(run("audit", "list", "--most", "2", "--json").json) == 2
    assert "is no time" in run.complaint("audit", "list", "--since", "soon")
    head = run("audit", "verify", "--json").json["head"]
    assert run("audit", "verify", "--noted", head).out.endswith(f"noted elsewhere: {head}\n")
    with closing(sqlite3.connect(office.home / DATABASE)) as connection, connection:
        connection.execute("UPDATE audit SET detail = 'x' WHERE number = 2")
    bad = run("audit", "verify", code=1)
    assert bad.out.startswith("broken at record 2: record 2 was changed")
    assert run("audit", "verify", "--json", code=1).json["whole"] is False
    findings = run("doctor", "--json", code=1).json
    assert [one["what"] for one in findings if one["about"] == "audit log"] == [
        "broken at record 2: record 2 was changed, or the one before it"
    ]


def test_policies_that_are_read_again_leave_a_record(office: PostOffice) -> None:
    def told(outcome: str) -> list[str]:
        listed = office.command("audit", "list", "--actor", "daemon", "--json").json
        return [one["details"] for one in listed if one["outcome"] == outcome]

    office.settings("preferences: {sign: never, encrypt: never}\ndomains: []\n")
    office.program.reload()
    _until(lambda: bool(told("done")))
    assert "changed: clear.test encrypt, global encrypt, global sign" in told("done")[0]
    office.settings("preferences: {sign: perhaps}\n")
    office.program.reload()
    _until(lambda: bool(told("failed")))
    assert "global.yaml" in told("failed")[0]


def _until(true: Callable[[], bool]) -> None:
    import time

    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
