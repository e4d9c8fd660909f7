"""`smimefilter certificate`, `root`, `crl`, `ctl`: what is in the store, and how far it is
trusted."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from smimefilter.pki.keyfile import read
from tests.support.commands import Done
from tests.support.needs import need
from tests.support.postoffice import ALICE, BOB, ERIN, FRANK, GINA, Installation


def standing(installation: Installation, address: str) -> tuple[str, str]:
    """How far somebody's certificate is trusted, and why in words."""
    (row,) = installation.command("certificate", "list", "--address", address, "--json").json
    return row["standing"], " ".join(row["reasons"])


def outcomes(done: Done) -> list[tuple[str, str]]:
    return [(item["outcome"], item["what"]) for item in done.json]


# certificate


def test_import_tells_what_became_of_each(installation: Installation, tmp_path: Path) -> None:
    people, command = installation.people, installation.command
    people.add("hans@strict.test")
    files = [
        str(people.certificate("hans@strict.test")),
        str(people.certificate(BOB)),
        str(people.crl(FRANK)),
    ]
    done = command("certificate", "import", "--json", *files, code=1)
    assert outcomes(done) == [
        ("added", "CN=hans"),
        ("already there", "CN=bob"),
        ("refused", "CRL of CN=Test Sub CA"),
    ]
    assert [item["reason"] for item in done.json][2] == "a CRL: import it as one"
    again = command("certificate", "import", *files[:2])
    assert again.out.splitlines()[-1] == "0 added, 2 already there, 0 refused"
    assert standing(installation, "hans@strict.test")[0] == "valid"


def test_formats_go_out_and_come_in_again(installation: Installation) -> None:
    command, home = installation.command, installation.home
    wanted = {installation.who(one).thumbprint for one in (BOB, ERIN)}
    for form in ("pem", "p7b"):
        file = home / f"out.{form}"
        beginnings = [one[:16] for one in wanted]
        command("certificate", "export", *beginnings, "--to", str(file), "--format", form)
        assert {one.thumbprint for one in read(file.read_bytes()).certificates} == wanted
        for thumbprint in wanted:
            command("certificate", "remove", thumbprint)
        done = command("certificate", "import", str(file), "--json")
        assert sorted(outcomes(done)) == [("added", "CN=bob"), ("added", "CN=erin")]


def test_export_of_one_certificate_as_it_is(installation: Installation) -> None:
    command, file = installation.command, installation.home / "bob.der"
    bob = installation.who(BOB).certificate
    export = ("certificate", "export", bob.thumbprint, "--to", str(file), "--format")
    command(*export, "der")
    assert file.read_bytes() == bob.der
    assert file.stat().st_mode & 0o777 == 0o644
    assert "export the key instead" in command.complaint(*export, "p12", "--force")
    file.write_text("something dear")
    assert command.complaint(*export, "der").endswith("(name another one, or say --force)")
    assert file.read_text() == "something dear"
    command(*export, "der", "--force")
    assert file.read_bytes() == bob.der


def test_list_finds_by_every_field(installation: Installation) -> None:
    def found(*query: str) -> list[str]:
        rows = installation.command("certificate", "list", "--json", *query).json
        return sorted(row["subject"].removeprefix("CN=") for row in rows)

    bob = installation.who(BOB).certificate
    everybody = found()
    assert {"alice", "bob", "erin", "frank", "gina", "Test Sub CA"} <= set(everybody)
    assert found("--address", "strict.test") == ["bob", "erin", "frank"]
    assert found("--subject", "GIN") == ["gina"]
    assert found("--issuer", "sub ca", "--address", "bob") == ["bob"]
    assert found("--serial", bob.serial_hex) == ["bob"]
    assert found("--thumbprint", bob.thumbprint[:20]) == ["bob"]
    assert found("--validity", "expired") == ["frank"]
    assert set(everybody) - set(found("--validity", "unexpired")) == {"frank"}
    assert found("--with-key") == ["alice"]
    assert found("--subject", "nobody") == []
    listed = installation.command("certificate", "list", "--subject", "nobody")
    assert listed.out == "no certificates\n"


def test_how_each_came(installation: Installation) -> None:
    command = installation.command
    shown = command("certificate", "show", installation.who(ALICE).thumbprint[:16]).out
    assert "in the store" in shown
    rows = command("certificate", "list", "--json").json
    origins = {row["origin"] for row in rows}
    for origin in origins:
        listed = command("certificate", "list", "--json", "--origin", origin.upper()).json
        assert listed == [row for row in rows if row["origin"] == origin]
        assert origin in shown or origin not in {
            row["origin"] for row in rows if ALICE in row["addresses"]
        }
    assert command("certificate", "list", "--json", "--origin", "signature of").json == []


def test_a_row_has_all_that_programs_need(installation: Installation) -> None:
    (row,) = installation.command("certificate", "list", "--json", "--address", ALICE).json
    alice = installation.who(ALICE).certificate
    assert row["sha512"] == alice.thumbprint
    assert row["serial"] == alice.serial_hex
    assert (row["addresses"], row["key"]) == ([ALICE], True)
    assert row["standing"] == "valid"
    assert row.keys() >= {"subject", "issuer", "expires", "origin", "added", "reasons"}


def test_show_tells_everything_of_a_stored_one(installation: Installation) -> None:
    bob = installation.who(BOB).certificate
    shown = installation.command("certificate", "show", bob.thumbprint[:8], "--json").json
    assert (shown["subject"], shown["issuer"]) == ("CN=bob", "CN=Test Sub CA")
    assert shown["SHA-512"] == bob.thumbprint
    assert shown["SHA-1"] == bob.sha1
    assert shown["serial"] == bob.serial_hex
    assert shown["key usage"] == "digitalSignature, keyEncipherment"
    assert shown["to encrypt"][0] == "valid"
    text = installation.command("certificate", "show", bob.thumbprint).out
    assert bob.thumbprint in text
    assert "the path to a trusted root is valid" in text


def test_show_tells_of_files_as_well(installation: Installation) -> None:
    people = installation.people
    stranger = installation.home / "two.pem"
    stranger.write_bytes(people.certificate(FRANK).read_bytes() + people.root_file.read_bytes())
    frank, root = installation.command("certificate", "show", str(stranger), "--json").json
    assert frank["subject"] == "CN=frank"
    assert frank["trust"][0] == "expired"
    assert root["CA"].startswith("yes")
    installation.program.config.unlink()  # no installation is needed for that
    shown = installation.command("certificate", "show", str(people.certificate(BOB))).out
    assert installation.who(BOB).thumbprint in shown


def test_remove(installation: Installation) -> None:
    thumbprint = installation.who(GINA).thumbprint
    assert installation.command("certificate", "remove", thumbprint[:16]).out == (
        "removed CN=gina\n"
    )
    assert "no certificate" in installation.command.complaint("certificate", "show", thumbprint)


# root


def test_roots_are_cas(installation: Installation) -> None:
    command, people = installation.command, installation.people
    done = command("root", "import", "--json", str(people.certificate(BOB)), code=1)
    assert "only those can be roots" in done.json[0]["reason"]
    done = command("root", "import", "--json", str(people.authority_file), code=1)
    assert "an intermediate CA, not a root" in done.json[0]["reason"]
    done = command("root", "import", "--json", "--force", str(people.authority_file))
    assert outcomes(done) == [("added", "CN=Test Sub CA")]
    listed = command("root", "list", "--json").json
    assert [row["subject"] for row in listed] == ["CN=Test Root", "CN=Test Sub CA"]


def test_without_its_root_nothing_is_trusted(installation: Installation) -> None:
    command = installation.command
    command("root", "remove", installation.people.root.thumbprint[:16])
    assert command("root", "list").out == "no roots\n"
    found, why = standing(installation, BOB)
    assert found == "untrusted"
    assert "no path to a trusted root" in why
    command("root", "import", str(installation.people.root_file))
    assert standing(installation, BOB)[0] == "valid"


def test_roots_of_the_operating_system(installation: Installation) -> None:
    done = installation.command("root", "import", "--system", "--json")
    assert len(done.json) > 50
    assert {item["outcome"] for item in done.json} == {"added"}
    again = installation.command("root", "import", "--system")
    assert again.out.splitlines()[-1].startswith("0 added, ")


# crl


def test_crls(installation: Installation) -> None:
    command, people = installation.command, installation.people
    before = standing(installation, BOB)[1]
    assert "revocation unknown" in before
    file = str(people.crl(BOB))
    assert outcomes(command("crl", "import", file, "--json")) == [
        ("added", "CRL of CN=Test Sub CA")
    ]
    assert outcomes(command("crl", "import", file, "--json"))[0][0] == "already there"
    (row,) = command("crl", "list", "--json").json
    assert (row["issuer"], row["number"], row["entries"]) == ("CN=Test Sub CA", 1, 1)
    assert len(row["sha256"]) == 64
    assert standing(installation, BOB)[0] == "revoked"
    assert "not on the issuer's CRL" in standing(installation, ERIN)[1]
    assert command("crl", "remove", row["sha256"][:16]).out.startswith("removed")
    assert command("crl", "list").out == "no CRLs\n"
    assert standing(installation, BOB) == ("valid", before)


def test_a_crl_of_somebody_else_is_of_no_effect(installation: Installation) -> None:
    """It names our CA, and is not signed by it."""
    forger = installation.people.root.issue("Test Sub CA", ca=True, key="p256")
    now = installation.people.now
    file = installation.home / "forged.crl"
    file.write_bytes(
        forger.crl(
            [installation.who(BOB)],
            this_update=now - timedelta(hours=1),
            next_update=now + timedelta(days=1),
        )
    )
    installation.command("crl", "import", str(file))
    assert standing(installation, BOB)[0] != "revoked"


def test_a_crl_that_is_past_is_told_by_doctor(installation: Installation) -> None:
    now = installation.people.now
    content = installation.people.authority.crl(
        this_update=now - timedelta(days=9), next_update=now - timedelta(days=2)
    )
    (installation.home / "old.crl").write_bytes(content)
    installation.command("crl", "import", str(installation.home / "old.crl"))
    (row,) = installation.command("crl", "list", "--json").json
    assert row["state"] == "past its next update"
    findings = installation.command("doctor", "--json", code=1).json
    (crl,) = [one for one in findings if one["about"] == "CRL of CN=Test Sub CA"]
    assert crl["grade"] == "warning"
    assert "smimefilter crl import" in crl["mend"]


# ctl


def test_black(installation: Installation) -> None:
    command, bob = installation.command, installation.who(BOB).thumbprint
    colons = ":".join(bob[n : n + 2] for n in range(0, 128, 2)).upper()
    assert command("ctl", "add", colons, "black", "--note", "lost phone").out == (
        f"added: black {bob}\n"
    )
    assert standing(installation, BOB)[0] == "black-listed"
    assert command("ctl", "add", bob, "black").out.startswith("replaced: ")
    assert command("ctl", "show", bob, "--json").json["note"] == "lost phone"
    command("ctl", "add", bob, "black", "--note", "")
    assert command("ctl", "show", bob, "--json").json["note"] == ""
    assert command("ctl", "remove", bob).out == f"removed {bob}\n"
    assert standing(installation, BOB)[0] == "valid"
    assert command("ctl", "list").out == "no trust list entries\n"


@pytest.mark.parametrize("digits", [8, 40, 64, 127])
def test_the_beginning_of_a_thumbprint_in_the_store_will_do(
    installation: Installation, digits: int
) -> None:
    command, bob = installation.command, installation.who(BOB).thumbprint
    beginning = bob[:digits].upper()
    assert command("ctl", "add", beginning, "black").out == f"added: black {bob}\n"
    assert command("ctl", "show", beginning, "--json").json["thumbprint"] == bob
    assert command("ctl", "remove", beginning).out == f"removed {bob}\n"
    again = command("ctl", "remove", beginning, code=1).err
    assert "not on the trust list" in again
    command(
        "ctl", "add", "ab" * 64, "black"
    )  # not in the store: on the list it has a beginning
    assert command("ctl", "remove", "ab" * 8).out == f"removed {'ab' * 64}\n"


def test_a_beginning_of_several_thumbprints_is_not_enough(installation: Installation) -> None:
    for end in ("0", "1"):
        installation.command("ctl", "add", "ab" * 63 + "c" + end, "black")
    told = installation.command("ctl", "remove", "ab" * 8, code=1).err
    assert "2 certificates have a thumbprint that begins with" in told


def test_white_and_expired(installation: Installation) -> None:
    command, frank = installation.command, installation.who(FRANK).thumbprint
    command("ctl", "add", frank, "white")
    assert standing(installation, FRANK)[0] == "expired"
    command("ctl", "add", frank, "white", "--allow-expired")
    assert standing(installation, FRANK)[0] == "white-listed"
    shown = command("ctl", "show", frank, "--json").json
    assert shown == {
        "listing": "white",
        "allow-expired": True,
        "subject": "CN=frank",
        "note": "",
        "thumbprint": frank,
    }
    assert command("ctl", "list", "--json").json == [shown]


def test_black_goes_down_white_does_not(installation: Installation) -> None:
    command, authority = installation.command, installation.people.authority.thumbprint
    command("ctl", "add", authority, "black")
    assert standing(installation, BOB)[0] == "black-listed"
    command("root", "remove", installation.people.root.thumbprint[:16])
    command("ctl", "add", authority, "white")
    assert standing(installation, BOB)[0] == "untrusted"


def test_entries_for_certificates_that_are_not_there(installation: Installation) -> None:
    installation.command("ctl", "add", "ab" * 64, "black", "--note", "heard of it")
    (entry,) = installation.command("ctl", "list", "--json").json
    assert entry["subject"] == "(not in store)"
    assert entry["note"] == "heard of it"


@pytest.mark.system
def test_thumbprints_are_those_of_openssl(installation: Installation) -> None:
    file = installation.people.certificate(BOB)
    printed = subprocess.run(
        [need("openssl"), "x509", "-in", file, "-noout", "-fingerprint", "-sha512"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    fingerprint = printed.strip().partition("=")[2]
    installation.command("ctl", "add", fingerprint, "black")
    assert standing(installation, BOB)[0] == "black-listed"
