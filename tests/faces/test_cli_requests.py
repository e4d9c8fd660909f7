"""Requests by their commands: one, many, by hand, and keys to their owners."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.commands import Commands, issued
from tests.support.postoffice import ALICE, Installation

IVAN = "ivan@in.test"


def test_a_request_is_issued_at_once_and_signs(
    ca: Commands, installation: Installation
) -> None:
    found = issued(ca, IVAN, "--add-user")
    assert found["outcome"] == "issued; user added"
    verdict = ca("certificate", "verify", found["thumbprint"], "--purpose", "sign").out
    assert "verdict: valid" in verdict
    rows = ca("policy", "show", IVAN, "--json").json
    (name,) = [row for row in rows if row["preference"] == "display-name"]
    assert (name["value"], name["source"]) == ("Ivan", "database")
    history = ca("pending", "show", found["request"], "--json").json["history"]
    assert [line.split(" ", 2)[2].partition(":")[0] for line in history] == [
        "requested", "issued", "done",
    ]  # fmt: skip


def test_what_is_refused_says_why(installation: Installation) -> None:
    run = installation.command
    done = run("certificate", "request", IVAN, "--cn", "Ivan", code=1)
    assert "refused: ivan@in.test: there is no CA that issues by default" in done.out
    assert "needs a common name" in run.complaint("certificate", "request", IVAN)
    assert run.complaint("certificate", "request", "ivan", "--cn", "I")
    said = run.complaint("certificate", "request", IVAN, "--cn", "I", "--handler", "none")
    assert said.startswith("there is no request handler 'none'")
    said = run.complaint("certificate", "request", IVAN, "--cn", "I", "--send")
    assert said.startswith("there is no sender for mails with keys")


def test_a_csr_is_carried_to_another_ca_and_back(ca: Commands, tmp_path: Path) -> None:
    done = ca("certificate", "request", IVAN, "--cn", "Ivan", "--handler", "csr", "--json").json
    (row,) = ca("pending", "list", "--json").json
    assert (row["request"], row["state"]) == (done["request"], "pending")
    assert "BEGIN CERTIFICATE REQUEST" in ca("pending", "download", row["id"]).out
    csr = tmp_path / "ivan.csr"
    ca("pending", "download", row["id"], "--out", str(csr))
    key, root, answer = (str(tmp_path / name) for name in ("k", "r", "a"))
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", root,
            "-subj", "/CN=Carried CA")  # fmt: skip
    assert f"{root}: there is no certificate of a user in it" in ca.complaint(
        "pending", "upload", root
    )
    openssl("x509", "-req", "-in", str(csr), "-CA", root, "-CAkey", key, "-out", answer,
            "-copy_extensions", "copy")  # fmt: skip
    other = tmp_path / "other"
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key + "2", "-out",
            str(other), "-subj", "/CN=X", "-addext", "basicConstraints=CA:FALSE")  # fmt: skip
    (refused,) = ca("pending", "upload", str(other), "--json", code=1).json
    assert refused["why"] == "it is for another key than that of any request that waits"
    assert refused["file"] == str(other)
    who = ("certificate", "request", "john@in.test", "--cn", "J", "--handler", "csr")
    second = ca(*who, "--json").json["request"]
    (refused,) = ca("pending", "upload", answer, "--request", second, "--json", code=1).json
    assert refused["why"] == (
        f"it is for the key of request {done['request'][:8]} for {IVAN}, not for that of "
        f"{second[:8]}"
    )
    (refused,) = ca("pending", "upload", str(other), "--request", second, "--json", code=1).json
    assert refused["why"] == f"it is for another key than that of request {second[:8]}"
    ca("pending", "delete", second)
    (row,) = ca("pending", "upload", answer, "--json").json
    assert (row["outcome"], row["address"], row["file"]) == ("issued", IVAN, answer)
    assert row["why"] == "its issuer is not in the store, import it: CN=Carried CA"
    said = ca.complaint("pending", "upload", answer, "--request", done["request"])
    assert said == f"request {done['request'][:8]} does not wait for a certificate from people"
    assert ca("pending", "list").out == "no requests\n"
    assert any(IVAN in str(one) for one in ca("key", "list", "--json").json)


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def test_pending_is_rescheduled_and_deleted(ca: Commands) -> None:
    ca("certificate", "request", IVAN, "--cn", "Ivan", "--handler", "csr")
    (row,) = ca("pending", "list", "--json").json
    (again,) = ca("pending", "reschedule", row["id"], "--json").json
    assert again["tries"] == row["tries"] + 1
    assert ca("pending", "delete", row["id"]).out == "deleted 1\n"
    assert "no request has an id" in ca.complaint("pending", "show", row["id"])
    said = ca.complaint("pending", "show", row["id"][:3])
    assert (
        f"'{row['id'][:3]}' is not enough of a request's id (write its first 4 digits" in said
    )


def test_a_second_request_for_an_address_is_asked_for(ca: Commands) -> None:
    who = ("certificate", "request", IVAN, "--cn", "Ivan", "--handler", "csr")
    first = ca(*who, "--json").json["request"]
    said = ca.complaint("certificate", "request", "IVAN@In.test", *who[3:])
    assert said.startswith(f"{IVAN}: request {first[:8]} for it waits already, since ")
    assert len(ca("pending", "list", "--json").json) == 1
    assert issued(ca)["state"] == "issued"  # by another handler
    second = ca(*who, "--another", "--json").json["request"]
    done = ca("pending", "delete", first, second, first[:8], "--json").json
    assert done == {"deleted": sorted((first, second)), "left": []}
    ca(*who)


def test_bulk(ca: Commands, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text(
        f"e,cn,o\na@in.test,A,\nb@in.test,B,Other\n{ALICE},Alice,\n", encoding="ascii"
    )
    rows = ca("bulk", "preview", str(file), "--json").json
    assert [(row["row"], row["address"], bool(row["skipped"])) for row in rows] == [
        (2, "a@in.test", False), (3, "b@in.test", False), (4, ALICE, True),
    ]  # fmt: skip
    assert ca("pending", "list", "--all").out == "no requests\n"
    done = ca("bulk", "submit", str(file)).out
    assert f"skipped: row 4, {ALICE}: has a valid certificate to sign with" in done
    assert "2 issued, 0 refused, 0 given-up, 1 skipped" in done
    before = ca("pending", "list", "--all", "--json").json
    assert "2 issued" in ca("bulk", "submit", str(file)).out  # goes on where it ended
    assert ca("pending", "list", "--all", "--json").json == before


def test_bulk_asks_again_for_what_was_refused(ca: Commands, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("e,cn\nz@in.test,Z\n", encoding="ascii")
    ca("policy", "set", "z@in.test", "ca-request-handler", "csr")
    assert "1 pending" in ca("bulk", "submit", str(file)).out
    (waits,) = ca("pending", "list", "--json").json
    ca("pending", "delete", waits["id"])
    ca("policy", "set", "z@in.test", "ca-request-handler", "built-in")
    assert "1 issued" in ca("bulk", "submit", str(file)).out


def test_bulk_goes_on_with_the_handler_of_before(ca: Commands, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("e,cn\n\ny@in.test,Y\nz@in.test,Z\n", encoding="ascii")
    ca("policy", "set", "y@in.test", "ca-request-handler", "built-in")
    ca("policy", "set", "global", "ca-request-handler", "csr")
    preview = ("bulk", "preview", str(file), "--json")
    assert [row["before"] for row in ca(*preview).json] == ["", ""]
    assert "1 issued" in ca("bulk", "submit", str(file)).out
    rows = ca(*preview).json
    assert [(row["row"], row["before"], row["handler"]) for row in rows] == [
        (3, "issued", "built-in"), (4, "waits", "csr"),
    ]  # fmt: skip
    assert "waits" in ca("bulk", "preview", str(file)).out
    before = ca("pending", "list", "--all", "--json").json
    said = ca.complaint("bulk", "submit", str(file), "--handler", "built-in")
    assert said.startswith("row 4, z@in.test: waits at the handler csr, as this file was")
    assert ca("pending", "list", "--all", "--json").json == before
    assert (
        "asked before of built-in, and not again: 1"
        in ca("bulk", "submit", str(file), "--handler", "csr").out
    )
    ca("policy", "set", "global", "ca-request-handler", "default")
    assert "asked before of csr, and not again: 1" in ca("bulk", "submit", str(file)).out
    (waits,) = ca("pending", "list", "--json").json
    ca("pending", "delete", waits["id"])
    assert "2 issued" in ca("bulk", "submit", str(file), "--handler", "built-in").out


def test_bulk_preview_tells_what_was_refused(
    installation: Installation, tmp_path: Path
) -> None:
    file = tmp_path / "people.csv"
    file.write_text("e,cn\nz@in.test,Z\n", encoding="ascii")
    installation.command("bulk", "submit", str(file), code=1)  # there is no CA
    (row,) = installation.command("bulk", "preview", str(file), "--json").json
    assert row["before"] == "refused before"
    assert "there is no CA that issues" in row["outcome"]


def test_bulk_says_that_commas_are_wanted(ca: Commands, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("e;cn\nz@in.test;Z\n", encoding="ascii")
    assert "separated by semicolons" in ca.complaint("bulk", "preview", str(file))


def test_what_goes_with_sending_alone(ca: Commands, tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_text("abc\n")
    who = ("certificate", "request", "q@in.test", "--cn", "Q")
    for option in (("--send-to", "x@in.test"), ("--password-file", str(short)), ("--sms",),
                   ("--store-password",), ("--legacy",)):  # fmt: skip
        assert "say --send as well" in ca.complaint(*who, *option)
    ca("ca", "settings", "mail-sender", "ca@in.test")
    said = ca.complaint(*who, "--send", "--password-file", str(short))
    assert "8 characters or more" in said
    assert "no value for mail-sender" in ca.complaint("ca", "settings", "mail-sender")
    assert ca("pending", "list", "--all", "--json").json == []


def test_a_key_is_sent_where_its_password_can_be_sent_too(
    ca: Commands, installation: Installation
) -> None:
    """What is missing is told before the key is mailed, and nothing but that is told."""
    thumbprint = issued(ca)["thumbprint"]
    send = ("certificate", "send", thumbprint[:16], "--to")
    assert "'nonsense' is not a mail address" in ca.complaint(*send, "nonsense")
    assert "there is no sender for mails" in ca.complaint(*send, IVAN)
    ca("ca", "settings", "mail-sender", "ca@in.test")
    assert "there is no telephone number" in ca.complaint(*send, IVAN, "--sms")
    ca("policy", "set", IVAN, "sms-number", "+4930123456")
    assert "there is no way to send an SMS" in ca.complaint(*send, IVAN, "--sms")
    done = installation.program.run(*send, IVAN, fails=True)  # nobody takes the mail
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"smimefilter: the mail to {IVAN} was not taken: ")


def test_the_key_of_a_ca_is_sent_to_nobody(ca: Commands) -> None:
    ca("ca", "settings", "mail-sender", "ca@in.test")
    rows = ca("ca", "list", "--json").json
    sub = next(one for one in rows if one["kind"] == "intermediate")
    said = ca.complaint(
        "certificate", "send", sub["thumbprint"], "--to", ALICE, "--allow-mismatch"
    )
    assert "its key is not sent to anybody" in said


def test_bulk_asks_for_nothing_of_a_file_with_a_mistake(ca: Commands, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text(f"e,cn\na@in.test,A\nb@in.test,{'B' * 257}\n")
    said = ca("bulk", "submit", str(file), code=1).err
    assert "row 3, column COMMONNAME: 257 characters, at most 256" in said
    assert ca("pending", "list", "--all").out == "no requests\n"
