"""The filter with private keys in a PKCS#11 token: SoftHSM2, which Debian has.

Zoe's RSA key and Yan's on a curve are in the token, Alice's is in the database.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest

from smimefilter.base.algorithms import KeyTransport
from smimefilter.message.mime import pkcs7_body
from smimefilter.message.wire import Message
from tests.support.commands import Commands
from tests.support.postoffice import ALICE, DAVE, GINA, PostOffice, Stock, filter_alone, letter
from tests.support.readers import signed_of
from tests.support.sink import Mail
from tests.support.smime import encrypted
from tests.support.softhsm import PIN, SoftHsm

pytestmark = pytest.mark.system

PSS = bytes.fromhex("06092a864886f70d01010a")  # id-RSASSA-PSS
ZOE, YAN = "zoe@in.test", "yan@in.test"
KINDS = {ZOE: "rsa2048", YAN: "p256"}
POLICY = """\
preferences: {sign: always}
domains:
  - domain: in.test
    preferences: {locality: internal, decrypt: yes}
"""


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    found = SoftHsm(tmp_path)
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def office(stock: Stock, tmp_path: Path, hsm: SoftHsm) -> Iterator[PostOffice]:
    """A filter whose people's keys are in the token."""
    home = tmp_path / "home"
    home.mkdir()
    for one in (ZOE, YAN):
        if one not in stock.people.issued:
            stock.people.add(one, key=KINDS[one])
        hsm.put(stock.people.issued[one])
    with filter_alone(stock, home, token={**hsm.settings, "timeout": 20}) as found:
        found.settings(POLICY)
        found.program.reload()
        found.program.wait_for_event("policies reloaded")
        certificates = [str(stock.people.certificate(one)) for one in (ZOE, YAN)]
        found.command("certificate", "import", *certificates)
        found.caught_up()
        yield found


def sent_by(office: PostOffice, sender: str) -> Mail:
    office.sink.clear()
    (reply,) = office.hand_over(sender, [DAVE], letter(sender, DAVE))
    assert reply.startswith("250"), reply
    (mail,) = office.sink.mails
    return mail


def to_gateway(office: PostOffice, to: str, **how: Any) -> tuple[str, Mail | None]:
    office.sink.clear()
    content = encrypted(letter(GINA, to), office.who(to), **how)
    (reply,) = office.hand_over(GINA, [to], content)
    return reply, office.sink.mails[0] if office.sink.mails else None


@pytest.mark.parametrize("sender", [ZOE, YAN, ALICE])
def test_mail_is_signed(office: PostOffice, sender: str) -> None:
    mail = sent_by(office, sender)
    assert b"Grapefruit" in office.openssl.verify(mail.content)
    assert b"multipart/signed" in mail.content


def test_mail_is_signed_with_pss(office: PostOffice) -> None:
    more = "sign: always, signature-algorithm: sha256-pss"
    office.settings(POLICY.replace("sign: always", more))
    mails = (sent_by(office, ZOE).content for _ in range(200))
    pss = next(
        mail for mail in mails if PSS in signed_of(mail).signature
    )  # once the policy is read
    assert b"Grapefruit" in office.openssl.verify(pss)


@pytest.mark.parametrize("transport", list(KeyTransport))
@pytest.mark.parametrize("to", [ZOE, YAN])
def test_mail_is_decrypted(office: PostOffice, to: str, transport: KeyTransport) -> None:
    reply, mail = to_gateway(office, to, transport=transport)
    assert reply.startswith("250")
    assert mail is not None
    assert b"Grapefruit" in mail.content


def test_a_wrong_padding_looks_like_all_that_does_not_decrypt(office: PostOffice) -> None:
    """The token calls it a general error; the mail goes on as it came, as with any key."""
    content = encrypted(letter(GINA, ZOE), office.who(ZOE), transport=KeyTransport.PKCS1)
    body = pkcs7_body(Message(content))
    assert body is not None
    at = bytes(body).index(b"\x04\x82\x01\x00") + 4  # the content key, 256 octets
    changed = bytearray(body)
    changed[at + 100] ^= 1
    head = content.partition(b"\r\n\r\n")[0]
    mail = head + b"\r\n\r\n" + base64.encodebytes(changed).replace(b"\n", b"\r\n")
    (reply,) = office.hand_over(GINA, [ZOE], mail)
    assert reply.startswith("250")
    (arrived,) = office.sink.mails
    assert "outcome=failed" in str(message_from_bytes(arrived.content)["X-Smimefilter-Layer-1"])
    assert office.sound()


def test_a_token_that_is_away_keeps_mail_with_the_client(
    office: PostOffice, hsm: SoftHsm
) -> None:
    sent_by(office, ZOE)
    hsm.take_away()
    office.sink.clear()
    (reply,) = office.hand_over(ZOE, [DAVE], letter(ZOE, DAVE))
    assert reply.startswith("451 4.7.5"), reply
    for to in (ZOE, YAN):
        reply, mail = to_gateway(office, to)
        assert reply.startswith("451 4.7.5"), reply
        assert mail is None
    assert office.sink.mails == []
    (line, *_) = office.program.wait_for_event("mail deferred")
    assert line["error"].startswith(f"token '{hsm.label}': ")
    assert sent_by(office, ALICE)  # whose key is here
    hsm.put_back()
    assert b"Grapefruit" in office.openssl.verify(sent_by(office, ZOE).content)
    assert to_gateway(office, YAN)[0].startswith("250")
    assert office.sound()


def test_what_commands_show(office: PostOffice, hsm: SoftHsm) -> None:
    run = office.command
    rows = {row["kind"]: row for row in run("key", "token", "list", "--json").json}
    assert set(rows) == {"rsa 2048", "ec secp256r1"}
    for address, kind in ((ZOE, "rsa 2048"), (YAN, "ec secp256r1")):
        thumbprint = office.who(address).thumbprint
        assert rows[kind]["thumbprints"] == [thumbprint]
        assert "(linked)" in rows[kind]["certificates"][0]
        shown = run("certificate", "show", thumbprint[:16], "--json").json
        assert shown["private key"] == "in the token"
        assert "its private key is in the token" in run.complaint(
            "key", "export", thumbprint[:16], "--to", str(office.home / "x.p12"),
            "--password-file", "-", stdin="secret\n",
        )  # fmt: skip
    held = {row["sha512"]: row["key in"] for row in run("key", "list", "--json").json}
    assert sorted(held.values()) == ["store", "token", "token"]
    assert run("key", "token", "link").out == "0 linked\n"
    linked = run("audit", "list", "--action", "private key added", "--json").json
    assert [row["details"] for row in linked].count("in the token") == 2
    (line,) = [one for one in run("doctor", "--json").json if one["about"].startswith("token")]
    assert line["grade"] == "good"
    assert "2 private keys" in line["what"]
    hsm.take_away()
    (line,) = [
        one
        for one in run("doctor", "--json", code=1).json
        if one["about"].startswith("token") and one["grade"] == "bad"
    ]
    assert line["about"] == f"token '{hsm.label}'"
    hsm.put_back()


def test_a_ca_in_the_token(office: PostOffice) -> None:
    run = office.command
    run("ca", "create", "Sub CA", "--root", "Root CA", "--key", "p256", "--in-token")
    rows = run("ca", "list", "--json").json
    assert [row["key"] for row in rows] == ["token", "token"]
    done = run("certificate", "request", "ivan@in.test", "--cn", "Ivan", "--json").json
    assert done["state"] == "issued", done
    run("crl", "create", "--ca", rows[1]["id"])
    made = run("crl", "list", "--json").json
    assert any("Sub CA" in str(one) for one in made)
    shown = run("certificate", "show", done["thumbprint"][:16], "--json").json
    assert shown["trust"][0] == "valid"
    assert "in the token" in run.complaint(
        "ca", "offline", rows[0]["id"], "--to", str(office.home / "root.p12"),
        "--password-file", "-", stdin="secret\n",
    )  # fmt: skip


def test_the_master_key_is_changed(office: PostOffice) -> None:
    """References are wrapped as keys are."""
    program = office.program
    new = office.home / "new.key"
    office.command("key", "rotate", "--new", str(new))
    program.stop()
    new.replace(office.home / "master.key")
    program.start()
    assert b"Grapefruit" in office.openssl.verify(sent_by(office, ZOE).content)


def test_the_pin_is_seen_nowhere(office: PostOffice, hsm: SoftHsm) -> None:
    sent_by(office, ZOE)
    process = Path(f"/proc/{office.program.pid}")
    assert PIN.encode() not in (process / "cmdline").read_bytes()
    assert PIN.encode() not in (process / "environ").read_bytes()
    hsm.set_pin("wrong-pin-9")
    office.program.stop()
    office.program.start()
    (reply,) = office.hand_over(ZOE, [DAVE], letter(ZOE, DAVE))
    assert reply.startswith("451 4.7.5")
    log = office.program.log()
    assert "the PIN is wrong" in log
    assert "wrong-pin-9" not in log
    assert PIN not in log


def test_settings_that_name_none(office: PostOffice, tmp_path: Path) -> None:
    text = office.program.config.read_text()
    bare = tmp_path / "bare.yaml"
    bare.write_text(text.split("token:")[0])
    assert "name no token" in Commands(bare).complaint("key", "token", "list")
