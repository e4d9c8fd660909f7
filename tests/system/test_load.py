"""Much mail and bad weather: what was accepted arrives as planned, and nothing in clear that
must not.

Here the filter's next hop is a server that comes and goes; Postfix in front keeps what the
filter does not take.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email import message_from_bytes
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.support.crowd import worker_pids
from tests.support.dialogue import CutError
from tests.support.postfix import PostfixLab, Variant
from tests.support.postoffice import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    ERIN,
    GINA,
    HUGO,
    PostOffice,
    Stock,
    filter_at,
    letter,
)
from tests.support.sink import Mail, Sink, Stage, Weather

pytestmark = pytest.mark.system

KINDS: Final = ((BOB,), (BOB, ERIN), (DAVE,), (BOB, CAROL), (BOB, DAVE), (GINA, HUGO))
SECRET: Final = frozenset({BOB, ERIN, GINA})  # what they get is encrypted
WEATHER: Final = (
    (0.4, Weather.FINE),
    (0.15, Weather.REFUSE),
    (0.4, Weather.FINE),
    (0.15, Weather.BUSY),
    (0.4, Weather.FINE),
    (0.15, Weather.DROP),
)


class Forgetful(Sink):
    """Keeps `forgets` mails and is gone before it says so."""

    forgets = 0

    def keep(self, mail: Mail) -> None:
        super().keep(mail)
        if self.forgets:
            self.forgets -= 1
            raise CutError


class Exposed(NamedTuple):
    """Postfix, the filter, and a next hop that anything may happen to."""

    office: PostOffice  # its sink gets what Postfix sends of its own: bounces
    behind: Forgetful


@pytest.fixture
def exposed(request: pytest.FixtureRequest, stock: Stock) -> Iterator[Exposed]:
    """Made for the variant that a test is parametrised with."""
    lab = request.getfixturevalue(f"{request.param}_lab")
    with exposed_at(stock, request.getfixturevalue("tmp_path"), lab) as made:
        yield made


@pytest.fixture
def crowd(stock: Stock, tmp_path: Path, lmtp_lab: PostfixLab) -> Iterator[Exposed]:
    """The same with a filter of two workers, by LMTP."""
    with exposed_at(stock, tmp_path, lmtp_lab, workers=2) as made:
        yield made


@contextmanager
def exposed_at(
    stock: Stock, home: Path, lab: PostfixLab, *, workers: int = 1
) -> Iterator[Exposed]:
    with (
        Forgetful() as behind,
        Sink(port=lab.sink_port) as sink,
        filter_at(stock, home, lab, behind.port, workers=workers) as program,
    ):
        yield Exposed(PostOffice(stock, program, sink, lab), behind)
        lab.clear()


def send_many(office: PostOffice, mails: int, clients: int = 20) -> None:
    """Hand numbered mails of all kinds to Postfix, so many at a time."""

    def send(number: int) -> None:
        to = KINDS[number % len(KINDS)]
        body = f"the words of mail {number}\r\n".encode()
        content = letter(ALICE, *to, subject=f"mail {number}", body=body)
        office.send(ALICE, *to, content=content)

    with ThreadPoolExecutor(clients) as pool:
        for _ in pool.map(send, range(mails)):
            pass


def expected(mails: int) -> set[tuple[int, str]]:
    """Which mail arrives where."""
    return {
        (number, address)
        for number in range(mails)
        for address in KINDS[number % len(KINDS)]
        if address != CAROL
    }


def arrived(mails: Sequence[Mail]) -> Counter[tuple[int, str]]:
    """How often each mail arrived where; notices to Alice left out."""
    return Counter(
        (number_of(mail), address)
        for mail in mails
        if mail.sender
        for address in mail.addresses
    )


def number_of(mail: Mail) -> int:
    return int(str(message_from_bytes(mail.content)["Subject"]).removeprefix("mail "))


def assert_all_is_as_planned(office: PostOffice, mails: Sequence[Mail]) -> None:
    """Secret copies are encrypted, each of them to all its readers; the others are not."""
    read = 0
    for mail in mails:
        if not mail.sender:
            continue
        words = f"the words of mail {number_of(mail)}\r\n".encode()
        assert (words in mail.content) is not bool(SECRET.intersection(mail.addresses))
        if words not in mail.content and number_of(mail) % 10 == 0:  # some, for time
            for address in mail.addresses:
                assert office.read(mail, address).endswith(words)
                read += 1
    assert read


def deferred(office: PostOffice) -> list[str]:
    """Why the filter deferred what it did."""
    return [
        to["text"]
        for line in office.program.events("mail")
        for to in line["recipients"]
        if to["fate"] == "deferred"
    ]


def told(mails: Sequence[Mail]) -> Counter[int]:
    """How often Alice was told about each refused mail."""
    found: Counter[int] = Counter()
    for mail in mails:
        if mail.addresses == (ALICE,):
            _, _, subject = mail.content.rpartition(b"\nSubject: mail ")
            found[int(subject.split()[0])] += 1
    return found


@pytest.mark.parametrize("exposed", Variant, indirect=True)
def test_two_hundred_mails_while_the_next_hop_comes_and_goes(exposed: Exposed) -> None:
    office, behind = exposed
    behind.answer(Stage.RCPT, "450 4.2.1 later", only=BOB, times=10)
    behind.answer(Stage.DATA, "451 4.3.0 later", times=5)
    behind.answer(Stage.CONTENT, "452 4.3.1 no room", times=10)
    behind.answer(Stage.CONTENT, None, times=5)
    behind.flap(WEATHER)
    send_many(office, 200)
    office.outcome(timeout=60)
    found = arrived(behind.mails)
    assert len(deferred(office)) > 20  # the weather was bad indeed
    assert set(found) == expected(200)
    assert_all_is_as_planned(office, behind.mails)
    refused = {number for number in range(200) if CAROL in KINDS[number % len(KINDS)]}
    notices = told([*office.sink.mails, *behind.mails])
    assert set(notices) == refused
    twice = {number for (number, _), times in found.items() if times > 1}
    if office.lab and office.lab.variant is Variant.LMTP:
        assert not twice
        assert set(notices.values()) == {1}
    else:  # RFC 5321 6.1: one copy (or notice) was taken and the other one was not
        several = {number for number in range(200) if number % len(KINDS) >= 3}
        assert twice <= several


@pytest.mark.parametrize("exposed", Variant, indirect=True)
def test_the_filter_dies_in_the_middle(exposed: Exposed) -> None:
    """As in a power cut, two times: nothing is lost. What was under way may come twice."""
    office, behind = exposed
    behind.answer(Stage.CONTENT, "250 2.0.0 ok", delay=0.05)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send_many, office, 90)
        for number in (15, 40):
            behind.wait_for(number)
            office.program.kill()
            office.program.start()
        sending.result()
    office.outcome(timeout=60)
    found = arrived(behind.mails)
    assert set(found) == expected(90)
    assert_all_is_as_planned(office, behind.mails)
    at_once = 20  # connections to the next hop; a mail on each has two recipients at most
    assert sum(times - 1 for times in found.values()) <= 2 * at_once * 2


def test_workers_die_in_the_middle(crowd: Exposed) -> None:
    """Killed one after the other: nothing is lost, and Postfix is never refused."""
    office, behind = crowd
    assert office.lab
    behind.answer(Stage.CONTENT, "250 2.0.0 ok", delay=0.05)
    before = len(office.lab.log())
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send_many, office, 120)
        for times, number in enumerate((15, 45, 75), start=1):
            behind.wait_for(number, timeout=60)
            os.kill(worker_pids(office.program)[0], signal.SIGKILL)
            office.program.wait_for_event("worker ended", number=times)
        sending.result()
    office.outcome(timeout=60)
    found = arrived(behind.mails)
    assert set(found) == expected(120)
    assert_all_is_as_planned(office, behind.mails)
    assert f":{office.lab.filter_port}: Connection refused" not in office.lab.log()[before:]
    at_once = 20  # connections to the next hop of each; a mail has two recipients at most
    assert sum(times - 1 for times in found.values()) <= 3 * at_once * 2


def test_settings_change_in_the_middle(crowd: Exposed) -> None:
    """New workers take the place of old ones: nothing waits for that in the queue, and nothing
    comes twice."""
    office, behind = crowd
    assert office.lab
    behind.answer(Stage.CONTENT, "250 2.0.0 ok", delay=0.05)
    before = len(office.lab.log())
    config = office.program.config
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send_many, office, 120)
        behind.wait_for(15, timeout=60)
        config.write_text(config.read_text().replace("filter.test", "changed.test"))
        office.program.reload()
        office.program.wait_for_event("settings reloaded", timeout=60)
        send_many(office, 12)
        sending.result()
    office.outcome(timeout=60)
    found = arrived(behind.mails)
    assert set(found) == expected(120)
    twice = expected(12)
    assert {one: times for one, times in found.items() if times != 1} == dict.fromkeys(twice, 2)
    assert "status=deferred" not in office.lab.log()[before:]


@pytest.mark.parametrize("exposed", Variant, indirect=True)
def test_the_filter_is_stopped_in_the_middle(exposed: Exposed) -> None:
    """Mails under way end, those behind them wait, and nothing comes twice."""
    office, behind = exposed
    behind.answer(Stage.CONTENT, "250 2.0.0 ok", delay=0.2)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send_many, office, 60)
        behind.wait_for(10)
        assert office.program.stop() == 0
        office.program.start()
        sending.result()
    office.outcome(timeout=60)
    found = arrived(behind.mails)
    assert set(found) == expected(60)
    assert set(found.values()) == {1}
    assert_all_is_as_planned(office, behind.mails)


@pytest.mark.parametrize("exposed", Variant, indirect=True)
def test_mail_waits_in_the_queue_while_the_next_hop_is_down(exposed: Exposed) -> None:
    office, behind = exposed
    assert office.lab
    behind.flap([(60, Weather.REFUSE)])
    office.send(ALICE, BOB, DAVE)
    office.lab.wait_until(
        lambda: any(mail["queue_name"] == "deferred" for mail in office.lab.queue()),
        "the mail to be deferred",
    )
    (queued,) = office.lab.queue()
    for to in queued["recipients"]:
        assert "451 4.4.1 next hop not available: connection refused" in to["delay_reason"]
    behind.behave()
    office.outcome()
    assert sorted(mail.addresses for mail in behind.mails) == [(BOB,), (DAVE,)]
    assert office.sink.mails == []


@pytest.mark.parametrize("exposed", [Variant.LMTP], indirect=True)
def test_by_lmtp_only_the_copy_that_failed_is_tried_again(exposed: Exposed) -> None:
    office, behind = exposed
    behind.answer(Stage.CONTENT, "451 4.3.2 later", only=DAVE, times=2)
    behind.answer(Stage.RCPT, "550 5.1.1 gone", only="ghost")
    office.send(ALICE, BOB, DAVE, "ghost@clear.test")
    outcome = office.outcome()
    assert sorted(mail.addresses for mail in behind.mails) == [(BOB,), (DAVE,)]
    assert set(outcome) == {ALICE}
    assert b"550 5.1.1 gone" in b" ".join(outcome[ALICE][0].content.split())


@pytest.mark.parametrize("exposed", [Variant.LMTP], indirect=True)
def test_a_next_hop_that_takes_a_mail_and_does_not_say_so_gets_it_once_more(
    exposed: Exposed,
) -> None:
    """RFC 5321 6.1: nobody can know. The filter says so, and each case makes one duplicate."""
    office, behind = exposed
    behind.forgets = 3
    for number in range(3):
        office.send(
            ALICE, BOB, DAVE, content=letter(ALICE, BOB, DAVE, subject=f"mail {number}")
        )
    office.outcome()
    found = arrived(behind.mails)
    assert set(found) == {(number, to) for number in range(3) for to in (BOB, DAVE)}
    assert sum(found.values()) == 6 + 3
    assert deferred(office) == ["connection to the next hop lost"] * 3
    assert office.sink.mails == []
