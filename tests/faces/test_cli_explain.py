"""`smimefilter explain`: what would happen to a mail, each reason with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.postoffice import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    FRANK,
    GINA,
    HUGO,
    Installation,
    letter,
)
from tests.support.smime import clear_signed, encrypted


def because(of: dict[str, Any]) -> list[str]:
    return [reason["because"] for reason in of["reasons"]]


def test_an_explanation_for_people(installation: Installation) -> None:
    """The whole of it, as it stands on the terminal."""
    to = [word for address in (BOB, CAROL, FRANK, DAVE) for word in ("--to", address)]
    out = installation.command("explain", "--from", ALICE, *to, "--subject", "x").out
    alice, bob, frank = (installation.who(one).thumbprint[:16] for one in (ALICE, BOB, FRANK))
    authority = installation.people.authority.thumbprint[:16]
    until = f"{installation.who(FRANK).certificate.not_after:%Y-%m-%d %H:%M} UTC"
    assert (
        out
        == f"""\
bob@strict.test: sign+encrypt
    strict.test: policy: encryption is mandatory (global.yaml:7)
    sign: policy: sign when encrypting (global.yaml:2)
    alice@in.test: signed in the name of the From address (default)
    certificate {bob}… CN=bob: used
        bob@strict.test: the address matches
        {bob}…: the path to a trusted root is valid [up to CN=Test Root]
        {bob}…: no CRL at hand, revocation unknown
        {authority}…: no CRL at hand, revocation unknown [CN=Test Sub CA]
carol@strict.test: refuse
    reply: 5.7.5 encryption required, but there is no usable certificate for carol@strict.test
    strict.test: policy: encryption is mandatory (global.yaml:7)
    carol@strict.test: no certificate that can be used for encryption
    on-missing-certificate: no certificate: policy refuses the mail for this recipient (default)
frank@strict.test: refuse
    reply: 5.7.5 encryption required, but there is no usable certificate for \
frank@strict.test (found: expired)
    strict.test: policy: encryption is mandatory (global.yaml:7)
    frank@strict.test: no certificate that can be used for encryption
    on-missing-certificate: no certificate: policy refuses the mail for this recipient (default)
    certificate {frank}… CN=frank: not used
        frank@strict.test: the address matches
        {frank}…: expired [on {until}]
dave@clear.test: untouched
    clear.test: policy: never encrypt (global.yaml:9)
    sign: policy: sign when encrypting (global.yaml:2)
    alice@in.test: signed in the name of the From address (default)
signing certificate {alice}… CN=alice: used
    alice@in.test: the address matches
    {alice}…: the path to a trusted root is valid [up to CN=Test Root]
    {alice}…: no CRL at hand, revocation unknown
    {authority}…: no CRL at hand, revocation unknown [CN=Test Sub CA]
copy 1 to bob@strict.test: signed (clear, sha256), encrypted to 1 certificate (aes-256-cbc)
copy 2 to dave@clear.test: unchanged
"""
    )


def test_an_explanation_for_programs(installation: Installation) -> None:
    to = ("--to", BOB, "--to", GINA, "--to", FRANK, "--to", HUGO)
    plan = installation.command("explain", "--from", ALICE, *to, "--json").json
    assert [(to["address"], to["action"]) for to in plan["recipients"]] == [
        (BOB, "sign+encrypt"), (GINA, "sign+encrypt"), (FRANK, "refuse"), (HUGO, "untouched"),
    ]  # fmt: skip
    bob, _, frank, hugo = plan["recipients"]
    assert because(bob)[0] == "encrypt-mandatory"
    assert bob["reasons"][0]["source"] == "global.yaml:7"
    assert frank["reply"].startswith("5.7.5 ")
    (candidate,) = frank["certificates"]
    assert (candidate["used"], candidate["standing"]) == (False, "expired")
    assert because(candidate) == ["address-match", "expired"]
    assert "missing-send-clear" in because(hugo)
    serials = {installation.who(one).thumbprint for one in (BOB, GINA)}
    assert set(plan["copies"][0]["encrypted-to"]) == serials
    assert plan["copies"][0]["signed-by"] == installation.who(ALICE).thumbprint
    assert plan["copies"][1]["encrypted-to"] == []


def test_it_follows_changes_of_trust(installation: Installation) -> None:
    installation.command("ctl", "add", installation.who(BOB).thumbprint, "black")
    plan = installation.command("explain", "--from", ALICE, "--to", BOB, "--json").json
    (bob,) = plan["recipients"]
    assert bob["action"] == "refuse"
    assert because(bob["certificates"][0]) == ["address-match", "black-listed"]


def test_a_mail_can_be_given(installation: Installation) -> None:
    file = installation.home / "mail.eml"
    file.write_bytes(letter("team@in.test", GINA))
    explain = ("explain", "--from", ALICE, "--to", GINA, "--json")
    (gina,) = installation.command(*explain, str(file)).json["recipients"]
    assert gina["action"] == "encrypt"
    assert "from-mismatch" in because(gina)
    assert because(gina) != because(installation.command(*explain).json["recipients"][0])


def test_clients_and_logins(installation: Installation) -> None:
    def action(*more: str) -> tuple[str, list[str]]:
        explain = ("explain", "--from", ALICE, "--to", GINA, "--json", *more)
        (gina,) = installation.command(*explain).json["recipients"]
        return gina["action"], because(gina)

    assert action()[0] == "sign+encrypt"
    assert action("--client", "10.1.2.3")[0] == "sign+encrypt"
    assert action("--client", "192.0.2.1")[0] == "encrypt"
    assert "foreign-origin" in action("--client", "192.0.2.1")[1]
    assert action("--login", ALICE)[0] == "sign+encrypt"
    assert "login-mismatch" in action("--login", "scanner")[1]


def test_the_null_sender(installation: Installation) -> None:
    plan = installation.command("explain", "--from", "<>", "--to", GINA, "--json").json
    (gina,) = plan["recipients"]
    assert gina["action"] == "encrypt"
    assert "null-sender" in because(gina)


def test_it_sends_and_changes_nothing(installation: Installation) -> None:
    before = installation.state()
    installation.command("explain", "--from", ALICE, "--to", BOB)
    assert installation.state() == before


def test_an_explanation_of_a_mail_that_came_in(
    installation: Installation, tmp_path: Path
) -> None:
    gina, alice = installation.who(GINA), installation.who(ALICE)
    mail = clear_signed(letter(GINA, ALICE), gina, at=installation.people.now, chain=True)
    file = tmp_path / "mail.eml"
    file.write_bytes(encrypted(mail, alice))
    out = installation.command(
        "explain", "--from", GINA, "--to", ALICE, "--client", "192.0.2.7", str(file)
    ).out
    assert "alice@in.test: decrypt\n" in out
    assert f"    {alice.thumbprint[:16]}…: decrypted [aes-256-cbc]\n" in out
    assert f"    {gina.thumbprint[:16]}…: signed by its author [{GINA}]\n" in out
    *above, results, signed_by, encrypted_layer, signed_layer = out.splitlines()
    assert above[-1] == "copy 1 to alice@in.test: decrypted, reported in its header"
    assert results.startswith("    Authentication-Results: ")
    assert f"smime=pass body.smime-identifier={GINA}" in results
    assert signed_by == f"    X-Smimefilter-Signed-By: {GINA}"
    assert "Layer-1: encrypted; outcome=opened; cipher=aes-256-cbc" in encrypted_layer
    assert "Layer-2: signed; form=clear; signature=good" in signed_layer
    assert "signing certificate" not in out


def test_what_would_be_written_into_an_incoming_mail(
    installation: Installation, tmp_path: Path
) -> None:
    installation.command("policy", "set", ALICE, "subject-tags", "yes")
    gina, mail = installation.who(GINA), letter(GINA, ALICE)
    file = tmp_path / "mail.eml"
    explain = ("explain", "--from", GINA, "--to", ALICE, "--json", str(file))
    file.write_bytes(clear_signed(mail, gina, at=installation.people.now, chain=True))
    plan = installation.command(*explain).json
    (copy,) = plan["copies"]
    assert [field.partition(":")[0] for field in copy["fields"]] == [
        "Authentication-Results", "X-Smimefilter-Signed-By", "X-Smimefilter-Layer-1",
    ]  # fmt: skip
    assert copy["subject"].endswith(f" [signed by {GINA}]")
    assert plan["signing"] == []
    file.write_bytes(b"X-Smimefilter-Signed-By: boss@in.test\r\n" + mail)
    (copy,) = installation.command(*explain).json["copies"]
    assert (copy["fields"], copy["subject"]) == ([], None)
