"""What `doctor` says of requests, their handlers, and letters; and of what falls with a CA."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from smimefilter.flow.checkup import Finding, Grade, look_over
from smimefilter.flow.office_checkup import handlers_of, look_over_office
from smimefilter.flow.requests import DEFECT
from smimefilter.flow.send import KeyPost
from smimefilter.notify.texts import LANGUAGES, TemplateLetters
from smimefilter.pki.crl import Crl
from smimefilter.policy.tree import Setting, Tree
from smimefilter.ports.handlers import Order, Remember
from smimefilter.ports.requests import RequestState, StoredRequest
from smimefilter.ports.stores import ActiveUser, CertificateEntry, Shelf, StoreState
from smimefilter.store.database import Database
from smimefilter.trust.verdict import Purpose
from tests.support.offices import Office
from tests.support.pki import NOW
from tests.support.plans import AUTHORITY, ROOT, World
from tests.unit.flow.test_requests import ask

NOTHING = Tree()


def post(language: str = "en", folder: Path | None = None) -> KeyPost:
    letters: Any = TemplateLetters(language, folder)
    nobody: Any = None
    return KeyPost(relay=nobody, letters=letters, sms=nobody, hostname="x", clock=lambda: NOW)


def request(handler: str, outcome: str = "waits") -> StoredRequest:
    return StoredRequest(
        f"{handler}{'0' * 32}"[:32], handler, "a@x.test", {}, None, NOW, NOW, NOW,
        outcome=outcome,
    )  # fmt: skip


def said(
    *pending: StoredRequest, tree: Tree = NOTHING, troubles: Mapping[str, str] | None = None
) -> list[Finding]:
    return look_over_office(pending, tree, troubles or {}, post())


def test_requests_that_go_their_way() -> None:
    assert said() == []
    assert said(request("csr")) == [Finding(Grade.GOOD, "requests", "1 under way")]


def test_requests_that_nobody_is_asked_for() -> None:
    waiting = [request("acme"), request("acme"), request("gone"), request("csr", DEFECT)]
    found = said(*waiting, troubles={"acme": "not configured", "gone": "none", "csr": ""})
    assert [(one.grade, one.what) for one in found] == [
        (Grade.BAD, "2 wait for the handler acme: not configured"),
        (Grade.BAD, "1 waits for the handler gone: none"),
        (Grade.BAD, "1 waits after trouble of our own, such as csr00000"),
    ]


def test_policies_that_name_such_a_handler() -> None:
    named = {"ca-request-handler": Setting("gone", "x.yaml:3")}
    tree = Tree(files={"x.test": named})
    assert set(handlers_of([request("csr")], tree)) == {"csr", "gone"}
    (one,) = said(tree=tree, troubles={"gone": "there is none"})
    assert (one.about, one.what) == (
        "ca-request-handler at x.test (x.yaml:3)", "gone: there is none",
    )  # fmt: skip


async def test_a_defect_is_told_and_a_handler_that_is_gone_is_none(database: Database) -> None:
    async def broken(_: Order, __: Remember) -> Any:
        raise RuntimeError

    office = Office(database, broken)
    waits = await ask(office)
    assert (waits.state, waits.outcome) == (RequestState.PENDING, DEFECT)
    pending = await database.requests.all([RequestState.PENDING])
    assert [one.grade for one in said(*pending)] == [Grade.BAD]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_shipped_letters_can_be_written(language: str) -> None:
    assert look_over_office([], NOTHING, {}, post(language)) == []


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("key", "Subject: x\n\n{{ adress }}", "the letter cannot be written: 'adress' is und"),
        ("key", "Subject: x\n\n{% if %}", "the letter cannot be written: "),
        ("key", "Hello\n\nthere", "the letter has no subject"),
        ("password-sms", "Subject: -\n\nyour password", "does not say the password"),
    ],
)
def test_a_letter_that_cannot_be_written(
    tmp_path: Path, name: str, text: str, what: str
) -> None:
    (tmp_path / f"{name}.txt").write_text(text)
    (one,) = look_over_office([], NOTHING, {}, post(folder=tmp_path))
    assert (one.grade, one.about) == (Grade.BAD, f"letter {name}.txt")
    assert what in one.what


def test_what_falls_with_a_ca_comes_in_one_line() -> None:
    world = World()
    for number in range(5):
        world.person(f"own{number}@x.test", key=True)
        world.person(f"other{number}@x.test")
    world.crls = [Crl.read(ROOT.crl([AUTHORITY]))]
    moment = world.moment()
    entries = [
        CertificateEntry(
            one.certificate, Shelf.CERTIFICATES, (address,), address.startswith("own"), "", NOW
        )
        for address, one in world.people.items()
    ]
    ca = AUTHORITY.certificate
    entries.append(CertificateEntry(ca, Shelf.CERTIFICATES, (), True, "", NOW))
    entries.append(CertificateEntry(ROOT.certificate, Shelf.ROOTS, (), False, "", NOW))
    users = [ActiveUser(one, Purpose.ENCRYPT, NOW) for one in world.people]
    found = look_over(StoreState(1, entries, {}, [], [], []), moment, users)
    warned = [one for one in found if one.grade is not Grade.GOOD and "revoked" in one.what]
    assert [one.about for one in warned] == [f"CA {ca.subject} {ca.thumbprint[:16]}"] * 2
    assert [one.what.partition(":")[0] for one in warned] == [
        "5 certificates with our key below it, now revoked",
        "5 certificates below it used for mail, now revoked",
    ]
