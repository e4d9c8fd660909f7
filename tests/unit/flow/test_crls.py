"""Fetched CRLs: what is stored, what stays, what is told, and when it is their turn again."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_crl

from smimefilter.flow import crl_intake, crls
from smimefilter.flow.crl_intake import FAILURES, CrlIntake, Outcome, Update
from smimefilter.flow.crl_turns import SOONEST, Turns
from smimefilter.flow.crls import CrlUpdates
from smimefilter.pki.crl import Crl
from smimefilter.plan.snapshot import CertificateIndex, Snapshot
from smimefilter.policy.tree import Setting, Tree
from smimefilter.ports.net import Fetched, FetchFailed, Request
from smimefilter.ports.stores import CrlEntry, CrlSource
from smimefilter.trust.cache import Trust
from smimefilter.trust.knowledge import Knowledge
from smimefilter.trust.verdict import Purpose, Standing, TrustRules
from tests.support.crls import special_crl
from tests.support.pki import NOW, Issued, root
from tests.support.points import point, pointed, url
from tests.support.trust import weakly_signed_crl
from tests.unit.flow.test_revalidation import Journal

ROOT = root("Root of CRLs")
SUB = ROOT.issue("Sub of CRLs", ca=True, key="p256", crl_urls=("http://crl.test/root",))
STRANGER = root("Stranger of CRLs")
ROOTS, SUBS, OTHER = "http://crl.test/root", "http://crl.test/sub", "http://mirror.test/sub"
BOB = pointed(SUB, "Bob of CRLs", [point(url(SUBS)), point(url(OTHER))])
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def crl(issuer: Issued = SUB, *, hours: float = 1, **special: Any) -> bytes:
    """A CRL, issued so many hours ago."""
    return special_crl(issuer, this_update=NOW - hours * HOUR, **special)


def pem(der: bytes) -> bytes:
    return load_der_x509_crl(der).public_bytes(Encoding.PEM)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)


class NetStub:
    """Answers by URL: bytes, a failure, or what a function of the request gives."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.requests: list[Request] = []

    async def fetch(self, request: Request) -> Fetched:
        self.requests.append(request)
        answer = self.answers.get(request.url, FetchFailed("cannot be reached"))
        if callable(answer):
            answer = await answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Fetched) else Fetched(answer, "tag", "a date")


class CrlShelf:
    """`ports.Crls` in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, CrlEntry] = {}

    async def replace(self, new: bytes, superseded: Collection[str], origin: str) -> bool:
        sha256 = hashlib.sha256(new).hexdigest()
        is_new = sha256 not in self.kept
        if is_new:
            self.kept[sha256] = CrlEntry(new, sha256, origin, NOW)
        for old in superseded:
            if old != sha256:
                self.kept.pop(old, None)
        return is_new

    async def all(self) -> list[CrlEntry]:
        return list(self.kept.values())

    @property
    def ders(self) -> list[bytes]:
        return [entry.der for entry in self.kept.values()]


class SourceShelf:
    """`ports.CrlSources` in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, CrlSource] = {}
        self.leased: set[str] = set()

    async def follow(self, urls: Collection[str], now: datetime) -> None:
        self.kept = {u: self.kept.get(u) or CrlSource(u, now) for u in urls}

    async def due(self, now: datetime) -> list[str]:
        due = [s for s in self.kept.values() if s.due <= now and s.url not in self.leased]
        return [source.url for source in sorted(due, key=lambda source: source.due)]

    async def claim(
        self, now: datetime, until: datetime, urls: Collection[str], *, due: bool
    ) -> list[CrlSource]:
        found = [
            source
            for source in self.kept.values()
            if source.url in urls
            and (source.due <= now or not due)
            and source.url not in self.leased
        ]
        self.leased |= {source.url for source in found}
        return found

    async def settle(self, source: CrlSource) -> None:
        self.leased.discard(source.url)
        self.kept[source.url] = source

    async def all(self) -> list[CrlSource]:
        return list(self.kept.values())


class Scene:
    """CRL updates over stubs; `load` makes the snapshot that the stores stand for."""

    def __init__(
        self, *, authorities: tuple[Issued, ...] = (SUB, BOB), most: int = 1 << 20
    ) -> None:
        self.net, self.crls, self.sources = NetStub(), CrlShelf(), SourceShelf()
        self.journal = Journal()
        self.now = NOW
        self.authorities = authorities
        self.settings: dict[str, dict[str, Setting]] = {}
        self.snapshots = cast(Any, type("Snapshots", (), {"current": None})())
        self.load()
        self.sut = CrlUpdates(
            net=self.net,
            snapshots=self.snapshots,
            sources=self.sources,
            intake=CrlIntake(
                snapshots=self.snapshots,
                crls=cast(Any, self.crls),
                clock=lambda: self.now,
                turns=Turns(timedelta(hours=6), lambda: 0.5),
                most=most,
            ),
            journal=self.journal,
            clock=lambda: self.now,
            lease=HOUR,
            most=1 << 20,
        )

    def load(self) -> None:
        knowledge = Knowledge(
            roots=[ROOT.certificate],
            authorities=[one.certificate for one in self.authorities],
            crls=[Crl.read(der) for der in self.crls.ders],
        )
        snapshot = Snapshot(1, Tree(self.settings), CertificateIndex([]), Trust(knowledge))
        self.snapshots.current = type("State", (), {"snapshot": snapshot})()

    async def fetch(self, of: str, answer: Any) -> Update:
        """One URL fetched, by the state as it is stored."""
        self.net.answers[of] = answer
        await self.sut.follow()
        (update,) = await self.sut.update([of])
        self.load()
        return update


async def test_the_first_one_is_stored() -> None:
    scene, der = Scene(), crl(number=7, revoked=[1, 2])
    update = await scene.fetch(SUBS, der)
    assert update.outcome is Outcome.NEW
    assert scene.crls.ders == [der]
    (entry,) = await scene.crls.all()
    assert entry.origin == SUBS
    source = scene.sources.kept[SUBS]
    assert "CRL no. 7 of 2026-06-01 11:00, 2 entries, CN=Sub of CRLs" in source.outcome
    assert (source.etag, source.last_modified, source.failures) == ("tag", "a date", 0)
    assert (source.tried, source.succeeded, source.sha256) == (NOW, NOW, entry.sha256)


async def test_pem_is_read_too() -> None:
    scene = Scene()
    pem = load_der_x509_crl(crl()).public_bytes(Encoding.PEM)
    assert (await scene.fetch(SUBS, pem)).outcome is Outcome.NEW


async def test_several_from_a_directory() -> None:
    scene = Scene()
    ders = [crl(number=1, hours=5), crl(number=2), crl(ROOT)]
    bundle = b"".join(load_der_x509_crl(der).public_bytes(Encoding.PEM) for der in ders)
    assert (await scene.fetch(SUBS, bundle)).outcome is Outcome.NEW
    assert set(scene.crls.ders) == set(ders[1:])
    assert (await scene.fetch(SUBS, bundle)).outcome is Outcome.UNCHANGED


async def test_a_newer_one_takes_the_place() -> None:
    scene, new = Scene(), crl(number=2)
    await scene.fetch(SUBS, crl(hours=2, number=1))
    assert (await scene.fetch(OTHER, new)).outcome is Outcome.NEW
    assert scene.crls.ders == [new]


async def test_an_older_one_never_does() -> None:
    scene, new = Scene(), crl(number=2)
    await scene.fetch(SUBS, new)
    update = await scene.fetch(SUBS, crl(hours=2, number=1))
    assert update.outcome is Outcome.OLDER
    assert "CRL no. 1" in update.source.outcome
    assert "older than the one at hand (CRL no. 2" in update.source.outcome
    assert scene.crls.ders == [new]
    assert update.source.etag == ""  # all of it again, next time


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_in_whatever_order_they_come_the_newest_is_at_hand(
    order: tuple[int, ...],
) -> None:
    scene = Scene()
    ders = [crl(hours=9 - n, number=n) for n in range(3)]
    for n in order:
        await scene.fetch(SUBS, ders[n])
    assert scene.crls.ders == [ders[2]]


async def test_two_at_once_by_one_old_snapshot() -> None:
    scene, old, new = Scene(), crl(hours=2, number=1), crl(number=2)
    scene.net.answers = {SUBS: new, OTHER: old}
    await scene.sut.follow()
    await scene.sut.update([SUBS, OTHER])
    assert scene.crls.ders == [new]


async def test_others_stay() -> None:
    scene = Scene()
    of_root, delta = crl(ROOT), crl(delta_of=1, number=3)
    await scene.fetch(ROOTS, of_root)
    await scene.fetch(SUBS, crl(hours=3, number=2))
    await scene.fetch(OTHER, delta)
    await scene.fetch(SUBS, new := crl(number=4))
    assert set(scene.crls.ders) == {of_root, delta, new}


async def test_a_delta_cannot_take_back_what_the_last_one_revoked() -> None:
    """Nor by being fetched in its place."""
    scene = Scene()
    reasons = x509.ReasonFlags
    for came in (
        crl(ROOT, hours=9, number=1),
        crl(hours=9, number=1),
        crl(hours=4, number=2, delta_of=1, revoked=[BOB], reason=reasons.key_compromise),
        crl(hours=3, number=3, delta_of=1, revoked=[BOB], reason=reasons.remove_from_crl),
        crl(hours=2, number=4, delta_of=1),
    ):
        await scene.fetch(SUBS, came)
    trust = scene.snapshots.current.snapshot.trust
    found = trust.verdict(BOB.certificate, Purpose.ANY, NOW, TrustRules())
    assert found.standing is Standing.REVOKED
    await scene.fetch(SUBS, newer := crl(number=5))
    assert len(scene.crls.ders) == 3  # the root's, the last delta, and this
    assert newer in scene.crls.ders


async def test_what_nobody_signed_is_kept_and_takes_no_place() -> None:
    scene, good = Scene(), crl(hours=5, number=1)
    await scene.fetch(SUBS, good)
    forged = crl(key=STRANGER.key, number=99)
    update = await scene.fetch(SUBS, forged)
    assert update.outcome is Outcome.INVALID
    assert "kept, not used: no CA at hand signed it" in update.source.outcome
    assert scene.crls.ders == [good, forged]
    again = crl(key=STRANGER.key, number=100)
    await scene.fetch(SUBS, again)
    assert scene.crls.ders == [good, again]  # one such from one URL
    await scene.fetch(SUBS, crl(number=2))
    assert good not in scene.crls.ders


async def test_one_that_is_weakly_signed_takes_no_place() -> None:
    scene, good = Scene(), crl(ROOT, hours=5, number=1)
    await scene.fetch(SUBS, good)
    weak = weakly_signed_crl(crl(ROOT, number=2), ROOT, "sha1")
    update = await scene.fetch(SUBS, weak)
    assert update.outcome is Outcome.INVALID
    assert "kept, not used: signed with SHA1" in update.source.outcome
    assert scene.crls.ders == [good, weak]


async def test_one_of_tomorrow_takes_the_place_when_it_is_in_force() -> None:
    scene, good, tomorrow = Scene(), crl(hours=5, number=1), crl(hours=-24, number=2)
    await scene.fetch(SUBS, good)
    assert (await scene.fetch(SUBS, tomorrow)).outcome is Outcome.NEW
    assert scene.crls.ders == [good, tomorrow]
    scene.now += DAY
    assert (await scene.fetch(SUBS, tomorrow)).outcome is Outcome.UNCHANGED
    assert scene.crls.ders == [tomorrow]


async def test_its_ca_comes_later() -> None:
    scene = Scene(authorities=(SUB, BOB))
    late = ROOT.issue("Late CA", ca=True, key="p256")
    der = crl(late)
    assert (await scene.fetch(SUBS, der)).outcome is Outcome.INVALID
    scene.authorities = (SUB, BOB, late)
    scene.load()
    assert (await scene.fetch(SUBS, der)).outcome is Outcome.UNCHANGED
    assert scene.crls.ders == [der]


async def test_a_stranger_with_the_name_of_a_ca_signs_no_crl_of_it() -> None:
    """His certificate is at hand, as it came with a mail; no root is above it."""
    namesake = root("Sub of CRLs", key="p384")
    scene, good = Scene(authorities=(namesake, SUB, BOB)), crl(hours=5, number=1)
    await scene.fetch(SUBS, good)
    forged = crl(namesake, number=99)
    update = await scene.fetch(SUBS, forged)
    assert update.outcome is Outcome.INVALID
    assert "not used: no root at hand is above the CA that signed it" in update.source.outcome
    assert (await scene.fetch(SUBS, newer := crl(number=2))).outcome is Outcome.NEW
    assert scene.crls.ders == [forged, newer]


async def test_unused_crls_spend_nothing_of_what_used_ones_may() -> None:
    forged, good = crl(key=STRANGER.key), crl()
    scene = Scene(most=8 * len(forged))
    assert "kept, not used" in (await scene.fetch(OTHER, forged)).source.outcome
    scene.sut._intake._most = len(good) + 64
    assert (await scene.fetch(SUBS, good)).outcome is Outcome.NEW


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (FetchFailed("HTTP 404 Not Found"), "HTTP 404 Not Found"),
        (b"<html>moved</html>", "not a CRL"),
        (crl()[:-20], "not a CRL"),
        (b"", "not a CRL"),
        (SUB.certificate.der, "not a CRL"),
        (RuntimeError("secret"), "trouble of our own, see the log"),
    ],
)
async def test_failures_leave_what_is_there(answer: Any, said: str) -> None:
    scene, good = Scene(), crl(hours=5)
    await scene.fetch(SUBS, good)
    update = await scene.fetch(SUBS, answer)
    assert update.outcome is Outcome.FAILED
    assert said in update.source.outcome
    assert "secret" not in update.source.outcome
    assert scene.crls.ders == [good]
    assert (update.source.failures, update.source.succeeded) == (1, NOW)


async def test_what_did_not_change_is_not_sent_again() -> None:
    scene, der = Scene(), crl()
    await scene.fetch(SUBS, der)
    update = await scene.fetch(SUBS, Fetched(None, "tag", "a date"))
    assert update.outcome is Outcome.UNCHANGED
    assert [request.etag for request in scene.net.requests] == ["", "tag"]
    assert scene.net.requests[1].last_modified == "a date"
    assert (update.source.etag, update.source.succeeded) == ("tag", NOW)


async def test_what_is_gone_from_the_store_is_asked_for_whole() -> None:
    scene, der = Scene(), crl()
    await scene.fetch(SUBS, der)
    scene.crls.kept.clear()
    scene.load()
    update = await scene.fetch(SUBS, der)
    assert (scene.net.requests[1].etag, update.outcome) == ("", Outcome.NEW)


async def test_one_slow_url_delays_no_other() -> None:
    scene, slow = Scene(), asyncio.Event()

    async def hangs(_: Request) -> Any:
        await slow.wait()
        return FetchFailed("no answer in 30 s")

    scene.net.answers = {SUBS: hangs, OTHER: crl()}
    await scene.sut.follow()
    done: list[Update] = []
    task = asyncio.create_task(scene.sut.update([SUBS, OTHER], done.append))
    await until(lambda: bool(done))
    assert [update.source.url for update in done] == [OTHER]
    slow.set()
    assert len(await task) == 2


async def test_what_another_process_is_at_is_left_to_it() -> None:
    scene = Scene()
    await scene.sut.follow()
    scene.sources.leased = {SUBS}
    assert await scene.sut.update([SUBS]) == []


async def test_urls_follow_certificates_and_the_preference() -> None:
    scene = Scene()
    assert await scene.sut.follow() == {ROOTS, SUBS, OTHER}
    scene.settings = {"global": {"fetch-user-crls": Setting(value=False, source="test")}}
    scene.load()
    assert await scene.sut.follow() == {ROOTS}
    assert set(scene.sources.kept) == {ROOTS}


async def test_the_daemon_fetches_what_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crls, "LOOK_EVERY", 0.001)
    monkeypatch.setattr(crls, "CLAIM_EVERY", 0.001)
    scene, der = Scene(), crl()
    scene.net.answers = {SUBS: der}
    task = asyncio.create_task(scene.sut.run())
    await until(lambda: (len(scene.journal.notes), len(scene.journal.troubles)) == (1, 2))
    assert scene.crls.ders == [der]
    asked = len(scene.net.requests)
    await asyncio.sleep(0.05)
    assert len(scene.net.requests) == asked == 3  # nothing is due yet
    scene.now += SOONEST * 1.2
    await until(lambda: len(scene.net.requests) == 5)
    assert {request.url for request in scene.net.requests[3:]} == {ROOTS, OTHER}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert scene.journal.troubles == ["CRL not updated"] * 2  # each once, when it began
    ((event, facts),) = scene.journal.notes
    assert (event, facts["url"]) == ("CRL updated", SUBS)


async def test_a_store_that_fails_does_not_end_the_daemon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crls, "LOOK_EVERY", 0.001)
    monkeypatch.setattr(crls, "CLAIM_EVERY", 0.001)
    scene = Scene()
    scene.net.answers = {SUBS: crl()}
    claim, failed = scene.sources.claim, 0

    async def fails(*args: Any, **how: Any) -> list[CrlSource]:
        nonlocal failed
        failed += 1
        if failed < 3:
            raise OSError("gone")
        return await claim(*args, **how)

    monkeypatch.setattr(scene.sources, "claim", fails)
    task = asyncio.create_task(scene.sut.run())
    await until(lambda: bool(scene.crls.ders))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert scene.journal.troubles.count("CRLs not updated") == 1


# turns


def turn(chance: float = 0.5, **validity: datetime | None) -> timedelta:
    """How long until the next turn, with a CRL of that validity."""
    found = Crl.read(crl())
    facts = {"this_update": NOW - HOUR, "next_update": NOW + 7 * DAY} | validity
    stand_in = cast(Crl, type("Stub", (), {**facts, "number": found.number})())
    return Turns(6 * HOUR, lambda: chance).after(NOW, stand_in) - NOW


def test_turns_come_regularly_and_not_all_at_once() -> None:
    assert turn() == 6 * HOUR
    assert turn(0.0) == 5.4 * HOUR
    assert turn(0.999999) < 6.6 * HOUR
    assert turn(next_update=None) == 6 * HOUR


@pytest.mark.parametrize(
    ("issued", "ends", "wait"),
    [
        (0, 5, 4.5),  # nine tenths
        (9.5, 0.5, 0.5 + 1 / 60),  # these have passed: as it ends
        (8.95, 1.05, 1 / 12),  # in three minutes: not so soon
        (9, -1, 1 / 12),  # overdue
        (0.5, 0.001, 1 / 12),
    ],
)
def test_a_crl_that_ends_soon_is_fetched_before(
    issued: float, ends: float, wait: float
) -> None:
    found = turn(this_update=NOW - issued * HOUR, next_update=NOW + ends * HOUR)
    assert found.total_seconds() == pytest.approx(wait * 3600, abs=1)


def test_failures_are_tried_again_less_and_less_soon() -> None:
    turns = Turns(6 * HOUR, lambda: 0.0)
    waits = [turns.again(NOW, failures) - NOW for failures in (1, 2, 3, 6, 7, 99)]
    assert waits == [SOONEST, 2 * SOONEST, 4 * SOONEST, 32 * SOONEST, 64 * SOONEST, 6 * HOUR]


def test_sources_are_values() -> None:
    source = CrlSource(SUBS, NOW)
    assert replace(source) == source


async def test_one_past_its_time_is_stored_and_is_no_success() -> None:
    scene = Scene()
    old = crl(hours=48, next_update=NOW - DAY)
    update = await scene.fetch(SUBS, old)
    assert update.outcome is Outcome.EXPIRED
    assert update.outcome in FAILURES
    assert "past its next update (2026-05-31 12:00)" in update.source.outcome
    assert update.source.failures == 1
    assert scene.crls.ders == [old]
    assert (await scene.fetch(SUBS, old)).outcome is Outcome.EXPIRED
    assert (await scene.fetch(SUBS, crl())).outcome is Outcome.NEW
    assert scene.sources.kept[SUBS].failures == 0


async def test_a_failure_that_began_elsewhere_is_told_here_too() -> None:
    """What the command line has seen, or this program before it was restarted."""
    scene = Scene()
    await scene.sut.follow()
    scene.sources.kept[SUBS] = CrlSource(SUBS, NOW, failures=3)
    failed = await scene.fetch(SUBS, FetchFailed("404"))
    assert failed.source.failures == 4
    for update in (failed, failed):
        scene.sut._report(update)
    assert scene.journal.troubles == ["CRL not updated"]
    scene.sut._report(await scene.fetch(SUBS, crl()))
    scene.sut._report(failed)
    assert scene.journal.troubles == ["CRL not updated"] * 2


async def test_a_slow_url_does_not_hold_up_the_next_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crls, "LOOK_EVERY", 0.001)
    monkeypatch.setattr(crls, "CLAIM_EVERY", 0.001)
    scene, slow = Scene(), asyncio.Event()

    async def hangs(_: Request) -> Any:
        await slow.wait()

    scene.net.answers = {SUBS: hangs, OTHER: crl()}
    task = asyncio.create_task(scene.sut.run())
    await until(lambda: bool(scene.crls.ders))
    scene.now += DAY
    newer = special_crl(SUB, this_update=scene.now - HOUR, number=2)
    scene.net.answers[OTHER] = newer
    await until(lambda: scene.crls.ders == [newer])
    assert [request.url for request in scene.net.requests].count(SUBS) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_many_urls_of_one_slow_host_hold_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of one host only so many are begun, and what is not begun has no lease that runs out."""
    monkeypatch.setattr(crls, "LOOK_EVERY", 0.001)
    slow = asyncio.Event()

    async def hangs(_: Request) -> Any:
        await slow.wait()
        return FetchFailed("no answer in 30 s")

    many = tuple(f"http://slow.test/{n}" for n in range(12))
    cas = [ROOT.issue(f"CA {n}", ca=True, key="p256", crl_urls=(many[n],)) for n in range(12)]
    scene = Scene(authorities=(*cas, SUB, BOB))
    scene.net.answers = {**dict.fromkeys(many, hangs), OTHER: crl()}
    task = asyncio.create_task(scene.sut.run())

    def begun_ones() -> list[str]:
        return [request.url for request in scene.net.requests if request.url in many]

    await until(lambda: bool(scene.crls.ders) and len(begun_ones()) >= crls.AT_ONCE_OF_A_HOST)
    begun = begun_ones()
    assert len(begun) == crls.AT_ONCE_OF_A_HOST
    assert scene.sources.leased & set(many) == set(begun)
    slow.set()
    await until(lambda: {request.url for request in scene.net.requests} >= set(many))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_update_of_very_many_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crls, "AT_ONCE", 3)
    scene = Scene()
    urls = [f"http://{n % 5}.test/{n}" for n in range(40)]
    await scene.sources.follow(urls, NOW)
    scene.sources.leased = {urls[7]}
    done: list[Update] = []
    updates = await scene.sut.update(urls, done.append)
    assert {update.source.url for update in done} == set(urls) - {urls[7]}
    assert updates == done


async def test_a_large_crl_of_nobody_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crl_intake, "LARGEST_UNUSED", 1000)
    scene = Scene()
    large = special_crl(STRANGER, range(1, 100), name="Sub of CRLs")
    update = await scene.fetch(SUBS, large)
    assert update.outcome is Outcome.INVALID
    assert "not kept: no CA at hand signed it" in update.source.outcome
    assert scene.crls.ders == []


async def test_crls_of_nobody_take_a_share_and_no_more() -> None:
    small = special_crl(STRANGER, [1])
    scene = Scene(most=8 * len(small) + 64)
    assert "kept, not used" in (await scene.fetch(SUBS, small)).source.outcome
    other = special_crl(STRANGER, [2])
    assert "not kept" in (await scene.fetch(OTHER, other)).source.outcome
    assert scene.crls.ders == [small]
    assert "kept, not used" in (await scene.fetch(SUBS, other)).source.outcome  # in its place
    assert scene.crls.ders == [other]
    assert (await scene.fetch(SUBS, crl())).outcome is Outcome.NEW


async def test_all_crls_together_have_a_limit() -> None:
    first = crl(number=1, hours=3)
    scene = Scene(most=len(first) + 64)
    assert (await scene.fetch(SUBS, first)).outcome is Outcome.NEW
    update = await scene.fetch(OTHER, special_crl(ROOT))
    assert update.outcome is Outcome.FAILED
    assert "are kept of all CRLs together" in update.source.outcome
    second = crl(number=2)
    assert (await scene.fetch(SUBS, second)).outcome is Outcome.NEW  # takes a place
    assert scene.crls.ders == [second]


async def test_a_key_takes_a_share_and_keeps_no_successor_of_another_out() -> None:
    """Each of another scope: none takes the place of another."""
    greedy = ROOT.issue("Greedy", ca=True, key="p256")
    first = crl(number=1, hours=3)
    scene = Scene(authorities=(SUB, BOB, greedy), most=12 * len(first))
    assert (await scene.fetch(SUBS, first)).outcome is Outcome.NEW
    came = b"".join(
        pem(crl(greedy, scope={"url": f"http://greedy.test/{one}"})) for one in range(20)
    )
    update = await scene.fetch(OTHER, came)
    assert "a key has a share" in update.source.outcome or update.outcome is Outcome.NEW
    assert sum(map(len, scene.crls.ders)) < 4 * len(first)
    assert (await scene.fetch(SUBS, crl(number=2))).outcome is Outcome.NEW


async def test_all_below_one_ca_take_half_and_keep_no_other_out() -> None:
    """However many CAs it makes, each with a key and a CRL."""
    hostile = ROOT.issue("Hostile", ca=True, key="p256")
    below = [hostile.issue(f"Below {n}", ca=True, key="p256") for n in range(12)]
    first = crl(number=1, hours=3)
    scene = Scene(authorities=(SUB, BOB, hostile, *below), most=10 * len(first))
    assert (await scene.fetch(SUBS, first)).outcome is Outcome.NEW
    update = await scene.fetch(OTHER, b"".join(pem(crl(one, hours=3)) for one in below))
    assert update.outcome is Outcome.NEW
    assert len(scene.crls.ders) in {5, 6}
    larger = b"".join(pem(crl(one, number=2, revoked=range(1, 40))) for one in below)
    await scene.fetch(OTHER, larger)  # in the place of what there is
    assert (await scene.fetch(SUBS, crl(number=2))).outcome is Outcome.NEW
    assert sum(map(len, scene.crls.ders)) < 12 * len(first)
    assert (await scene.fetch(ROOTS, crl(ROOT))).outcome is Outcome.NEW


async def test_many_slow_hosts_below_one_ca_hold_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crls, "LOOK_EVERY", 0.001)

    async def hangs(_: Request) -> Any:
        await asyncio.sleep(60)

    hostile = ROOT.issue("Hostile", ca=True, key="p256")
    many = tuple(f"http://slow{n}.test/" for n in range(64))
    below = [
        hostile.issue(f"Below {n}", ca=True, key="p256", crl_urls=(*many[n::4], SUBS))
        for n in range(4)
    ]
    scene = Scene(authorities=(hostile, *below, SUB, BOB))
    scene.net.answers = {**dict.fromkeys(many, hangs), SUBS: crl()}
    task = asyncio.create_task(scene.sut.run())
    await until(lambda: bool(scene.crls.ders))
    begun = [request.url for request in scene.net.requests if request.url in many]
    assert len(begun) <= crls.AT_ONCE_OF_A_BRANCH
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("doubt", ["revoked", "expired"])
async def test_a_signer_in_doubt_takes_no_place(doubt: str) -> None:
    days = {"not_after": NOW - DAY} if doubt == "expired" else {}
    again = ROOT.issue("Sub of CRLs", ca=True, key="p256", **days)
    scene = Scene(authorities=(BOB, again))
    listing = crl(again, hours=9, revoked=[BOB], number=1)
    await scene.fetch(SUBS, listing)
    if doubt == "revoked":
        await scene.fetch(OTHER, special_crl(ROOT, [again]))
    scene.load()
    update = await scene.fetch(SUBS, crl(again, number=2))
    assert update.outcome is Outcome.INVALID
    assert "its signer is revoked, black-listed or expired" in update.source.outcome
    assert listing in scene.crls.ders


async def test_so_many_crls_at_one_place_are_not_read() -> None:
    scene = Scene()
    update = await scene.fetch(SUBS, b"".join(pem(crl(number=n)) for n in range(33)))
    assert "more than 32 CRLs" in update.source.outcome


async def test_of_several_crls_of_nobody_from_one_place_one_is_kept() -> None:
    scene = Scene()
    await scene.fetch(SUBS, b"".join(pem(special_crl(STRANGER, [one])) for one in (1, 2, 3)))
    assert len(scene.crls.ders) == 1


async def test_of_those_of_the_future_one_is_kept() -> None:
    scene = Scene()
    for number in (1, 2, 3):
        late = NOW + 900 * DAY
        far = special_crl(SUB, this_update=late, next_update=late + DAY, number=number)
        await scene.fetch(SUBS, far)
    assert len(scene.crls.ders) == 1


async def test_one_of_the_far_future_keeps_no_true_one_out() -> None:
    scene = Scene()
    far = special_crl(SUB, this_update=NOW + 900 * DAY, next_update=NOW + 999 * DAY, number=99)
    await scene.fetch(SUBS, far)
    assert (await scene.fetch(SUBS, crl(number=1))).outcome is Outcome.NEW


def test_a_crl_without_end_has_its_turn() -> None:
    for_ever = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert turn(this_update=NOW, next_update=for_ever) == 6 * HOUR
