"""CRLs fetched live, with Postfix in front: what is revoked there is not encrypted to any more,
and nothing that a server does wrong brings a revoked certificate back.

Bob's CA publishes over HTTP, Erin's over LDAP.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Commands
from tests.support.people import People
from tests.support.pki import Issued
from tests.support.postfix import PostfixLab
from tests.support.postoffice import ALICE, BOB, ERIN, PostOffice, Stock, letter
from tests.support.program import Program, shipped_settings
from tests.support.sink import Sink
from tests.support.slapd import SUFFIX, Slapd
from tests.support.webserver import Trouble, WebServer

pytestmark = pytest.mark.system

HOUR = timedelta(hours=1)
FETCH = {
    "allow": ["127.0.0.0/8"], "timeout": 1, "total-timeout": 3, "crls": False,
    "max-crl-size": 20_000,
}  # fmt: skip


class Published(Stock):
    """Alice, and two people whose certificates name where their CRLs are."""

    def __init__(self, folder: Path, bobs: str, erins: str) -> None:
        self._places = {BOB: bobs, ERIN: erins}
        super().__init__(folder)

    def _people(self, papers: Path) -> People:
        people = People(papers)
        people.add(ALICE)
        for address, place in self._places.items():
            people.add(address, crl_urls=(place,))
        return people

    def furnish(self, run: Commands) -> None:
        """The same for these people."""
        people = self.people
        run("init")
        run("root", "import", str(people.root_file))
        certificates = [str(people.certificate(one)) for one in self._places]
        run("certificate", "import", str(people.authority_file), *certificates)
        password = ("--password-file", str(people.password_file))
        run("key", "import", str(people.identity(ALICE)), *password)


class Scene:
    """Postfix, the filter, Postfix, the sink; and the servers that CRLs are fetched from."""

    def __init__(self, office: PostOffice, web: WebServer, directory: Slapd) -> None:
        self.office, self.web, self.directory = office, web, directory
        self.people = office.people

    def crl(self, *revoked: str, number: int, by: Issued | None = None) -> bytes:
        """A CRL of the people's CA, the higher its number the later."""
        issued = self.people.now - HOUR + timedelta(minutes=number)
        return (by or self.people.authority).crl(
            [self.people.issued[address] for address in revoked],
            this_update=issued,
            next_update=issued + timedelta(days=7),
            number=number,
        )

    def publish(self, *revoked: str, number: int) -> None:
        """At Bob's place."""
        self.web.serve("/ca.crl", self.crl(*revoked, number=number), etag=f'"{number}"')

    def update(self, of: str, *, code: int = 0) -> str:
        """`crl update` of one place; what came of it."""
        (row,) = self.office.command("crl", "update", of, "--json", code=code).json
        return f"{row['outcome']}: {row['what']}"

    def fate(self, address: str) -> str:
        """What becomes of a mail handed to the filter itself."""
        (reply,) = self.office.hand_over(ALICE, [address], letter(ALICE, address))
        return reply

    def wait_until_refused(self, address: str) -> None:
        self.office.program.wait_until(
            lambda: "revoked" in self.fate(address), f"{address} revoked"
        )


@pytest.fixture
def web() -> Iterator[WebServer]:
    made = WebServer()
    made.start()
    yield made
    if not made._loop.is_closed():  # a test may have stopped it
        made.stop()


@pytest.fixture(scope="module")
def directory() -> Iterator[Slapd]:
    with Slapd() as made:
        yield made


@pytest.fixture
def scene(
    lmtp_lab: PostfixLab, web: WebServer, directory: Slapd, tmp_path: Path
) -> Iterator[Scene]:
    attribute = "certificateRevocationList;binary"
    dn = f"cn=CA,{SUFFIX}"
    (tmp_path / "stock").mkdir()
    stock = Published(tmp_path / "stock", web.url("/ca.crl"), directory.url(dn, attribute))
    home = tmp_path / "filter"
    home.mkdir()
    stock.copy_to(home)
    settings: dict[str, Any] = shipped_settings(
        home, port=lmtp_lab.filter_port, next_hop=lmtp_lab.reinject_port
    )
    settings.update({"hostname": "filter.test", "fetch": FETCH})
    with Sink(port=lmtp_lab.sink_port) as sink, Program(home, settings) as program:
        yield Scene(PostOffice(stock, program, sink, lmtp_lab), web, directory)
    lmtp_lab.clear()


def place(scene: Scene, scheme: str) -> str:
    rows = scene.office.command("crl", "sources", "--json").json
    (found,) = [row["url"] for row in rows if row["url"].startswith(scheme)]
    return str(found)


def test_revoked_at_the_server_is_refused_here(scene: Scene) -> None:
    office, url = scene.office, place(scene, "http:")
    scene.publish(number=1)
    assert "new: CRL no. 1" in scene.update(url)
    office.send(ALICE, BOB)
    (mail,) = office.outcome()[BOB]
    assert b"Grapefruit" in office.read(mail, BOB)

    scene.publish(BOB, number=2)
    assert "new: CRL no. 2" in scene.update(url)
    scene.wait_until_refused(BOB)
    office.sink.clear()
    office.send(ALICE, BOB)
    outcome = office.outcome()
    assert BOB not in outcome
    (bounce,) = outcome[ALICE]
    assert b"5.7.5" in bounce.content
    assert b"(found: revoked)" in b" ".join(bounce.content.split())
    (row,) = office.command("crl", "list", "--json").json
    assert (row["state"], row["number"]) == ("in force", 2)  # it took the place of the first

    # whatever the server does from now on, Bob stays revoked
    foreign = scene.crl(number=50, by=scene.people.root)
    forged = bytearray(scene.crl(number=60))
    forged[-1] ^= 1
    serve, misbehave = web_of(scene)
    for do, said in (
        (lambda: None, "unchanged: unchanged: CRL no. 2"),
        (lambda: serve(scene.crl(number=1)), "older: CRL no. 1"),
        (lambda: misbehave(Trouble.SILENT), "failed: no answer in 1 s"),
        (lambda: misbehave(Trouble.DRIP), "failed: not complete after 3 s"),
        (lambda: misbehave(Trouble.HUGE), "failed: larger than 20000 octets"),
        (lambda: misbehave(Trouble.ENDLESS), "failed: larger than 20000 octets"),
        (lambda: misbehave(Trouble.CUT), "failed: cut off"),
        (lambda: serve(scene.crl(number=3)[:-9]), "failed: not a CRL"),
        (lambda: serve(bytes(forged)), "invalid: CRL no. 60"),
        (lambda: serve(foreign), "new: CRL no. 50"),  # the root's own: it stands beside
        (lambda: serve(b"", status=404), "failed: HTTP 404 Not Found"),
        (lambda: misbehave(Trouble.CLOSE), "failed: "),
    ):
        do()
        good = said.startswith(("new", "unchanged"))
        assert scene.update(url, code=0 if good else 1).startswith(said)
        assert "revoked" in scene.fate(BOB)
    scene.web.stop()
    assert scene.update(url, code=1) == "failed: cannot be reached: connection refused"
    assert "revoked" in scene.fate(BOB)
    findings = office.command("doctor", "--json", code=0).json
    (finding,) = [one for one in findings if one["about"] == url]
    assert finding["grade"] == "warning"
    assert "connection refused; last success: " in finding["what"]


def web_of(scene: Scene) -> tuple[Any, Any]:
    def serve(body: bytes, **special: Any) -> None:
        scene.web.serve("/ca.crl", body, **special)

    def misbehave(trouble: Trouble) -> None:
        scene.web.misbehave("/ca.crl", trouble)

    return serve, misbehave


def test_over_ldap(scene: Scene) -> None:
    url, attribute = place(scene, "ldap:"), "certificateRevocationList;binary"
    scene.directory.put("CA", {attribute: [scene.crl(number=1)]})
    assert "new: CRL no. 1" in scene.update(url)
    assert scene.fate(ERIN).startswith("250")
    scene.directory.put("CA", {attribute: [scene.crl(ERIN, number=2)]})
    assert "new: CRL no. 2" in scene.update(url)
    scene.wait_until_refused(ERIN)
    scene.directory.put("CA", {attribute: [scene.crl(number=1)]})
    assert scene.update(url, code=1).startswith("older: CRL no. 1")
    assert "revoked" in scene.fate(ERIN)
