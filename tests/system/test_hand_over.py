"""Kill -9 at every step, retries, and who gets a mail how often: once.

A client as Postfix is one: the same bytes, and the same queue id, until a final reply.
"""

from __future__ import annotations

import smtplib
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.postfix import PostfixLab
from tests.support.postoffice import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    ERIN,
    GINA,
    HUGO,
    Stock,
    filter_at,
    letter,
)
from tests.support.program import Program, shipped_settings
from tests.support.sink import Sink, Stage

pytestmark = pytest.mark.system

TO = (BOB, DAVE, GINA)  # by three copies
POLICY = """\
preferences:
  sign: when-encrypting
domains:
  - domain: in.test
    preferences: {locality: internal}
  - domain: strict.test
    preferences: {encrypt: mandatory, content-cipher: aes-256-cbc}
  - domain: clear.test
    preferences: {encrypt: never}
  - domain: free.test
    preferences: {content-cipher: aes-256-gcm}
"""


class Office:
    """A filter over SMTP and the sink behind it."""

    def __init__(self, home: Path, stock: Stock, sink: Sink, **settings: Any) -> None:
        self.sink = sink
        home.mkdir()
        chosen = shipped_settings(home, port=0, next_hop=sink.port, protocol="smtp")
        self.program = Program(home, {**chosen, **settings})
        stock.copy_to(home)
        (home / "policies" / "global.yaml").write_text(POLICY)

    def send(self, *to: str, ident: str = "4XYZ", content: bytes | None = None) -> int:
        """One try; the code of the reply, 0 where none came."""
        try:
            with smtplib.SMTP("127.0.0.1", self.program.port("smtp"), timeout=30) as client:
                client.ehlo("mx.test")
                client.docmd(f"XFORWARD IDENT={ident}")
                client.mail(ALICE)
                for address in to:
                    client.rcpt(address)
                code, _ = client.data(content or letter(ALICE, *to))
                return code
        except (smtplib.SMTPServerDisconnected, ConnectionError):
            return 0

    @contextmanager
    def sending(self, *to: str, **special: Any) -> Iterator[list[int]]:
        """The same beside what the caller does."""
        codes: list[int] = []
        thread = threading.Thread(target=lambda: codes.append(self.send(*to, **special)))
        thread.start()
        yield codes
        thread.join()

    def got(self) -> Counter[str]:
        return Counter(address for mail in self.sink.mails for address in mail.addresses)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as made:
        yield made


@pytest.fixture
def office(stock: Stock, tmp_path: Path, sink: Sink) -> Office:
    return Office(tmp_path / "a", stock, sink)


class Gate:
    """Holds the answer of the sink to one recipient's command until it is opened."""

    def __init__(self, sink: Sink, stage: Stage, only: str) -> None:
        self.reached = threading.Event()
        sink.answer(stage, "450 4.2.1 held", only=only, times=1, delay=3600)
        self._sink = sink
        self._verb = f"RCPT TO:<{only}" if stage is Stage.RCPT else only

    def wait(self, program: Program) -> None:
        def there() -> bool:
            return any(line.startswith(self._verb) for line in self._sink.commands)

        program.wait_until(there, f"{self._verb} at the sink")


def once(*to: str) -> Counter[str]:
    return Counter(to)


@pytest.mark.parametrize("held", TO)
def test_killed_before_any_of_the_copies(office: Office, sink: Sink, held: str) -> None:
    """What was relayed before is not relayed again, whichever copy was under way."""
    gate = Gate(sink, Stage.RCPT, held)
    with office.program:
        with office.sending(*TO) as codes:
            gate.wait(office.program)
            office.program.kill()
        assert codes == [0]
    before = office.got()
    assert held not in before
    sink.behave()
    with office.program:
        assert office.send(*TO) == 250
        assert office.got() == once(*TO)
        settled = office.program.events("mail came again")
        assert [event["settled"] for event in settled] == ([len(before)] if before else [])


def test_killed_between_two_next_hops(stock: Stock, tmp_path: Path, sink: Sink) -> None:
    """One copy, by two ways."""
    here, there = DAVE, "dave@sub.clear.test"
    with Sink() as other:
        hops = {"inside": {"host": "127.0.0.1", "port": other.port}}
        routes = {"sub.clear.test": "inside"}
        office = Office(tmp_path / "a", stock, sink, **{"next-hops": hops, "routes": routes})
        other.answer(Stage.RCPT, "450 4.2.1 held", times=1, delay=3600)
        with office.program, office.sending(here, there):
            office.program.wait_until(
                lambda: f"RCPT TO:<{there}>" in other.commands, "the second way"
            )
            office.program.kill()
        other.behave()
        with office.program:
            assert office.send(here, there) == 250
        assert office.got() == once(here)
        assert [mail.addresses for mail in other.mails] == [(there,)]


def test_killed_while_the_sender_is_being_told(office: Office, sink: Sink) -> None:
    gate = Gate(sink, Stage.RCPT, ALICE)
    with office.program, office.sending(BOB, CAROL):
        gate.wait(office.program)
        office.program.kill()
    assert office.got() == once(BOB)
    sink.behave()
    with office.program:
        assert office.send(BOB, CAROL) == 250
        assert office.got() == once(BOB, ALICE)


def test_killed_after_it_answered_later(office: Office, sink: Sink) -> None:
    sink.answer(Stage.RCPT, "450 4.2.1 later", only=DAVE)
    with office.program:
        assert office.send(*TO) == 451
        office.program.kill()
    assert office.got() == once(BOB, GINA)
    sink.behave()
    with office.program:
        assert office.send(*TO) == 250
        assert office.got() == once(*TO)
        assert office.send(*TO, ident="4XZZ") == 250  # another mail of the same words
        assert office.got() == once(*TO, *TO)


def test_a_client_that_died_meanwhile_gets_no_second_copy(office: Office, sink: Sink) -> None:
    """One recipient, relayed after the client was gone: it never heard us."""
    sink.answer(Stage.CONTENT, "250 2.0.0 Ok: queued as X1", delay=0.5, times=1)
    with office.program:
        client = smtplib.SMTP("127.0.0.1", office.program.port("smtp"), timeout=30)
        client.ehlo("mx.test")
        client.docmd("XFORWARD IDENT=4XYZ")
        client.mail(ALICE)
        client.rcpt(DAVE)
        client.docmd("DATA")
        client.send(letter(ALICE, DAVE) + b".\r\n")
        client.close()
        office.program.wait_for_event("mail")
        office.program.wait_until(lambda: _kept(office) == 1, "an entry in the journal")
        assert office.send(DAVE) == 250
        assert office.got() == once(DAVE)
        office.program.wait_until(lambda: _kept(office) == 0, "an empty journal")


def _kept(office: Office) -> int:
    with closing(sqlite3.connect(office.program.home / "hand-over.db")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM settled").fetchone()
    return int(count)


def test_the_next_try_may_come_to_another_process(
    office: Office, stock: Stock, tmp_path: Path, sink: Sink
) -> None:
    shared = str(tmp_path / "a" / "hand-over.db")
    other = Office(tmp_path / "b", stock, sink, **{"hand-over": shared})
    sink.answer(Stage.RCPT, "450 4.2.1 later", only=DAVE, times=1)
    with office.program, other.program:
        assert office.send(*TO) == 451
        assert other.send(*TO) == 250
        assert office.got() == once(*TO)


def test_two_processes_do_not_work_on_it_at_once(
    office: Office, stock: Stock, tmp_path: Path, sink: Sink
) -> None:
    shared = str(tmp_path / "a" / "hand-over.db")
    other = Office(tmp_path / "b", stock, sink, **{"hand-over": shared})
    gate = Gate(sink, Stage.RCPT, DAVE)
    with office.program, other.program:
        with office.sending(*TO):
            gate.wait(office.program)
            assert other.send(*TO) == 451
            office.program.kill()
        assert other.send(*TO) == 250
        assert office.got() == once(*TO)


def test_many_at_once_and_kills_in_between(office: Office, sink: Sink) -> None:
    """Ten mails to three copies each, killed again and again, tried until each is answered."""
    left = {f"Q{number}" for number in range(10)}
    sink.answer(Stage.CONTENT, "250 2.0.0 Ok", delay=0.02)
    kills = 0
    while left:
        with office.program:
            threads = [
                threading.Thread(target=_try, args=(office, ident, left)) for ident in left
            ]
            for thread in threads:
                thread.start()
            if kills < 3:
                goal = len(sink.mails) + 6
                office.program.wait_until(
                    lambda goal=goal: len(sink.mails) >= goal or not left, "copies"
                )
                office.program.kill()
                kills += 1
            for thread in threads:
                thread.join()
    twice = {address: count - 10 for address, count in office.got().items()}
    assert set(twice) == set(TO)
    assert min(twice.values()) >= 0
    # at most one copy of each mail was on its way, unanswered, at each kill
    assert sum(twice.values()) <= kills * 10


def _try(office: Office, ident: str, left: set[str]) -> None:
    if office.send(*TO, ident=ident) == 250:
        left.discard(ident)


@pytest.fixture
def behind_postfix(
    stock: Stock, smtp_lab: PostfixLab, tmp_path: Path, sink: Sink
) -> Iterator[Program]:
    """A filter that Postfix hands mail to by SMTP, with the sink as its next hop."""
    home = tmp_path / "a"
    home.mkdir()
    with filter_at(stock, home, smtp_lab, sink.port) as program:
        yield program
    smtp_lab.clear()


@pytest.mark.parametrize(
    "waits", [(BOB,), (DAVE,), (GINA,), (BOB, DAVE), (HUGO,), (ERIN, HUGO)]
)
def test_postfix_tries_again_and_each_gets_exactly_one(
    smtp_lab: PostfixLab, behind_postfix: Program, sink: Sink, waits: tuple[str, ...]
) -> None:
    """Three copies for five people, of whom some are kept waiting twice."""
    to = (BOB, DAVE, ERIN, GINA, HUGO)
    for address in waits:
        sink.answer(Stage.RCPT, "450 4.2.1 later", only=address, times=2)
    smtp_lab.send(ALICE, to, letter(ALICE, *to))
    smtp_lab.wait_for_empty_queue(60)
    assert Counter(address for mail in sink.mails for address in mail.addresses) == once(*to)
    assert len(behind_postfix.events("mail")) == 3
    again = behind_postfix.events("mail came again")
    assert [event["settled"] for event in again] == [len(to) - len(waits)] * 2


def test_postfix_tries_again_what_came_from_sendmail(
    smtp_lab: PostfixLab, behind_postfix: Program, sink: Sink
) -> None:
    """It forwards no queue id then, but its Received field names one."""
    sink.answer(Stage.RCPT, "450 4.2.1 later", only=DAVE, times=1)
    smtp_lab.submit(ALICE, TO, letter(ALICE, *TO).replace(b"\r\n", b"\n"))
    smtp_lab.wait_for_empty_queue(60)
    assert Counter(address for mail in sink.mails for address in mail.addresses) == once(*TO)
    assert len(behind_postfix.events("mail came again")) == 1
    assert not behind_postfix.events("mail")[0]["queue_in"]


def test_two_mails_of_the_same_bytes_are_two_mails(
    smtp_lab: PostfixLab, behind_postfix: Program, sink: Sink
) -> None:
    sink.answer(Stage.RCPT, "450 4.2.1 later", only=DAVE, times=2)
    for _ in range(2):
        smtp_lab.send(ALICE, TO, letter(ALICE, *TO))
    smtp_lab.wait_for_empty_queue(60)
    got = Counter(address for mail in sink.mails for address in mail.addresses)
    assert got == once(*TO, *TO)


def test_the_filter_is_killed_behind_postfix(
    smtp_lab: PostfixLab, behind_postfix: Program, sink: Sink
) -> None:
    gate = Gate(sink, Stage.RCPT, DAVE)
    smtp_lab.send(ALICE, TO, letter(ALICE, *TO))
    gate.wait(behind_postfix)
    behind_postfix.kill()
    sink.behave()
    behind_postfix.start()
    smtp_lab.flush()
    smtp_lab.wait_for_empty_queue(60)
    assert Counter(address for mail in sink.mails for address in mail.addresses) == once(*TO)
