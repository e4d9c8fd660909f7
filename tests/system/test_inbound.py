"""Mail that comes in, by Postfix, the filter and Postfix again: opened, judged, learnt from."""

from __future__ import annotations

import re
import tempfile
import time
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from smimefilter.base.algorithms import ContentCipher, KeyTransport
from tests.support.commands import Commands
from tests.support.mails import LETTERS
from tests.support.postoffice import (
    ALICE,
    BOB,
    DAVE,
    GINA,
    PostOffice,
    Stock,
    filter_alone,
    letter,
)
from tests.support.program import Program, shipped_settings
from tests.support.programs.gpgsm import Gpgsm
from tests.support.programs.nss import Nss
from tests.support.programs.openssl import Openssl
from tests.support.programs.program import Kind, Papers, Setup
from tests.support.readers import issue_now
from tests.support.sink import Mail, Sink
from tests.support.smime import clear_signed, compressed, encrypted, encrypted_as, opaque_signed

pytestmark = pytest.mark.system

BODY = b"Grapefruit juice at nine.\r\n"


def text_of(mail: Mail) -> str:
    found = message_from_bytes(mail.content, policy=policy.default).get_body()
    assert found is not None
    return str(found.get_content())


def field(mail: Mail, name: str) -> str:
    return " ".join(str(message_from_bytes(mail.content).get(name, "")).split())


def field_all(mail: Mail, name: str) -> list[str]:
    return [" ".join(one.split()) for one in message_from_bytes(mail.content).get_all(name, [])]


@pytest.mark.parametrize("cipher", [ContentCipher.AES_256_CBC, ContentCipher.AES_256_GCM])
@pytest.mark.parametrize("form", ["clear", "opaque"])
def test_what_is_signed_and_encrypted_arrives_readable_and_told_of(
    whole_way: PostOffice, stock: Stock, cipher: ContentCipher, form: str
) -> None:
    now = stock.people.now
    gina, alice = whole_way.who(GINA), whole_way.who(ALICE)
    sign = clear_signed if form == "clear" else opaque_signed
    signed = sign(letter(GINA, ALICE), gina, at=now, chain=True)
    whole_way.send(
        GINA,
        ALICE,
        content=encrypted(signed, alice, cipher=cipher, transport=KeyTransport.OAEP),
    )
    ((mail,),) = whole_way.outcome().values()
    if form == "clear":
        assert text_of(mail).split() == BODY.decode().split()
    assert field(mail, "X-Smimefilter-Signed-By") == GINA
    layer = field(mail, "X-Smimefilter-Layer-1")
    assert f"encrypted; outcome=opened; cipher={cipher}; key-transport=rsa-oaep" in layer
    assert f"signed; form={form}; signature=good" in field(mail, "X-Smimefilter-Layer-2")
    (results,) = field_all(mail, "Authentication-Results")
    assert results.startswith(f"filter.test; smime=pass body.smime-identifier={GINA}")
    # The signature within was left, and is still good to everybody else.
    assert BODY in whole_way.openssl.verify(mail.content)


@pytest.mark.parametrize("program", [Openssl, Gpgsm, Nss], ids=lambda one: one.name)
def test_mails_of_other_programs(
    whole_way: PostOffice, stock: Stock, tmp_path_factory: pytest.TempPathFactory, program: Any
) -> None:
    gina, alice = Papers(whole_way.who(GINA)), Papers(whole_way.who(ALICE))
    root = stock.people.root.certificate
    folder = Path(tempfile.mkdtemp(prefix="p", dir=tmp_path_factory.mktemp("programs")))
    writer = program(Setup(folder, root, gina))
    note = LETTERS["non-ASCII"]
    try:
        cipher = Kind.AES_128_CBC if program is Nss else Kind.AES_256_CBC
        kinds = (Kind.CLEAR, cipher)
        content = writer.sign_and_encrypt(
            note.entity, note.headers(GINA, ALICE), [alice], kinds
        )
    finally:
        writer.close()
    whole_way.send(GINA, ALICE, content=content)
    ((mail,),) = whole_way.outcome().values()
    assert text_of(mail).startswith("Grüße aus München")
    assert field(mail, "X-Smimefilter-Signed-By") == GINA
    (results,) = field_all(mail, "Authentication-Results")
    assert results.startswith(f"filter.test; smime=pass body.smime-identifier={GINA}")


def test_compressed_mail_and_several_layers(whole_way: PostOffice, stock: Stock) -> None:
    alice, gina = whole_way.who(ALICE), whole_way.who(GINA)
    now = stock.people.now
    inner = compressed(clear_signed(letter(GINA, ALICE), gina, at=now))
    whole_way.send(GINA, ALICE, content=clear_signed(encrypted(inner, alice), gina, at=now))
    ((mail,),) = whole_way.outcome().values()
    assert text_of(mail).split() == BODY.decode().split()
    names = [name for name in message_from_bytes(mail.content) if "-Layer-" in name]
    assert names == [f"X-Smimefilter-Layer-{number}" for number in (1, 2, 3, 4)]


def test_what_cannot_be_decrypted_goes_on_as_it_came_with_the_reason(
    whole_way: PostOffice,
) -> None:
    content = encrypted(letter(GINA, ALICE), whole_way.who(BOB))  # whose key is not ours
    whole_way.send(GINA, ALICE, content=content)
    ((mail,),) = whole_way.outcome().values()
    assert "outcome=no-key" in field(mail, "X-Smimefilter-Layer-1")
    assert mail.content.endswith(content.partition(b"\r\n\r\n")[2])


def test_8_bit_text_comes_out_of_an_encrypted_mail(whole_way: PostOffice) -> None:
    head = letter(GINA, ALICE).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    entity = (
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        + "Grüße an alle, und ein sehr langer Satz. ".encode() * 60
    )
    whole_way.send(GINA, ALICE, content=encrypted_as(head, entity, whole_way.who(ALICE)))
    ((mail,),) = whole_way.outcome().values()
    assert text_of(mail).startswith("Grüße an alle")
    assert max(map(len, mail.content.split(b"\r\n"))) <= 998


def test_forged_reports_are_gone_and_the_rest_is_untouched(whole_way: PostOffice) -> None:
    content = letter(DAVE, ALICE)
    forged = b"X-Smimefilter-Signed-By: boss@in.test\r\n" + content
    whole_way.send(DAVE, ALICE, content=forged)
    ((mail,),) = whole_way.outcome().values()
    assert b"X-Smimefilter" not in mail.content
    assert mail.content.endswith(content)


def test_a_signature_teaches_how_to_encrypt_to_its_author(stock: Stock, tmp_path: Path) -> None:
    """A stranger signs; the next mail to him is encrypted, with what his program reads."""
    people = stock.people
    ivan = issue_now(people.authority, "Ivan", mail="ivan@free.test")
    with filter_alone(stock, tmp_path) as office:
        office.hand_over(ALICE, ["ivan@free.test"], letter(ALICE, "ivan@free.test"))
        (before,) = office.sink.wait_for(1)
        assert BODY in before.content
        signed = clear_signed(letter("ivan@free.test", ALICE), ivan, at=people.now, chain=True)
        office.hand_over("ivan@free.test", [ALICE], signed)
        office.program.wait_for_event("certificates of signatures stored")
        office.caught_up()
        office.sink.clear()
        office.hand_over(ALICE, ["ivan@free.test"], letter(ALICE, "ivan@free.test"))
        (after,) = office.sink.wait_for(1)
        assert b"authEnveloped-data" in after.content  # his signature says he reads it
        assert BODY in office.openssl.decrypt(after.content, ivan)
        listed = office.command("certificate", "list", "--json").out
        assert "signature of ivan@free.test" in listed
        said = [one for one in office.program.events() if "new key" in str(one["event"])]
        assert not said
        again = issue_now(people.authority, "Ivan", mail="ivan@free.test", key="p256")
        signed = clear_signed(letter("ivan@free.test", ALICE), again, at=people.now)
        office.hand_over("ivan@free.test", [ALICE], signed)
        (line,) = office.program.wait_for_event("a correspondent signs with a new key")
        assert line["address"] == "ivan@free.test"


@pytest.mark.parametrize(
    ("mode", "trusted", "kept"),
    [("never", True, False), ("trusted", False, False), ("any", False, True)],
)
def test_policy_says_which_certificates_are_kept(
    stock: Stock, tmp_path: Path, *, mode: str, trusted: bool, kept: bool
) -> None:
    issuer = stock.people.authority if trusted else issue_now(None, "Elsewhere")
    ivan = issue_now(issuer, "Ivan", mail="ivan@free.test")
    with filter_alone(stock, tmp_path) as office:
        office.program.run("policy", "set", "in.test", "harvest", mode)
        office.program.wait_for_event("store reloaded")
        signed = clear_signed(
            letter("ivan@free.test", ALICE), ivan, at=stock.people.now, chain=trusted
        )
        office.hand_over("ivan@free.test", [ALICE], signed)
        office.sink.wait_for(1)
        if kept:
            office.program.wait_for_event("certificates of signatures stored")
        else:
            time.sleep(2)
        listed = office.command("certificate", "list", "--json").out
        assert ("ivan@free.test" in listed) == kept


def test_what_cannot_be_decrypted_is_refused_where_policy_says_so(
    stock: Stock, tmp_path: Path
) -> None:
    with filter_alone(stock, tmp_path) as office:
        office.program.run("policy", "set", ALICE, "on-undecryptable", "refuse")
        office.program.wait_for_event("store reloaded")
        content = encrypted(letter(GINA, ALICE), office.who(BOB))
        (reply,) = office.hand_over(GINA, [ALICE], content)
        assert reply.startswith("554 5.7.5")
        assert "encrypted to keys that are not this recipient's" in reply


def test_what_a_key_fails_to_open_is_taken_like_what_it_opens(
    stock: Stock, tmp_path: Path
) -> None:
    """Else replies would tell, mail by mail, which paddings are right."""
    with filter_alone(stock, tmp_path) as office:
        office.program.run("policy", "set", ALICE, "on-undecryptable", "refuse")
        office.program.wait_for_event("store reloaded")
        good = encrypted(letter(GINA, ALICE), office.who(ALICE))
        broken = bytearray(good)
        at = len(good) - 40  # in the last blocks of the content
        broken[at] = ord("A") if broken[at] != ord("A") else ord("B")
        replies = [
            re.sub(r"queued as.*", "", office.hand_over(GINA, [ALICE], bytes(one))[0])
            for one in (good, broken)
        ]
        assert replies[0] == replies[1]
        assert replies[0].startswith("250 ")


def test_the_ways_to_break_a_key_cannot_be_told_apart(stock: Stock, tmp_path: Path) -> None:
    """No oracle for paddings: reply, header and log are the same whatever was broken."""
    with filter_alone(stock, tmp_path) as office:
        good = encrypted(letter(GINA, ALICE), office.who(ALICE))
        seen = set()
        for at in (400, 440, 480):  # octets of the encrypted key, in base64
            broken = bytearray(good)
            start = good.index(b"\r\n\r\n") + at
            broken[start] = ord("A") if broken[start] != ord("A") else ord("B")
            (reply,) = office.hand_over(GINA, [ALICE], bytes(broken))
            (mail,) = office.sink.wait_for(1)
            office.sink.clear()
            line = [one for one in office.program.events() if one["event"] == "mail"][-1]
            (recipient,) = line["recipients"]
            seen.add(
                (
                    re.sub(r"queued as.*", "", reply),
                    field(mail, "X-Smimefilter-Layer-1"),
                    tuple(recipient["because"]),
                )
            )
        ((_, layer, _),) = seen
        assert layer == "encrypted; outcome=failed"


@pytest.mark.parametrize("protect", ["none", "rfc9788"])
def test_from_gateway_to_gateway(stock: Stock, tmp_path: Path, protect: str) -> None:
    """Two filters, each with the keys of its own people: what one encrypts the other opens."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    with Sink() as sink:
        settings = shipped_settings(there, port=0, next_hop=sink.port)
        settings["hostname"] = "strict.test"
        _furnish(there, settings, stock)
        with Program(there, settings) as other:
            stock.copy_to(here)
            settings = shipped_settings(here, port=0, next_hop=other.port("lmtp"))
            settings["listeners"][0]["protocol"] = "smtp"
            settings["next-hop"]["port"] = other.port("smtp")
            with Program(here, settings) as program, Sink() as nobody:
                office = PostOffice(stock, program, nobody)
                office.command("policy", "set", ALICE, "protect-headers", protect)
                program.wait_for_event("store reloaded")
                office.hand_over(ALICE, [BOB], letter(ALICE, BOB), protocol="smtp")
                (mail,) = sink.wait_for(1)
    assert field(mail, "Subject") == "a letter"
    assert text_of(mail).split() == BODY.decode().split()
    assert field(mail, "X-Smimefilter-Signed-By") == ALICE
    (results,) = field_all(mail, "Authentication-Results")
    assert results.startswith(f"strict.test; smime=pass body.smime-identifier={ALICE}")


def _furnish(home: Path, settings: dict[str, object], stock: Stock) -> None:
    """The installation of strict.test: Bob's key is there, Alice is a stranger."""
    settings["listeners"] = [
        {"protocol": protocol, "address": "127.0.0.1", "port": 0}
        for protocol in ("lmtp", "smtp")
    ]
    (home / "policies").mkdir()
    (home / "policies" / "global.yaml").write_text(
        "domains:\n  - {domain: strict.test, preferences: {locality: internal}}\n"
    )
    run = Commands(Program(home, settings).config)
    run("init")
    run("root", "import", str(stock.people.root_file))
    run("certificate", "import", str(stock.people.authority_file))
    password = ("--password-file", str(stock.people.password_file))
    run("key", "import", str(stock.people.identity(BOB)), *password)


def test_with_protected_header_fields_the_subject_is_not_seen_on_the_way(
    stock: Stock, tmp_path: Path
) -> None:
    with filter_alone(stock, tmp_path) as office:
        office.command("policy", "set", ALICE, "protect-headers", "rfc9788")
        office.program.wait_for_event("store reloaded")
        office.hand_over(ALICE, [BOB], letter(ALICE, BOB, subject="the merger"))
        (mail,) = office.sink.wait_for(1)
        assert field(mail, "Subject") == "[...]"
        assert b"merger" not in mail.content
        entity = office.read(mail, BOB)
        assert b"Subject: the merger\r\n" in entity
        assert b'hp="cipher"' in entity
