"""The certificate authority by its commands: CAs, CRLs, and a filter that serves both."""

from __future__ import annotations

import email
import email.policy
import subprocess
from pathlib import Path
from typing import Any

import pytest

from smimefilter.pki.crl import Crl
from tests.support.commands import Commands, issued
from tests.support.postoffice import ALICE, HUGO, Installation, PostOffice

IVAN = "ivan@in.test"


def test_cas(ca: Commands) -> None:
    rows = ca("ca", "list", "--json").json
    assert [(row["subject"], row["kind"], row["default"]) for row in rows] == [
        ("CN=Root CA", "root", False), ("CN=Sub CA", "intermediate", True),
    ]  # fmt: skip
    ca("ca", "create", "Second", "--root", "Second Root", "--key", "p256", "--no-default")
    assert ca("ca", "default", "second").out == "issues by default: CN=Second\n"
    assert issued(ca)["state"] == "issued"
    assert ca.complaint("ca", "create", "A", "--root", "a").startswith("root and intermediate")
    assert "can be broken" in ca.complaint(
        "ca", "create", "A", "--root", "B", "--key", "rsa1024"
    )
    assert "no CA is called 'x'" in ca.complaint("ca", "default", "x")


def test_the_list_of_cas_is_for_people_and_for_programs(ca: Commands) -> None:
    table, (_, sub) = ca("ca", "list").out, ca("ca", "list", "--json").json
    assert sub["thumbprint"][:16] in table
    assert sub["thumbprint"][:17] not in table
    assert len(sub["thumbprint"]) == 128
    assert ca("ca", "default", sub["id"][:5]).out == "issues by default: CN=Sub CA\n"
    made = ca("crl", "create", "--ca", sub["thumbprint"][:6], "--json").json
    assert (made["issuer"], made["number"]) == ("CN=Sub CA", 2)


def test_what_is_done_is_told_to_programs_too(ca: Commands, tmp_path: Path) -> None:
    made = ca("ca", "create", "B", "--root", "Root B", "--key", "p256", "--json").json
    assert [(row["subject"], row["standing"]) for row in made] == [
        ("CN=Root B", "valid"), ("CN=B", "valid"),
    ]  # fmt: skip
    done = ca("ca", "default", "Sub CA", "--json").json
    assert (done["subject"], done["default"]) == ("CN=Sub CA", True)
    done = ca("ca", "settings", "validity", "90", "--json").json
    assert done == {"setting": "ca-validity", "value": 90}
    made = ca("crl", "create", "--json").json
    (listed,) = [
        row for row in ca("crl", "list", "--json").json if row["issuer"] == "CN=Sub CA"
    ]
    assert (made["number"], made["entries"], made["sha256"]) == (2, 0, listed["sha256"])
    done = ca("handler", "configure", "acme", "directory=https://ca.test/dir", "--json").json
    assert (done["handler"], done["set"]) == ("acme", ["directory"])
    thumbprint = issued(ca)["thumbprint"]
    done = ca("certificate", "revoke", thumbprint, "--reason", "superseded", "--json").json
    assert (done["thumbprint"], done["reason"]) == (thumbprint, "superseded")


def test_settings_that_make_no_sense_are_refused(ca: Commands) -> None:
    for command in (("ca", "settings", "request-handler"),
                    ("policy", "set", "in.test", "ca-request-handler")):  # fmt: skip
        said = ca.complaint(*command, "built-inn")
        assert said.startswith("there is no request handler 'built-inn' (did you mean")
        ca(*command, "csr")
        ca(*command, "default")
    said = ca.complaint("ca", "settings", "crl-url", "http://crl.test/{cn}.crl")
    assert "knows no {cn}, only {ca}" in said
    said = ca.complaint("certificate", "request", IVAN, "--cn", "I", "--crl-url", "http://x/{c")
    assert "knows no {c, only {ca}" in said
    for number in ("abc", "+49", "1234", "+49 30 12345x", "0" * 16):
        assert "takes a telephone number" in ca.complaint(
            "policy", "set", IVAN, "sms-number", number
        )
    assert "+4930123456" in ca("policy", "set", IVAN, "sms-number", "+49 (30) 123-456").out


def test_a_ca_that_cannot_be_made_leaves_nothing(installation: Installation) -> None:
    run = installation.command
    create = ("ca", "create", "Sub", "--key", "p256", "--root")
    assert "'nonsense' is not a mail address" in run.complaint(
        *create, "Root", "--email", "nonsense"
    )
    assert "takes at most 64 printable" in run.complaint(*create, "R" * 70)
    assert run("ca", "list").out == "no CAs\n"


def test_settings_are_preferences(ca: Commands) -> None:
    assert ca("ca", "settings", "validity", "90").out == "ca-validity = 90\n"
    ca("policy", "set", "in.test", "ca-validity", "10")
    rows = {row["setting"]: row for row in ca("ca", "settings", "--json").json}
    assert rows["ca-validity"]["value"] == 90
    assert rows["ca-request-handler"]["value"] == "built-in"
    thumbprint = issued(ca)["thumbprint"]
    shown = ca("certificate", "show", thumbprint, "--json").out
    assert "10 days" in shown or thumbprint[:8] in shown
    assert "takes a number" in ca.complaint("ca", "settings", "validity", "0")


def test_revoking_and_crls(ca: Commands) -> None:
    thumbprint = issued(ca)["thumbprint"]
    done = ca("certificate", "revoke", thumbprint[:12], "--reason", "keyCompromise")
    assert done.out.startswith("revoked CN=Ivan, serial ")
    assert "verdict: revoked" in ca("certificate", "verify", thumbprint, code=1).out
    assert "revoked already" in ca.complaint("certificate", "revoke", thumbprint)
    assert "CN=Sub CA: it never issued a certificate with the serial abcd" in ca.complaint(
        "crl", "create", "0xAB:CD"
    )
    made = ca("crl", "create", "0xAB:CD", "--days", "3", "--unknown").out
    assert made == "made a CRL of CN=Sub CA\n"
    (crl,) = [row for row in ca("crl", "list", "--json").json if row["entries"]]
    assert (crl["issuer"], crl["number"], crl["entries"]) == ("CN=Sub CA", 3, 2)
    for serial in ("xyz", "0", "00"):
        assert "is no serial number" in ca.complaint("crl", "create", serial)
    assert "is no serial number" in ca.complaint("crl", "create", "--", "-5")
    assert "no reason" in ca.complaint("crl", "create", "1", "--reason", "spite")
    for days in ("-3", "0", "367", "10000000"):
        said = ca.complaint("crl", "create", "--days", days)
        assert said == f"the next CRL comes after 1 to 366 days, not {days}"
    assert "abcd" in ca.complaint("crl", "create", "--anew")
    ca("crl", "create", "--anew", "--force")
    assert "verdict: valid" in ca("certificate", "verify", thumbprint).out


def test_a_hold_and_its_end(ca: Commands) -> None:
    thumbprint = issued(ca)["thumbprint"]
    said = ca.complaint("certificate", "revoke", thumbprint, "--reason", "removeFromCRL")
    assert "is not revoked" in said
    ca("certificate", "revoke", thumbprint, "--reason", "certificateHold")
    done = ca("certificate", "revoke", thumbprint, "--reason", "removeFromCRL")
    assert done.out.startswith("no longer on hold: CN=Ivan, serial ")
    assert "verdict: valid" in ca("certificate", "verify", thumbprint).out


def test_a_ca_that_is_revoked_is_the_default_no_longer(ca: Commands) -> None:
    (_, sub) = ca("ca", "list", "--json").json
    revoking = ("certificate", "revoke", sub["thumbprint"][:16], "--reason", "cACompromise")
    issued(ca)
    said = ca.complaint(*revoking)
    assert "this is a CA, and with it would fall 1 valid certificate" in said
    assert [row["standing"] for row in ca("ca", "list", "--json").json] == ["valid", "valid"]
    done = ca(*revoking, "--authority")
    assert "by CN=Root CA; with it fall 1 valid certificate\n" in done.out
    assert [row["standing"] for row in ca("ca", "list", "--json").json] == ["valid", "revoked"]
    assert "CN=Sub CA issues no longer, and no other CA does" in done.out
    assert [row["default"] for row in ca("ca", "list", "--json").json] == [False, False]
    refused = ca("certificate", "request", IVAN, "--cn", "Ivan", code=1).out
    assert "there is no CA that issues by default" in refused
    assert "the CA is revoked" in ca.complaint("ca", "default", "Sub CA")
    ca("ca", "create", "Next", "--root", "Next Root", "--key", "p256", "--domain", "in.test")
    assert issued(ca)["state"] == "issued"
    refused = ca("certificate", "request", "x@out.test", "--cn", "X", code=1).out
    assert "the CA does not speak for x@out.test" in refused


def test_a_root_goes_offline_and_makes_its_crls(ca: Commands, tmp_path: Path) -> None:
    file, password = tmp_path / "root.p12", tmp_path / "password"
    password.write_text("a long password")
    with_password = ("--password-file", str(password))
    said = ca.complaint("ca", "offline", "Sub CA", "--to", str(file), *with_password)
    assert "an intermediate needs its key to issue" in said
    done = ca("ca", "offline", "Root CA", "--to", str(file), *with_password, "--days", "2")
    assert "the only key of CN=Root CA" in done.out
    rows = ca("ca", "list", "--json").json
    assert [row["key"] for row in rows] == ["offline", "here"]
    assert issued(ca)["state"] == "issued"
    assert "is not at hand" in ca.complaint("crl", "create", "--ca", "Root CA")
    (sub,) = [row["thumbprint"] for row in rows if row["subject"] == "CN=Sub CA"]
    assert "is not at hand" in ca.complaint("certificate", "revoke", sub, "--authority")
    assert "replaced" not in ca("key", "import", str(file), *with_password).out
    made = ca("crl", "create", "--ca", "Root CA", "--days", "200").out
    assert made == "made a CRL of CN=Root CA\n"
    again = ("ca", "offline", "Root CA", "--to", str(file), *with_password)
    assert "such a file already" in ca.complaint(*again)
    ca(*again, "--force")
    rows = ca("ca", "list", "--json").json
    assert [row["key"] for row in rows] == ["offline", "here"]
    assert ca("ca", "offline", "Root CA", "--to", str(file), "--force", *with_password, code=1)


def test_handlers(ca: Commands, tmp_path: Path) -> None:
    rows = {row["name"]: row for row in ca("handler", "list", "--json").json}
    assert (rows["built-in"]["answers"], rows["csr"]["upload"]) == ("at once", True)
    assert ca("handler", "test", "built-in").out == "built-in: issues with CN=Sub CA\n"
    assert "no request handler 'x'" in ca.complaint("handler", "test", "x")
    assert "has no setting 'y'" in ca.complaint("handler", "configure", "csr", "y=1")
    assert "sets nothing" in ca.complaint("handler", "configure", "csr", "y")


def test_doctor_looks_into_the_office(ca: Commands, installation: Installation) -> None:
    def told() -> dict[str, str]:
        findings = ca("doctor", "--json", code=1).json
        return {one["about"]: one["what"] for one in findings if one["grade"] != "good"}

    assert not {about for about in told() if about.startswith(("letter", "ca-", "requests"))}
    ca("certificate", "request", IVAN, "--cn", "I", "--handler", "acme")
    policies = installation.home / "policies" / "more.yaml"
    far = "domains:\n  - domain: far.test\n    preferences:\n      {}\n"
    policies.write_text(far.format("ca-request-handler: gone"))
    config = installation.program.config
    config.write_text(config.read_text() + "notify: {templates: letters}\n")
    assert any("no such folder" in what for what in told().values()), told()
    letters = config.parent / "letters"
    letters.mkdir()
    (letters / "key.txt").write_text("Subject: x\n\n{{ adress }}\n")
    found = told()
    assert found["requests"].startswith("1 waits for the handler acme: acme is not configured")
    (named,) = [what for about, what in found.items() if about.startswith("ca-request-handler")]
    assert named == "gone: there is no request handler 'gone'"
    assert "'adress' is undefined" in found["letter key.txt"]
    policies.write_text(far.format("ca-crl-url: 'http://x/{cn}.crl'"))
    assert any("knows no {cn}, only {ca}" in what for what in told().values())


# with a filter that runs


def fetched(url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(url, headers=headers), timeout=20) as answer:  # noqa: S310
            return answer.status, dict(answer.headers), answer.read()
    except HTTPError as error:
        return error.code, dict(error.headers), error.read()


@pytest.fixture
def published(stock: Any, tmp_path: Path, free_port: Any) -> Any:
    from tests.support.postoffice import filter_alone

    port = free_port()
    with filter_alone(stock, tmp_path, publish={"port": port}) as office:
        office.publishes = port
        yield office


def test_a_key_is_mailed_and_opened(published: PostOffice, tmp_path: Path) -> None:
    run = published.command
    run("ca", "create", "Sub CA", "--root", "Root CA", "--key", "p256")
    run("ca", "settings", "mail-sender", "ca@in.test")
    run("policy", "set", "global", "ca-key", "p256")
    run("policy", "set", HUGO, "sms-number", "+4930123456")
    done = run("certificate", "request", HUGO, "--cn", "Hugo Grün", "--send").out
    assert f"key sent to {HUGO}" in done
    password = done.split("password of the key file: ")[1].strip()
    (mail,) = published.sink.wait_for(1)
    assert (mail.sender, mail.addresses) == ("ca@in.test", (HUGO,))
    message: Any = email.message_from_bytes(mail.content, policy=email.policy.default)
    (file,) = message.iter_attachments()
    assert file.get_filename() == f"{HUGO}.p12"
    path = tmp_path / "hugo.p12"
    path.write_bytes(file.get_content())
    shown = subprocess.run(
        ["openssl", "pkcs12", "-in", str(path), "-passin", f"pass:{password}", "-nodes"],
        check=True, capture_output=True,
    ).stdout  # fmt: skip
    assert shown.count(b"BEGIN CERTIFICATE") == 3
    assert b"BEGIN PRIVATE KEY" in shown
    assert password not in (tmp_path / "serve.log").read_text()
    thumbprint = run("certificate", "list", "--address", HUGO, "--json").json[0]["sha512"]
    sent = run("certificate", "send", thumbprint[:16], "--to", HUGO, "--json").json
    assert (sent["to"], sent["sent"]) == (HUGO, [thumbprint])
    assert len(sent["password"]) > 15
    said = run.complaint("certificate", "request", ALICE, "--cn", "A", "--send", "--sms")
    assert said.startswith("there is no telephone number of alice@in.test")


def test_the_crl_is_at_its_url_and_another_filter_stops_encrypting(
    published: Any, stock: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from tests.support.postoffice import filter_alone

    run, port = published.command, published.publishes
    run("ca", "settings", "crl-url", f"http://127.0.0.1:{port}/{{ca}}.crl")
    run("ca", "create", "Sub CA", "--root", "Root CA", "--key", "p256")
    run("ca", "settings", "key", "rsa2048")
    thumbprint = issued(run, HUGO)["thumbprint"]
    (_, sub) = run("ca", "list", "--json").json
    url = f"http://127.0.0.1:{port}/{sub['id']}.crl"
    status, headers, der = fetched(url)
    assert (status, headers["Content-Type"]) == (200, "application/pkix-crl")
    assert "max-age=" in headers["Cache-Control"]
    tag, since = headers["ETag"], headers["Last-Modified"]
    assert Crl.read(der).number == 1
    assert fetched(url, **{"If-None-Match": tag})[0] == 304
    assert fetched(url, **{"If-Modified-Since": since})[0] == 304
    assert fetched(url.replace(sub["id"], "0" * 16))[0] == 404
    status, headers, certificate = fetched(url.replace(".crl", ".cer"))
    assert headers["Content-Type"] == "application/pkix-cert"
    home = tmp_path_factory.mktemp("other")
    fetch = {"allow": ["127.0.0.0/8"], "every": 60}
    with filter_alone(stock, home, fetch=fetch) as other:
        files = home / "root.pem", home / "sub.cer", home / "hugo.pem"
        run("certificate", "export", run("ca", "list", "--json").json[0]["thumbprint"], "--to",
            str(files[0]))  # fmt: skip
        files[1].write_bytes(certificate)
        run("certificate", "export", thumbprint, "--to", str(files[2]))
        other.command("root", "import", str(files[0]))
        other.command("certificate", "import", str(files[1]), str(files[2]))
        other.command("crl", "update")
        other.program.wait_for_event("store reloaded")

        def encrypted() -> bool:
            count = len(other.sink.mails)
            other.hand_over(ALICE, [HUGO], b"From: <alice@in.test>\r\nSubject: x\r\n\r\nhi\r\n")
            return b"enveloped-data" in other.sink.wait_for(count + 1)[-1].content

        import time

        until = time.monotonic() + 20
        while not encrypted():
            assert time.monotonic() < until
        run("certificate", "revoke", thumbprint, "--reason", "keyCompromise")
        assert Crl.read(fetched(url)[2]).count == 1
        other.command("crl", "update")
        until = time.monotonic() + 20
        while encrypted():
            assert time.monotonic() < until
