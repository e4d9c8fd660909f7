"""The certificate authority in a company: fifty people, a key by mail, mail between two of them
through a real Postfix, and a revocation that another gateway gets to know."""

from __future__ import annotations

import email
import email.policy
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.needs import need
from tests.support.postfix import PostfixLab
from tests.support.postoffice import PostOffice, Stock, filter_alone, letter
from tests.support.program import Program, shipped_settings
from tests.support.sink import Sink

pytestmark = pytest.mark.system

PEOPLE = 50
A, B = "user1@staff.test", "user2@staff.test"
POLICY = """\
preferences: {sign: when-encrypting, encrypt: mandatory, ca-key: rsa2048}
"""


@pytest.fixture
def company(
    stock: Stock, lmtp_lab: PostfixLab, tmp_path: Path, free_port: Callable[[], int]
) -> Iterator[Any]:
    """A filter behind Postfix, with its own CA and a publisher."""
    lmtp_lab.clear()
    home = tmp_path / "company"
    home.mkdir()
    stock.copy_to(home)
    (home / "policies" / "global.yaml").write_text(POLICY)
    settings = shipped_settings(
        home, port=lmtp_lab.filter_port, next_hop=lmtp_lab.reinject_port, protocol="lmtp"
    )
    port = free_port()
    settings |= {"hostname": "filter.test", "publish": {"port": port}}
    with Sink(port=lmtp_lab.sink_port) as sink, Program(home, settings) as program:
        office: Any = PostOffice(stock, program, sink, lmtp_lab)
        office.publishes = port
        yield office


def openssl(*arguments: str) -> bytes:
    done = subprocess.run(["openssl", *arguments], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def thumbprint_of(office: Any, address: str) -> str:
    rows = office.command("certificate", "list", "--address", address, "--json").json
    (row,) = rows
    return str(row["thumbprint"])


def opened_by_two_programs(folder: Path, mail: bytes, password: str) -> Path:
    """The key file of a mail, opened by openssl and by NSS; a PEM file of what is in it."""
    message: Any = email.message_from_bytes(mail, policy=email.policy.default)
    (part,) = message.iter_attachments()
    file, pem = folder / "a.p12", folder / "a.pem"
    file.write_bytes(part.get_content())
    pem.write_bytes(
        openssl("pkcs12", "-in", str(file), "-passin", f"pass:{password}", "-nodes")
    )
    store = f"sql:{folder / 'nss'}"
    (folder / "nss").mkdir()
    for command in (
        ["certutil", "-N", "-d", store, "--empty-password"],
        ["pk12util", "-i", str(file), "-d", store, "-K", "", "-W", password],
    ):
        need(command[0])
        subprocess.run(command, check=True, capture_output=True)
    listed = ["certutil", "-K", "-d", store]
    keys = subprocess.run(listed, check=True, capture_output=True, text=True).stdout
    assert "User 1" in keys
    return pem


def test_the_life_of_certificates_in_a_company(
    company: Any, stock: Stock, tmp_path: Path
) -> None:
    run, folder = company.command, tmp_path
    url = f"http://127.0.0.1:{company.publishes}"
    run("ca", "settings", "crl-url", f"{url}/{{ca}}.crl")
    run("ca", "settings", "mail-sender", "ca@staff.test")
    run("ca", "create", "Staff CA", "--root", "Staff Root", "--key", "rsa2048")
    csv = folder / "staff.csv"
    rows = [f"user{n}@staff.test,User {n},Staff" for n in range(1, PEOPLE + 1)]
    csv.write_text("\r\n".join(["EMAIL,COMMONNAME,ORGANISATION", *rows]))
    done = run("bulk", "submit", str(csv)).out
    assert f"{PEOPLE} issued, 0 refused" in done

    # one gets his key by mail, and opens it with two programs
    sent = run("certificate", "send", thumbprint_of(company, A)[:16], "--to", A).out
    password = sent.split("password of the key files: ")[1].strip()
    (mail,) = company.outcome()[A]
    pem = opened_by_two_programs(folder, mail.content, password)

    # one of them writes to another: signed, encrypted, and read by the key that was mailed
    company.caught_up()
    company.send(B, A, content=letter(B, A))
    letters = [one for one in company.outcome()[A] if one.sender == B]
    (folder / "mail.eml").write_bytes(letters[0].content)
    inner = folder / "inner.eml"
    openssl("cms", "-decrypt", "-in", str(folder / "mail.eml"), "-recip", str(pem),
            "-out", str(inner))  # fmt: skip
    root = folder / "root.pem"
    run("certificate", "export", run("ca", "list", "--json").json[0]["thumbprint"][:16], "--to",
        str(root))  # fmt: skip
    trust = ("-CAfile", str(root), "-verify_email", B, "-purpose", "smimesign")
    text = openssl("cms", "-verify", "-in", str(inner), *trust)
    assert b"Grapefruit juice at nine." in text

    # another gateway knows the CA and the user, fetches the CRL, and stops encrypting to him
    (_, sub) = run("ca", "list", "--json").json
    files = [folder / "sub.pem", folder / "user.pem"]
    for thumbprint, name in zip(
        (sub["thumbprint"], thumbprint_of(company, A)), files, strict=True
    ):
        run("certificate", "export", thumbprint, "--to", str(name))
    home = folder / "partner"
    home.mkdir()
    fetch = {"allow": ["127.0.0.0/8"]}
    with filter_alone(stock, home, fetch=fetch) as partner:
        (home / "policies" / "global.yaml").write_text("preferences: {encrypt: allow}\n")
        partner.command("root", "import", str(root))
        partner.command("certificate", "import", *map(str, files))

        def encrypts() -> bool:
            before = len(partner.sink.mails)
            partner.hand_over("x@partner.test", [A], letter("x@partner.test", A))
            return b"enveloped-data" in partner.sink.wait_for(before + 1)[-1].content

        wait_until(encrypts)
        run(
            "certificate", "revoke", thumbprint_of(company, A)[:16], "--reason", "keyCompromise"
        )
        partner.command("crl", "update")
        wait_until(lambda: not encrypts())
        (crl,) = [
            one for one in partner.command("crl", "list", "--json").json if one["entries"]
        ]
        assert crl["origin"] == f"{url}/{sub['id']}.crl"

    # and so does this one
    company.caught_up()
    company.send(B, A, content=letter(B, A, subject="once more"))
    outcome = company.outcome()
    assert [one for one in outcome[A] if b"once more" in one.content] == []
    assert any(b"no usable certificate" in one.content for one in outcome[B])
