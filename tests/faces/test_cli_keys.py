"""`smimefilter key`: private keys in and out, and a new master key."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from smimefilter.pki.keyfile import read
from tests.support.commands import run
from tests.support.needs import need
from tests.support.people import PASSWORD
from tests.support.postoffice import (
    ALICE,
    BOB,
    DATABASE,
    DAVE,
    ERIN,
    Installation,
    PostOffice,
    letter,
)

PKCS12 = Path(__file__).parents[1] / "vectors" / "pkcs12"


@pytest.mark.parametrize("old", [False, True])
def test_import(old: bool, installation: Installation) -> None:
    people, command = installation.people, installation.command
    identity = str(people.identity(BOB, old=old))
    password = ("--password-file", str(people.password_file))
    done = command("key", "import", identity, *password, "--json")
    fates = {item["what"]: (item["outcome"], item["with_key"]) for item in done.json}
    assert fates["CN=bob"] == ("added", True)
    assert fates["CN=Test Sub CA"] == ("already there", False)
    again = command("key", "import", identity, "--password-file", "-", stdin=f"{PASSWORD}\n")
    assert again.out.splitlines()[-1].startswith("0 added, ")
    listed = command("key", "list", "--json").json
    assert sorted(row["subject"] for row in listed) == ["CN=alice", "CN=bob"]
    (bob,) = command("certificate", "list", "--json", "--address", BOB).json
    assert bob["key"] is True


def test_a_key_that_cannot_be_opened_is_told_of_and_replaced(
    installation: Installation,
) -> None:
    command, people = installation.command, installation.people
    alice = installation.who(ALICE).thumbprint
    with closing(sqlite3.connect(installation.home / DATABASE)) as connection, connection:
        (blob,) = connection.execute("SELECT blob FROM private_keys").fetchone()
        spoilt = blob[:-1] + bytes([blob[-1] ^ 1])
        connection.execute("UPDATE private_keys SET blob = ?", (spoilt,))
    findings = command("doctor", "--json", code=1).json
    (bad,) = [one for one in findings if "smimefilter key import" in one["mend"]]
    assert bad["grade"] == "bad"
    assert alice[:16] in bad["about"]
    file = str(people.identity(ALICE))
    done = command("key", "import", file, "--password-file", str(people.password_file))
    assert f"replaced: CN=alice {alice[:16]} with its private key\n" in done.out
    assert done.out.splitlines()[-1].startswith("0 added, 1 replaced, ")
    findings = command("doctor", "--json", code=1).json
    assert not [one for one in findings if "smimefilter key import" in one["mend"]]


def test_a_root_that_comes_with_a_key_is_not_trusted_for_that(
    installation: Installation,
) -> None:
    command, people = installation.command, installation.people
    command("root", "remove", people.root.thumbprint[:16])
    password = ("--password-file", str(people.password_file))
    command("key", "import", str(people.identity(BOB)), *password)
    assert command("root", "list").out == "no roots\n"


@pytest.mark.parametrize("file", ["openssl1.p12", "windows.p12", "macos.p12", "keytool.p12"])
def test_files_of_other_programs(file: str, installation: Installation) -> None:
    done = installation.command(
        "key", "import", str(PKCS12 / file), "--password-file", "-", "--json", stdin="secret\n"
    )
    assert any(item["with_key"] for item in done.json)
    assert {item["outcome"] for item in done.json} == {"added"}


def test_export_is_read_again(installation: Installation) -> None:
    command, alice = installation.command, installation.who(ALICE)
    for form in ("p12", "p12-old", "pem"):
        file = installation.home / f"alice.{form}"
        command(
            "key", "export", alice.thumbprint[:16], "--to", str(file), "--format", form,
            "--password-file", "-", stdin="another password\n",
        )  # fmt: skip
        assert file.stat().st_mode & 0o777 == 0o600
        (identity,) = read(file.read_bytes(), "another password").identities
        assert identity.certificate == alice.certificate
        assert identity.key.private_numbers() == alice.key.private_numbers()


@pytest.mark.system
def test_openssl_reads_what_is_exported(installation: Installation) -> None:
    file = installation.home / "alice.p12"
    installation.command(
        "key", "export", installation.who(ALICE).thumbprint, "--to", str(file),
        "--password-file", str(installation.people.password_file),
    )  # fmt: skip
    done = subprocess.run(
        [need("openssl"), "pkcs12", "-in", file, "-passin", f"pass:{PASSWORD}", "-noenc"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "BEGIN PRIVATE KEY" in done.stdout
    assert done.stdout.count("BEGIN CERTIFICATE") == 3


def test_removing_a_certificate_takes_its_key_along(installation: Installation) -> None:
    remove = ("certificate", "remove", installation.who(ALICE).thumbprint)
    complaint = installation.command.complaint(*remove)
    assert complaint.startswith("CN=alice: its private key would be gone as well")
    assert "--with-key" in complaint
    assert installation.command("key", "list", "--json").json
    done = installation.command(*remove, "--with-key")
    assert done.out == "removed CN=alice and its private key\n"
    assert installation.command("key", "list").out == "no private keys\n"


def test_generate(tmp_path: Path) -> None:
    file = tmp_path / "new.key"
    assert str(file) in run("key", "generate", str(file)).out
    assert file.stat().st_mode & 0o777 == 0o600
    first = file.read_bytes()
    done = run("key", "generate", str(file), code=1)
    assert "a master key is never overwritten" in done.err
    assert file.read_bytes() == first


def test_rotate(installation: Installation) -> None:
    """Afterwards the new key opens everything and the old one nothing."""
    command, home = installation.command, installation.home
    secret = ("policy", "set", ALICE, "pkcs12-password", "--value-file", "-")
    command(*secret, stdin="top secret\n")
    new, used = home / "new.key", home / "master.key"
    done = command("key", "rotate", "--new", str(new))
    assert "rewrapped 1 private keys and 1 secrets" in done.out
    assert new.stat().st_mode & 0o777 == 0o600
    assert "not the one this database was made with" in command.complaint("key", "list")
    assert "not the one this database was made with" in command.complaint("serve")
    used.unlink()
    new.rename(used)
    password = ("--password-file", str(installation.people.password_file))
    alice = installation.who(ALICE).thumbprint
    command("key", "export", alice, "--to", str(home / "alice.p12"), *password)
    assert any(
        row["preference"] == "pkcs12-password" and row["value"] == "(secret)"
        for row in command("policy", "show", ALICE, "--json").json
    )


@pytest.mark.system
def test_after_a_rotation_the_filter_signs_with_the_new_master_key(office: PostOffice) -> None:
    office.command("policy", "set", "in.test", "sign", "always")
    new, used = office.home / "new.key", office.home / "master.key"
    office.command("key", "rotate", "--new", str(new))
    office.program.stop()
    used.unlink()
    new.rename(used)
    office.program.start()
    (reply,) = office.hand_over(ALICE, [DAVE], letter(ALICE, DAVE))
    assert reply.startswith("250 ")
    assert office.openssl.verify(office.sink.mails[0].content)


def test_keys_and_secrets_are_nowhere_in_the_clear(installation: Installation) -> None:
    """Neither in the database nor in what commands print."""
    command, people = installation.command, installation.people
    command("policy", "set", ERIN, "pkcs12-password", "--value-file", "-", stdin="hush hush\n")
    password = ("--password-file", str(people.password_file))
    command("key", "import", str(people.identity(BOB)), *password)
    numbers = installation.who(BOB).key.private_numbers()
    prime = numbers.p.to_bytes((numbers.p.bit_length() + 7) // 8)
    stored = b"".join(file.read_bytes() for file in installation.home.glob("smimefilter.db*"))
    assert b"hush hush" not in stored
    assert prime not in stored
    for show in (("policy", "list"), ("policy", "show", ERIN), ("policy", "list", "--json")):
        printed = command(*show).out
        assert "(secret)" in printed
        assert "hush" not in printed
