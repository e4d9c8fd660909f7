"""Requests: each step may be the last of a process, and nothing is lost or done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from smimefilter.base.errors import AdminError
from smimefilter.flow import requests
from smimefilter.flow.enrol import Bulk, Looked
from smimefilter.flow.requests import GIVE_UP, LEASE, Done, RequestDesk, Step
from smimefilter.flow.wanted import Wanted
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.request import read_csr
from smimefilter.plan.bulk import Row
from smimefilter.ports.handlers import HandlerTrouble, Issued, Later, NotIssued, Order, Remember
from smimefilter.ports.requests import RequestState, StoredRequest
from smimefilter.ports.stores import Shelf
from smimefilter.store.database import Database
from tests.support.offices import Office
from tests.support.pki import NOW, key_of, root

ALICE = Wanted(address="alice@in.test", common_name="Alice", key="p256")
CA = root("CA of requests", key="p256").issue("Sub of requests", ca=True, key="p256")


async def ask(office: Office, wanted: Wanted = ALICE) -> StoredRequest:
    (stored,) = await office.desk.submit([wanted], "told")
    (done,) = await office.desk.work([stored.id])
    return done


async def only(database: Database) -> StoredRequest:
    (one,) = await database.requests.all()
    return one


async def test_what_was_done_is_in_the_audit_trail(database: Database) -> None:
    office = await Office(database).with_ca()
    done = await ask(office)
    events = [one.event for one in await database.audit.find(done.id)]
    assert events == ["requested", "issued"]
    assert done.secrets is None  # the key is with its certificate now


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (replace(ALICE, address="alice"), "alice"),
        (replace(ALICE, common_name=" "), "needs a common name"),
        (replace(ALICE, organisation="x" * 65), "64 printable"),
        (replace(ALICE, surname="a\nb"), "printable"),
        (replace(ALICE, key="rsa1"), "no such kind of key"),
        (replace(ALICE, key="rsa1024"), "rsa1024 keys can be broken"),
        (replace(ALICE, digest="sha1"), "SHA1 can be forged"),
        (replace(ALICE, days=0), "1 to 36500 days, not 0"),
        (replace(ALICE, days=10**9), "1 to 36500 days"),
        (replace(ALICE, crl_url="javascript:x"), "no URL"),
        (replace(ALICE, issuer_url="http://ü/"), "no URL"),
    ],
)
async def test_what_cannot_be_asked_for(database: Database, wanted: Wanted, said: str) -> None:
    office = Office(database)
    with pytest.raises(AdminError, match=said):
        await office.desk.submit([ALICE, wanted], "told")
    with pytest.raises(AdminError, match="no request handler 'none'"):
        await office.desk.submit([ALICE], "none")
    assert await database.requests.all() == []


async def answer(what: Any, order: Order, remember: Remember) -> Any:
    if isinstance(what, Exception):
        raise what
    return what


def answering(what: Any) -> Callable[[Order, Remember], Awaitable[Any]]:
    return lambda order, remember: answer(what, order, remember)


async def test_a_refusal_is_for_good_and_says_why(database: Database) -> None:
    office = Office(database, answering(NotIssued("not for you")))
    done = await ask(office)
    assert (done.state, done.outcome) == (RequestState.REFUSED, "not for you")
    assert await office.desk.work_due(9) == 0
    assert await database.certificates.keys() == []


async def test_trouble_is_tried_again_less_and_less_often_until_it_is_given_up(
    database: Database,
) -> None:
    office = Office(database, answering(HandlerTrouble("the CA is down")))
    done = await ask(office)
    assert (done.state, done.outcome) == (RequestState.PENDING, "the CA is down")
    waits = []
    while done.state is RequestState.PENDING:
        waits.append((done.due - office.now).total_seconds() / 60)
        office.now = done.due - timedelta(seconds=1)
        assert await office.desk.work_due(9) == 0
        office.now = done.due
        assert await office.desk.work_due(9) == 1
        done = await only(database)
    assert waits[:6] == [1, 2, 4, 8, 16, 32]
    assert max(waits) == 360
    assert done.state is RequestState.GIVEN_UP
    assert office.now - NOW >= GIVE_UP
    assert done.outcome == "given up: the CA is down"


async def test_a_defect_in_a_handler_is_logged_and_tried_again(database: Database) -> None:
    office = Office(database, answering(KeyError("oops")))
    done = await ask(office)
    assert done.state is RequestState.PENDING
    assert office.journal.troubles == ["request not worked on: defect"]
    assert "oops" not in done.outcome


async def test_one_that_hangs_is_left(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "PATIENCE", 0.01)

    async def hangs(*_: Any) -> Any:
        await asyncio.sleep(60)

    done = await ask(Office(database, hangs))
    assert done.state is RequestState.PENDING
    assert "no answer within" in done.outcome


async def test_one_that_takes_longer_is_asked_again_with_what_it_remembers(
    database: Database,
) -> None:
    office = await Office(database).with_ca()

    async def later(order: Order, remember: Remember) -> Any:
        if order.state.get("order") != 7:
            await remember({"order": 7})
            return Later("being looked at", again=timedelta(hours=2))
        return await office.built_in(order, remember)

    office.answer = later
    done = await ask(office)
    assert (done.outcome, done.due) == ("being looked at", NOW + timedelta(hours=2))
    office.now = done.due
    assert await office.another_desk().work_due(9) == 1
    assert (await only(database)).state is RequestState.ISSUED
    first, second = office.orders
    assert (first.id, first.csr) == (second.id, second.csr) or (
        read_csr(first.csr).public_key == read_csr(second.csr).public_key
    )


HOSTILE: dict[str, tuple[Callable[[Order], Certificate], str]] = {
    "another key": (
        lambda _: CA.issue("A", mail="alice@in.test", key=key_of("p256", "other")).certificate,
        "for another key",
    ),
    "another address": (
        lambda order: for_csr(order, mail="mallory@in.test"),
        "names mallory@in.test, not alice@in.test",
    ),
    "more addresses": (
        lambda order: for_csr(order, mail=("alice@in.test", "boss@in.test")),
        "it names others too: 'boss@in.test'",
    ),
    "expired": (
        lambda order: for_csr(
            order, not_before=NOW - timedelta(days=9), not_after=NOW - timedelta(hours=1)
        ),
        "it has expired",
    ),
    "of next year": (
        lambda order: for_csr(order, not_before=NOW + timedelta(days=300)),
        "not valid before",
    ),
    "a CA": (lambda order: for_csr(order, ca=True), "that of a CA"),
    "a host too": (
        lambda order: named(order, x509.DNSName("bank.example")),
        "it names others too: 'bank.example'",
    ),
    "an address that is none": (
        lambda order: named(order, x509.RFC822Name("victim@other.example, x@y.example")),
        "it names others too: 'victim@other.example, x@y.example'",
    ),
    "an address with a zero": (
        lambda order: named(order, x509.RFC822Name("victim@other.example\0")),
        "it names others too",
    ),
    "for servers": (
        lambda order: named(order, uses=ExtendedKeyUsageOID.SERVER_AUTH),
        "it is not for mail",
    ),
}


def named(
    order: Order, *more: x509.GeneralName, uses: x509.ObjectIdentifier | None = None
) -> Certificate:
    """A certificate of the key that was asked for, with more names than were."""
    csr = x509.load_der_x509_csr(order.csr)
    names = [x509.RFC822Name("alice@in.test"), *more]
    builder = (
        x509.CertificateBuilder()
        .subject_name(csr.subject)
        .issuer_name(CA.certificate.parsed.subject)
        .public_key(csr.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if uses is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([uses]), critical=False)
    return Certificate.read(builder.sign(CA.key, SHA256()).public_bytes(Encoding.DER))


def for_csr(order: Order, **special: Any) -> Certificate:
    from smimefilter.pki.build import Profile, certify

    key = x509.load_der_x509_csr(order.csr).public_key()
    mail = special.pop("mail", "alice@in.test")
    profile = Profile(
        common_name="Alice",
        addresses=(mail,) if isinstance(mail, str) else mail,
        **({"not_before": NOW, "not_after": NOW + timedelta(days=365)} | special),
    )
    return certify(profile, key, CA.identity)


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_is_not_what_was_asked_for_is_refused(database: Database, name: str) -> None:
    make, said = HOSTILE[name]

    async def hostile(order: Order, _: Remember) -> Any:
        return Issued(make(order))

    done = await ask(Office(database, hostile))
    assert done.state is RequestState.REFUSED
    assert said in done.outcome
    assert await database.certificates.keys() == []


async def test_a_chain_that_comes_along_is_stored_and_no_root_of_it_trusted(
    database: Database,
) -> None:
    async def with_chain(order: Order, _: Remember) -> Any:
        user = CA.issue("U", mail="u@in.test").certificate
        return Issued(for_csr(order), (CA.certificate, CA.chain[0], user))

    await ask(Office(database, with_chain))
    assert await database.certificates.all(Shelf.ROOTS) == []
    stored = [one.certificate for one in await database.certificates.all(Shelf.CERTIFICATES)]
    assert CA.certificate in stored
    assert len(stored) == 3


async def test_of_what_comes_along_only_what_leads_up_is_stored(database: Database) -> None:
    strangers = [root(f"Stranger {n}").certificate for n in range(20)]

    async def with_chain(order: Order, _: Remember) -> Any:
        return Issued(for_csr(order), (*strangers, *CA.chain[:1], CA.certificate))

    done = await ask(Office(database, with_chain))
    stored = {one.certificate for one in await database.certificates.all(Shelf.CERTIFICATES)}
    assert {one.thumbprint for one in stored} == {
        done.thumbprint, CA.certificate.thumbprint, CA.chain[0].thumbprint,
    }  # fmt: skip


# a process that dies, at every step


class Died(BaseException):
    """Like kill -9: nothing runs after it."""


class Proxy:
    """Something whose methods are counted, and at one of which the process dies."""

    def __init__(self, real: Any, names: Sequence[str], steps: list[str], at: int) -> None:
        self._real, self._names, self._steps, self._at = real, names, steps, at

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        return self._counted(name, real) if name in self._names else real

    def _counted(self, name: str, real: Any) -> Any:
        async def call(*args: Any, **more: Any) -> Any:
            self._step(f"before {name}")
            found = await real(*args, **more)
            self._step(f"after {name}")
            return found

        return call

    def _step(self, what: str) -> None:
        self._steps.append(what)
        if len(self._steps) == self._at:
            raise Died


def deadly(office: Office, at: int) -> tuple[RequestDesk, list[str]]:
    """A desk whose process dies before or after one of its calls of store and handlers."""
    desk, steps = office.another_desk(), list[str]()
    store = Proxy(office.database.requests, ("claim", "keep", "settle"), steps, at)
    desk._requests = cast(Any, store)
    desk._handlers = cast(Any, Proxy(desk._handlers, ("opened",), steps, at))
    return desk, steps


@pytest.mark.parametrize("at", range(1, 17))
async def test_a_process_that_dies_loses_no_key_and_orders_nothing_twice(
    database: Database, at: int
) -> None:
    office = await Office(database).with_ca()
    mailed: list[str] = []
    served: dict[str, Certificate] = {}

    async def ca(order: Order, remember: Remember) -> Any:
        """A CA that remembers its orders by our id, and must not get two of one request."""
        answer = await office.authority.issue(order)
        assert isinstance(answer, Issued)
        known = served.setdefault(order.id, answer.certificate)
        assert known == answer.certificate
        return answer

    async def mail() -> None:
        mailed.append("sent")

    def steps(_: Done) -> list[Step]:
        return [("key sent", mail)]

    office.answer, office.steps = ca, steps
    (stored,) = await office.desk.submit([replace(ALICE, send=True)], "told")
    desk, seen = deadly(office, at)
    died = False
    try:
        await desk.work([stored.id])
    except Died:
        died = True
    except BaseExceptionGroup:
        died = True
    before = (await only(database)).secrets
    office.now += LEASE + timedelta(minutes=1)
    for _ in range(4):  # other processes, later
        await office.another_desk().work_due(9)
        office.now += timedelta(hours=1)
    done = await only(database)
    assert done.state is RequestState.ISSUED, (at, seen, done)
    assert len(served) == 1
    (certificate,) = served.values()
    assert done.thumbprint == certificate.thumbprint
    assert await database.certificates.key(done.thumbprint) is not None
    issued = await database.authorities.issued(
        (await office.authority.find()).certificate.thumbprint
    )
    assert len(issued) == 1
    assert 1 <= len(mailed) <= 2  # once; twice where it died before that was noted
    assert died or len(mailed) == 1
    assert before is not None or not died or done.secrets is None


async def test_the_steps_are_all_of_them(database: Database) -> None:
    """What the crash test dies at is all there is; if there are more, it has to know them."""
    office = await Office(database).with_ca()
    office.steps = lambda _: []
    (stored,) = await office.desk.submit([replace(ALICE, send=True)], "told")
    desk, seen = deadly(office, 0)
    await desk.work([stored.id])
    assert len(seen) == 12, seen


async def test_two_workers_on_one_queue_do_nothing_twice(database: Database) -> None:
    office = await Office(database).with_ca()
    asked: list[str] = []

    async def slow(order: Order, remember: Remember) -> Any:
        asked.append(order.id)
        await asyncio.sleep(0.01)
        return await office.built_in(order, remember)

    office.answer = slow
    many = [replace(ALICE, address=f"a{n}@in.test") for n in range(12)]
    await office.desk.submit(many, "told")
    desks = [office.another_desk() for _ in range(2)]

    async def all_of(desk: RequestDesk) -> int:
        total = 0
        while done := await desk.work_due(3):
            total += done
        return total

    counts = await asyncio.gather(*map(all_of, desks))
    assert sum(counts) == len(many) == len(asked) == len(set(asked))
    assert all(one.state is RequestState.ISSUED for one in await database.requests.all())


async def test_who_comes_back_after_his_lease_writes_nothing(database: Database) -> None:
    office = await Office(database).with_ca()
    begun, woken = asyncio.Event(), asyncio.Event()

    async def sleeps(order: Order, remember: Remember) -> Any:
        begun.set()
        await woken.wait()
        return NotIssued("by one who slept")

    office.answer = sleeps
    (stored,) = await office.desk.submit([ALICE], "told")
    sleeper = asyncio.create_task(office.desk.work([stored.id]))
    await asyncio.wait_for(begun.wait(), 20)
    office.now += LEASE
    office.answer = office.built_in
    assert await office.another_desk().work_due(9) == 1
    woken.set()
    await sleeper
    assert (await only(database)).state is RequestState.ISSUED


# by hand


async def test_an_answer_is_matched_by_its_key(database: Database) -> None:
    office = Office(database, answering(Later("waits", again=timedelta(days=1))))
    alice = await ask(office)
    bob = await ask(office, replace(ALICE, address="bob@in.test"))
    csr = read_csr(await office.desk.csr(bob))
    order = next(one for one in office.orders if one.id == bob.id)
    good = for_csr(order, mail="bob@in.test")
    assert csr.is_answered_by(good)
    stranger = CA.issue("S", mail="bob@in.test", key=key_of("p256", "stranger")).certificate
    wrong = for_csr(order, mail="eve@in.test")
    answers = await office.desk.upload([stranger, wrong, CA.certificate])
    assert [why for *_, why in answers] == [
        "it is for another key than that of any request that waits",
        "it names eve@in.test, not bob@in.test",
    ]
    assert {one.state for one in await database.requests.all()} == {RequestState.PENDING}
    ((_, done, why),) = await office.desk.upload([good, CA.certificate])
    assert why == ""
    assert done is not None
    assert (done.id, done.state) == (bob.id, RequestState.ISSUED)
    assert await database.certificates.key(good.thumbprint) is not None
    assert (await office.desk.find(alice.id)).state is RequestState.PENDING
    with pytest.raises(AdminError, match="only those of CAs"):
        await office.desk.upload([CA.certificate])


async def test_rescheduled_and_deleted(database: Database) -> None:
    office = Office(database, answering(Later("waits", again=timedelta(days=1))))
    done = await ask(office)
    assert await office.desk.work_due(9) == 0
    assert await office.desk.reschedule([done.id]) == 1
    assert await office.desk.work_due(9) == 1
    assert await office.desk.remove([done.id, "none"]) == 1
    assert await database.requests.all() == []
    assert [one.event for one in await database.audit.find(done.id)][-1] == "deleted"
    with pytest.raises(AdminError, match="no request has an id"):
        await office.desk.find(done.id)


async def test_what_was_given_up_can_be_answered_and_asked_for_again(
    database: Database,
) -> None:
    office = Office(database, answering(HandlerTrouble("down")))
    late, again = await ask(office), await ask(office, replace(ALICE, address="bob@in.test"))
    office.now += GIVE_UP + timedelta(days=1)
    await office.desk.work_due(9)
    states = [one.state for one in await database.requests.all()]
    assert states == [RequestState.GIVEN_UP] * 2
    order = next(one for one in office.orders if one.id == late.id)
    good = for_csr(order, not_after=office.now + timedelta(days=100))
    ((_, done, why),) = await office.desk.upload([good])
    assert (why, done and done.state) == ("", RequestState.ISSUED)
    assert await database.certificates.key(good.thumbprint) is not None
    assert await office.desk.reschedule([again.id, late.id]) == 1
    found = await office.desk.find(again.id)
    assert found.state is RequestState.PENDING
    assert found.give_up == office.now + GIVE_UP
    await office.desk.work_due(9)
    assert (await office.desk.find(again.id)).outcome == "down"


async def test_of_two_that_ask_for_the_same_at_once_one_does(database: Database) -> None:
    office = Office(database)
    desks = [office.another_desk() for _ in range(3)]
    asked = await asyncio.gather(
        *(desk.submit([ALICE], "told", once=["by this word"]) for desk in desks)
    )
    assert sorted(map(len, asked)) == [0, 0, 1]
    assert [one.event for one in await database.audit.find()] == ["requested"]


async def test_a_file_that_is_submitted_twice_at_once_asks_once(database: Database) -> None:
    office = await Office(database).with_ca()
    rows = [Row(number, f"u{number}@in.test", f"User {number}") for number in (2, 4, 5)]
    looked = [
        Looked(row, replace(ALICE, address=row.address, common_name=row.common_name))
        for row in rows
    ]

    async def all_of(batch: str) -> list[StoredRequest]:
        return await database.requests.all(batch=batch)

    both = [Bulk(office.another_desk(), all_of) for _ in range(2)]
    await asyncio.gather(*(one.submit(b"file", looked, lambda _: "told") for one in both))
    found = await database.requests.all()
    assert [(one.position, one.state) for one in found] == [
        (number, RequestState.ISSUED) for number in (2, 4, 5)
    ]
    assert len(office.orders) == 3


async def test_each_step_has_a_lease_of_its_own(database: Database) -> None:
    office = await Office(database).with_ca()
    mailed: list[str] = []

    def slow(name: str) -> Step:
        async def step() -> None:
            office.now += LEASE - timedelta(minutes=1)
            assert await office.another_desk().work_due(9) == 0  # nobody else has it meanwhile
            mailed.append(name)

        return name, step

    office.steps = lambda _: [slow("mailed"), slow("password sent")]
    done = await ask(office, replace(ALICE, send=True))
    assert done.state is RequestState.ISSUED
    assert mailed == ["mailed", "password sent"]


async def test_a_file_submitted_again_asks_again_for_what_was_refused(
    database: Database,
) -> None:
    office = await Office(database, answering(NotIssued("not today"))).with_ca()
    row = Row(2, "alice@in.test", "Alice")
    looked = [Looked(row, ALICE)]

    async def all_of(batch: str) -> list[StoredRequest]:
        return await database.requests.all(batch=batch)

    for said in (RequestState.REFUSED, RequestState.ISSUED, RequestState.ISSUED):
        bulk = Bulk(office.another_desk(), all_of)
        (done,) = await bulk.submit(b"file", looked, lambda _: "told")
        assert done.state is said
        office.answer = office.built_in
    assert len(await database.requests.all()) == 2


async def test_one_that_cannot_be_read_stops_no_other(database: Database) -> None:
    office = Office(database, answering(Later("waits", again=timedelta(days=1))))
    people = [replace(ALICE, address=f"{name}@in.test") for name in ("alice", "bob", "eve")]
    good, sealed, odd = await office.desk.submit(people, "told")
    lease, _ = await database.requests.claim(NOW, NOW + LEASE, 9)
    await database.requests.settle(lease, good)
    await database.requests.settle(lease, replace(sealed, secrets=b"of another master key"))
    await database.requests.settle(lease, replace(odd, fields={"address": "eve@in.test"}))
    assert await office.desk.work_due(9) == 3
    said = {one.address: one.outcome for one in await database.requests.all()}
    assert said["alice@in.test"] == "waits"
    assert "secrets do not open" in said["bob@in.test"]
    assert said["eve@in.test"] == requests.DEFECT
    ((_, done, why),) = await office.desk.upload([for_csr(office.orders[0])])
    assert (why, done and done.state) == ("", RequestState.ISSUED)


async def test_what_a_process_that_died_had_can_be_deleted(database: Database) -> None:
    office = Office(database)
    (one,) = await office.desk.submit([ALICE], "told")
    await database.requests.claim(NOW, NOW + LEASE, 1)
    assert await office.desk.remove([one.id]) == 0  # somebody may be at it
    office.now += LEASE
    assert await office.desk.remove([one.id]) == 1
    assert await database.requests.all() == []


async def test_a_file_asks_again_where_one_failure_of_several_was_deleted(
    database: Database,
) -> None:
    office = await Office(database, answering(NotIssued("not today"))).with_ca()
    looked = [Looked(Row(2, "alice@in.test", "Alice"), ALICE)]

    async def all_of(batch: str) -> list[StoredRequest]:
        return await database.requests.all(batch=batch)

    async def submitted() -> StoredRequest:
        bulk = Bulk(office.another_desk(), all_of)
        (done,) = await bulk.submit(b"file", looked, lambda _: "told")
        return done

    first = await submitted()
    office.now += timedelta(minutes=1)
    second = await submitted()
    assert first.id != second.id
    assert await office.desk.remove([first.id]) == 1
    office.answer = office.built_in
    assert (await submitted()).state is RequestState.ISSUED
    assert len(await database.requests.all()) == 2


async def test_what_is_refused_for_our_key_is_named_and_can_be_mended(
    database: Database,
) -> None:
    given: list[Certificate] = []

    async def wrong(order: Order, _: Remember) -> Any:
        given.append(for_csr(order, mail="mallory@in.test"))
        return Issued(given[0])

    office = Office(database, wrong)
    done = await ask(office, replace(ALICE, send=True))
    assert done.state is RequestState.REFUSED
    named = (given[0].serial_hex, given[0].issuer, given[0].thumbprint)
    (record,) = [one for one in await database.audit.find(done.id) if one.event == "refused"]
    assert all(one in done.outcome and one in record.detail for one in named)
    mailed: list[Certificate] = []

    async def mail(what: Done) -> None:
        mailed.append(what.certificate)

    office.steps = lambda what: [("mailed", lambda: mail(what))]
    office.now += GIVE_UP + timedelta(days=1)
    assert await office.desk.work_due(9) == 0  # nobody asks again by himself
    good = for_csr(office.orders[0], not_after=office.now + timedelta(days=100))
    ((_, mended, why),) = await office.desk.upload([good])
    assert (why, mended and mended.state) == ("", RequestState.ISSUED)
    assert mailed == [good]
    assert await database.certificates.key(good.thumbprint) is not None


async def test_what_is_refused_for_another_key_leaves_none(database: Database) -> None:
    other = CA.issue("A", mail="alice@in.test", key=key_of("p256", "other")).certificate
    office = Office(database, answering(Issued(other)))
    done = await ask(office)
    assert (done.state, done.secrets) == (RequestState.REFUSED, None)
    good = for_csr(office.orders[0])
    assert [why for *_, why in await office.desk.upload([good])] == [
        "it is for another key than that of any request that waits"
    ]
