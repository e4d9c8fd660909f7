"""What verdicts miss is fetched: once for all who wait, and not again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from smimefilter.base.envelope import Client, Delivered, Recipient, Refused, Transaction
from smimefilter.flow import lookups
from smimefilter.flow.carry import Carrier
from smimefilter.flow.filter import Filter
from smimefilter.flow.lookups import LATEST, SOONEST, Lookups, _single
from smimefilter.flow.origin import Origins
from smimefilter.flow.snapshots import State
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.crl import Crl
from smimefilter.pki.export import certificates_pem, certificates_pkcs7
from smimefilter.pki.ocsp import OcspAnswer
from smimefilter.plan.snapshot import CertificateIndex, Snapshot
from smimefilter.policy.preferences import preference
from smimefilter.policy.tree import Setting, Tree
from smimefilter.ports.net import FetchFailed, Request
from smimefilter.ports.stores import Shelf, StoreTrouble
from smimefilter.trust.branches import CROWD
from smimefilter.trust.cache import Trust
from smimefilter.trust.ctl import Listing, TrustList, TrustListEntry
from smimefilter.trust.knowledge import Knowledge
from smimefilter.trust.ocsp import ocsp_key
from smimefilter.trust.verdict import IssuerNeed, Need, OcspNeed
from tests.support.ocsp import HOUR, SIGNING, ocsp_answer, refusal
from tests.support.pki import NOW, Issued, key_of, root
from tests.support.plans import mail_to
from tests.support.ring import Ring
from tests.unit.flow.test_crls import NetStub
from tests.unit.flow.test_filter import JournalStub, RelayStub

URL, MIRROR = "http://ocsp.test/", "http://mirror.test/"
ROOT = root("Root of look-ups", key="p256")
SUB = ROOT.issue("Sub of look-ups", ca=True, key="p256", issuer_urls=("http://aia.test/root",))
LOW = SUB.issue("Low of look-ups", ca=True, key="p256", issuer_urls=("http://aia.test/sub",))
BOB = SUB.issue("Bob", mail="bob@out.test", key="p256", ocsp_urls=(URL, MIRROR))
ERIN = LOW.issue("Erin", mail="erin@out.test", key="p256", issuer_urls=("http://aia.test/low",))
KEY = ocsp_key(BOB.certificate, SUB.certificate)
NEED = OcspNeed(KEY, BOB.certificate, SUB.certificate, (URL, MIRROR))


class AnswerShelf:
    """`ports.OcspAnswers` in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[bytes, datetime]] = {}

    async def put(
        self,
        key: str,
        der: bytes,
        until: datetime,
        now: datetime,
        instead_of: bytes | None = None,
    ) -> bool:
        if await self.get(key, now) != instead_of:
            return False
        self.kept[key] = der, until
        return True

    async def get(self, key: str, now: datetime) -> bytes | None:
        found = self.kept.get(key)
        return found[0] if found and found[1] > now else None


class CertificateShelf:
    """What `ports.Certificates` is here."""

    def __init__(self, known: list[Certificate]) -> None:
        self.known = known
        self.origins: list[str] = []

    async def add(self, found: list[Certificate], shelf: Shelf, origin: str) -> list[bool]:
        assert shelf is Shelf.CERTIFICATES
        self.known += found
        self.origins.append(origin)
        return [True] * len(found)


class SnapshotsStub:
    """A state made of what the shelves hold."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.answers: dict[str, OcspAnswer] = {}
        self.crls: list[Crl] = []
        self.black: list[TrustListEntry] = []
        self.current: State

    async def look(self) -> None:
        scene = self._scene
        knowledge = Knowledge(
            roots=[ROOT.certificate],
            authorities=scene.known,
            answers=self.answers,
            crls=self.crls,
            trust_list=TrustList(self.black),
        )
        people = [BOB.certificate, ERIN.certificate]
        index = CertificateIndex((one, one.thumbprint, one.addresses) for one in people)
        snapshot = Snapshot(1, Tree(scene.settings), index, Trust(knowledge))
        self.current = State(snapshot, Carrier(Ring(cast(Any, scene))))

    def learn(self, key: str, answer: OcspAnswer) -> None:
        self.answers = {**self.answers, key: answer}
        self.current = self.current.with_answers(self.answers)


class Scene:
    people: dict[str, Issued] = {}  # noqa: RUF012 - nobody signs here

    def __init__(self, *authorities: Issued, **preferences: Any) -> None:
        self.known = [one.certificate for one in authorities]
        self.settings = {
            "global": {
                name: Setting(preference(name).parse_setting(value), "test")
                for name, value in {
                    "encrypt": "mandatory",
                    **{key.replace("_", "-"): value for key, value in preferences.items()},
                }.items()
            }
        }
        self.net, self.answers = NetStub(), AnswerShelf()
        self.certificates = CertificateShelf(self.known)
        self.journal = JournalStub()
        self.snapshots = SnapshotsStub(self)
        self.now = NOW
        self.sut = Lookups(
            net=self.net,
            snapshots=cast(Any, self.snapshots),
            answers=cast(Any, self.answers),
            certificates=cast(Any, self.certificates),
            journal=self.journal,
            clock=lambda: self.now,
        )

    async def meet(self, *needs: Need, within: float = 5) -> bool:
        await self.snapshots.look()
        return await self.sut.meet(needs, within)

    async def reply_to(self, address: str, *, wait: float = 5) -> Any:
        """The fate of a mail to somebody."""
        await self.snapshots.look()
        sut = Filter(
            snapshots=cast(Any, self.snapshots),
            relay=RelayStub(),
            journal=self.journal,
            clock=lambda: self.now,
            hostname="gw.test",
            threads_from=1 << 20,
            origins=Origins([]),
            lookups=self.sut,
            lookup_wait=wait,
        )
        content = mail_to("alice@in.test", [address])
        recipients = (Recipient(address),)
        client = Client("192.0.2.7")
        (fate,) = await sut.accept(
            Transaction("id", "alice@in.test", recipients, content, client=client)
        )
        return fate


def answering(status: str = "good", **special: Any) -> Callable[[Request], Any]:
    """A responder that repeats the nonce."""

    async def answer(request: Request) -> bytes:
        from cryptography import x509
        from cryptography.x509 import ocsp

        assert request.body is not None
        asked = ocsp.load_der_ocsp_request(request.body)
        nonce = asked.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
        return ocsp_answer(BOB, SUB, status, **({"nonce": nonce} | special))

    return answer


# OCSP


async def test_an_answer_is_fetched_learned_and_stored() -> None:
    scene = Scene(SUB)
    scene.net.answers[URL] = answering()
    assert await scene.meet(NEED)
    (request,) = scene.net.requests
    assert (request.content_type, request.most) == ("application/ocsp-request", 1 << 16)
    assert scene.snapshots.answers[KEY].singles[0].status == "good"
    der, until = scene.answers.kept[KEY]
    assert (OcspAnswer.read(der).der, until) == (der, NOW + HOUR)


async def test_another_responder_does_where_the_first_fails() -> None:
    scene = Scene(SUB)
    scene.net.answers = {URL: refusal(), MIRROR: answering()}
    assert await scene.meet(NEED)
    assert [request.url for request in scene.net.requests] == [URL, MIRROR]
    ((what, error),) = scene.journal.troubles
    assert what == "OCSP answer not fetched"
    assert "the responder says: try later" in str(error)


@pytest.mark.parametrize(
    "answer",
    [
        FetchFailed("no answer in 30 s"),
        b"<html>",
        answering(nonce=b"x" * 32),  # somebody else's, replayed
        ocsp_answer(SUB, ROOT),
        RuntimeError("a defect"),
    ],
)
async def test_what_is_no_answer_is_not_learned(answer: Any) -> None:
    scene = Scene(SUB)
    scene.net.answers = {URL: answer, MIRROR: answer}
    assert not await scene.meet(NEED)
    assert (scene.snapshots.answers, scene.answers.kept) == ({}, {})
    assert scene.journal.troubles


async def test_an_older_answer_never_replaces_a_newer_one() -> None:
    scene = Scene(SUB)
    newer = ocsp_answer(BOB, SUB, "revoked", this_update=NOW - HOUR, next_update=NOW - HOUR / 2)
    older = ocsp_answer(BOB, SUB, this_update=NOW - 2 * HOUR, next_update=NOW + HOUR)
    scene.snapshots.answers = {KEY: OcspAnswer.read(newer)}
    scene.net.answers[URL] = older
    await scene.answers.put(KEY, older, NOW + HOUR, NOW)
    assert not await scene.meet(NEED)
    assert scene.snapshots.answers[KEY].der == newer
    assert "older than the one at hand" in str(scene.journal.troubles[0][1])


async def test_what_revokes_is_kept_as_long_as_the_certificate_lasts() -> None:
    scene = Scene(SUB)
    scene.net.answers[URL] = answering("revoked")
    assert await scene.meet(NEED)
    assert scene.answers.kept[KEY][1] == BOB.certificate.not_after


async def test_an_answer_without_a_nonce_is_taken() -> None:
    scene = Scene(SUB)
    scene.net.answers[URL] = ocsp_answer(BOB, SUB)
    assert await scene.meet(NEED)


async def test_who_needs_the_same_waits_for_the_same() -> None:
    scene, gate = Scene(SUB), asyncio.Event()

    async def slow(request: Request) -> Any:
        await gate.wait()
        return await answering()(request)

    scene.net.answers[URL] = slow
    await scene.snapshots.look()
    waiting = [asyncio.create_task(scene.sut.meet([NEED], 5)) for _ in range(5)]
    await asyncio.sleep(0.01)
    gate.set()
    assert await asyncio.gather(*waiting) == [True] * 5
    assert len(scene.net.requests) == 1


async def test_nobody_waits_longer_than_said_and_the_fetching_goes_on() -> None:
    scene, gate = Scene(SUB), asyncio.Event()

    async def slow(request: Request) -> Any:
        await gate.wait()
        return await answering()(request)

    scene.net.answers[URL] = slow
    assert not await scene.meet(NEED, within=0.01)
    gate.set()
    await asyncio.sleep(0.05)
    assert KEY in scene.snapshots.answers


async def test_what_fails_is_left_alone_for_longer_and_longer() -> None:
    scene, waits = Scene(SUB), []
    for _ in range(9):
        before = len(scene.net.requests)
        start = scene.now
        while len(scene.net.requests) == before:
            await scene.meet(NEED)
            scene.now += SOONEST / 2
        waits.append((scene.now - start) // SOONEST)
    assert waits[0] == 0
    assert waits[1:5] == [1, 2, 4, 8]
    assert max(waits) <= LATEST / SOONEST + 1


async def test_an_answer_of_another_node_is_taken_from_the_store() -> None:
    scene = Scene(SUB)
    await scene.answers.put(KEY, ocsp_answer(BOB, SUB), NOW + HOUR, NOW)
    assert await scene.meet(NEED)
    assert scene.net.requests == []
    assert KEY in scene.snapshots.answers


async def test_without_the_database_answers_are_fetched_and_not_stored() -> None:
    """Which is said once, until one could be stored again."""
    scene = Scene(SUB)
    scene.net.answers[URL] = answering()

    class Away:
        async def get(self, *_: Any) -> Any:
            raise StoreTrouble("gone")

        put = get

    shelf, scene.sut._answers = scene.sut._answers, cast(Any, Away())
    for _ in range(2):
        assert await scene.meet(NEED)
        scene.now += SOONEST + timedelta(seconds=1)
    assert KEY in scene.snapshots.answers
    assert [what for what, _ in scene.journal.troubles] == ["OCSP answers not stored"]
    scene.sut._answers = shelf
    assert await scene.meet(NEED)
    assert KEY in scene.answers.kept
    assert not scene.sut._is_store_away


@pytest.mark.parametrize(
    ("others", "stays"),
    [
        (ocsp_answer(BOB, SUB, "revoked", this_update=NOW - 2 * HOUR), True),
        (ocsp_answer(BOB, SUB, this_update=NOW - HOUR / 2), True),
        (ocsp_answer(BOB, SUB, this_update=NOW - 2 * HOUR), False),
        (ocsp_answer(BOB, SUB, "revoked", by=SUB, this_update=NOW + 9 * HOUR), False),
    ],
    ids=["revoked", "newer", "older", "of the future"],
)
async def test_what_another_node_stored_meanwhile_is_respected(
    others: bytes, stays: bool
) -> None:
    """It was told while this one was asking, and is not known here yet."""
    scene = Scene(SUB)

    async def meanwhile(request: Request) -> Any:
        await scene.answers.put(KEY, others, NOW + 20 * HOUR, NOW)
        status = "unknown" if stays else "good"  # which takes back nothing
        return await answering(status, this_update=NOW - HOUR)(request)

    scene.net.answers[URL] = meanwhile
    assert await scene.meet(NEED)
    assert (scene.answers.kept[KEY][0] == others) is stays
    assert (scene.snapshots.answers[KEY].der == others) is stays


async def test_a_mail_waits_for_the_answer_and_is_decided_by_it() -> None:
    for status, kind in (("good", Delivered), ("revoked", Refused)):
        scene = Scene(SUB, ocsp=True, require_crl=True)
        scene.known.append(SUB.certificate)
        scene.net.answers[URL] = answering(status)
        # the CA itself names no responder: its CRL is there
        scene.settings["global"]["require-crl"] = Setting(value=False, source="test")
        fate = await scene.reply_to("bob@out.test")
        assert isinstance(fate, kind), fate
        if isinstance(fate, Refused):
            assert "found: revoked" in fate.text


async def test_a_responder_that_hangs_holds_a_mail_only_so_long() -> None:
    scene = Scene(SUB, ocsp=True)

    async def hangs(_: Request) -> Any:
        await asyncio.sleep(60)

    scene.net.answers[URL] = hangs
    assert isinstance(await scene.reply_to("bob@out.test", wait=0.05), Delivered)
    await scene.sut.close()


# issuers


def served(scene: Scene) -> None:
    scene.net.answers |= {
        "http://aia.test/low": LOW.certificate.der,
        "http://aia.test/sub": certificates_pkcs7([STRANGER.certificate, SUB.certificate]),
        "http://aia.test/root": certificates_pem([ROOT.certificate]),
    }


STRANGER = root("Stranger of look-ups", key="p256")


async def test_issuers_are_fetched_up_to_a_known_root() -> None:
    scene = Scene(fetch_issuers=True)
    served(scene)
    assert isinstance(await scene.reply_to("erin@out.test"), Delivered)
    assert scene.known == [LOW.certificate, SUB.certificate]  # and not the stranger's
    assert scene.certificates.origins == ["AIA http://aia.test/low", "AIA http://aia.test/sub"]


async def test_nothing_is_fetched_unless_policy_says_so() -> None:
    scene = Scene()
    served(scene)
    assert isinstance(await scene.reply_to("erin@out.test"), Refused)
    assert scene.net.requests == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        STRANGER.certificate.der,
        BOB.certificate.der,
        root("Low of look-ups", key="p384").certificate.der,  # the name, not the key
    ],
)
async def test_what_did_not_issue_it_is_not_stored(content: bytes) -> None:
    scene = Scene()
    scene.net.answers["http://aia.test/low"] = content
    assert not await scene.meet(IssuerNeed(ERIN.certificate, ("http://aia.test/low",)))
    assert scene.known == []
    assert scene.journal.troubles[0][0] == "issuer not fetched"


async def test_what_leads_to_no_root_is_not_stored() -> None:
    scene = Scene(fetch_issuers=True)
    served(scene)
    frank = STRANGER.issue(
        "Frank", mail="erin@out.test", key="p256", issuer_urls=("http://aia.test/s",)
    )
    scene.net.answers["http://aia.test/s"] = STRANGER.certificate.der
    assert not await scene.meet(IssuerNeed(frank.certificate, ("http://aia.test/s",)))
    assert scene.known == []
    ((what, trouble),) = [one[:2] for one in scene.journal.troubles]
    assert what == "issuer not fetched"
    assert "no root at hand is above what is there" in str(trouble)


async def test_a_crowd_of_one_name_gets_no_larger() -> None:
    """Whoever has many certificates of a CA's name issued makes that CA's no harder to find."""
    crowd = [
        SUB.issue("Low of look-ups", ca=True, key=key_of("p256", f"low {n}"))
        for n in range(CROWD)
    ]
    scene = Scene(SUB, *crowd, fetch_issuers=True)
    served(scene)
    assert not await scene.meet(IssuerNeed(ERIN.certificate, ("http://aia.test/low",)))
    assert scene.known == [one.certificate for one in (SUB, *crowd)]
    assert "so many of its name" in str(scene.journal.troubles[0][1])


async def test_self_made_namesakes_do_not_keep_the_true_issuer_from_being_fetched() -> None:
    namesakes = [
        root("Low of look-ups", key=key_of("p256", f"self-made {n}")) for n in range(2 * CROWD)
    ]
    scene = Scene(SUB, *namesakes, fetch_issuers=True)
    served(scene)
    assert isinstance(await scene.reply_to("erin@out.test"), Delivered)
    assert scene.known[-1] == LOW.certificate


@pytest.mark.parametrize("doubt", ["black-listed", "revoked"])
async def test_no_older_good_replaces_what_a_delegate_in_doubt_revoked(doubt: str) -> None:
    delegate = SUB.issue(
        "Delegate of look-ups", key="p256", extended_key_usage=SIGNING,
        key_usage=frozenset({"digitalSignature"}),
    )  # fmt: skip
    scene = Scene(SUB, delegate, ocsp=True)
    scene.net.answers[URL] = answering("revoked", by=delegate)
    assert await scene.meet(NEED)
    if doubt == "revoked":
        scene.snapshots.crls = [Crl.read(SUB.crl([delegate]))]
    else:
        scene.snapshots.black = [TrustListEntry(delegate.thumbprint, Listing.BLACK)]
    await scene.snapshots.look()
    scene.now += 3 * SOONEST
    scene.net.answers[URL] = answering(this_update=NOW - 2 * HOUR)
    assert not await scene.meet(NEED)
    assert _single(scene.snapshots.answers[NEED.key], NEED).status == "revoked"


def test_times_make_sense() -> None:
    assert timedelta(0) < SOONEST < LATEST


# who is slow


async def hangs(_: Request) -> Any:
    await asyncio.sleep(60)


def other_needs(count: int, urls: Callable[[int], str], top: Issued) -> list[OcspNeed]:
    """As if so many certificates below one CA named these URLs."""
    of = (BOB.certificate, SUB.certificate)
    above = (top.certificate, ROOT.certificate)
    return [OcspNeed(f"other {n}", *of, (urls(n),), above) for n in range(count)]


HOSTILE = ROOT.issue("Hostile of look-ups", ca=True, key="p256")


@pytest.mark.parametrize("hosts", [1, 1000])
async def test_slow_hosts_hold_up_only_what_names_them(hosts: int) -> None:
    """One host, or as many as a CA below a root can name."""
    scene = Scene(SUB)
    slow = other_needs(500, lambda n: f"http://slow{n % hosts}.test/", HOSTILE)
    scene.net.answers = {need.urls[0]: hangs for need in slow} | {URL: answering()}
    assert not await scene.meet(*slow, within=0.01)
    assert len(scene.sut._under_way) <= lookups.QUEUED * lookups.AT_ONCE_OF_A_BRANCH
    async with asyncio.timeout(5):
        assert await scene.meet(NEED)
    await scene.sut.close()


async def test_slow_issuers_hold_up_no_answers() -> None:
    scene = Scene(SUB)
    strangers = [
        IssuerNeed(STRANGER.issue(f"S{n}", key="p256").certificate, (f"http://s{n}.test/",))
        for n in range(20)
    ]
    scene.net.answers = {need.urls[0]: hangs for need in strangers} | {URL: answering()}
    assert not await scene.meet(*strangers, within=0.01)
    assert len(scene.net.requests) == lookups.AT_ONCE
    async with asyncio.timeout(5):
        assert await scene.meet(NEED)
    await scene.sut.close()


async def test_what_is_under_way_and_what_was_tried_is_bounded() -> None:
    scene = Scene(SUB)
    of = (BOB.certificate, SUB.certificate)
    many = [OcspNeed(f"{n}", *of, (f"http://slow{n}.test/",), ()) for n in range(1000)]
    scene.net.answers = {need.urls[0]: hangs for need in many}
    assert not await scene.meet(*many, within=0.01)
    assert len(scene.sut._under_way) <= lookups.QUEUED * lookups.AT_ONCE
    await scene.sut.close()
    assert not scene.sut._under_way
    assert not await scene.meet(IssuerNeed(ERIN.certificate, ("http://aia.test/none",)))
    assert ERIN.certificate.sha256 in scene.sut._tried  # and not its octets


async def test_of_what_was_tried_the_oldest_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lookups, "_REMEMBERED", 3)
    scene = Scene(SUB)
    for need in other_needs(5, lambda n: f"http://{n}.test/", SUB):
        await scene.meet(need)
    assert list(scene.sut._tried) == ["other 2", "other 3", "other 4"]


async def test_a_slow_url_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "URL_PATIENCE", 0.05)
    scene = Scene(SUB)
    scene.net.answers = {URL: hangs, MIRROR: answering()}
    assert await scene.meet(NEED)
    assert "nothing within" in str(scene.journal.troubles[0][1])


# answers that anybody could have sent


STRANGER = root("Strangers").issue("Strangers' responder", ca=True)


async def test_a_forged_answer_never_replaces_what_was_revoked() -> None:
    """Somebody on the way waits until *revoked* is past its time, and answers *good*."""
    scene = Scene(SUB)
    revoked = ocsp_answer(
        BOB, SUB, "revoked", this_update=NOW - 2 * HOUR, next_update=NOW - HOUR
    )
    scene.snapshots.answers = {KEY: OcspAnswer.read(revoked)}
    await scene.answers.put(KEY, revoked, NOW + HOUR, NOW)
    scene.net.answers = dict.fromkeys((URL, MIRROR), ocsp_answer(BOB, SUB, by=STRANGER))
    assert not await scene.meet(NEED)
    assert scene.snapshots.answers[KEY].der == revoked
    assert scene.answers.kept[KEY][0] == revoked
    assert "whoever signed its answer" in str(scene.journal.troubles[0][1])


@pytest.mark.parametrize("status", ["unknown", "good"])
async def test_revoked_gives_way_to_a_newer_good_alone(status: str) -> None:
    scene = Scene(SUB)
    revoked = ocsp_answer(BOB, SUB, "revoked", this_update=NOW - HOUR)
    scene.snapshots.answers = {KEY: OcspAnswer.read(revoked)}
    same = NOW - HOUR if status == "good" else NOW
    scene.net.answers = dict.fromkeys((URL, MIRROR), answering(status, this_update=same))
    assert not await scene.meet(NEED)
    assert scene.snapshots.answers[KEY].der == revoked
    assert "and stays" in str(scene.journal.troubles[0][1])
    scene.now = NOW + HOUR
    scene.net.answers = dict.fromkeys((URL, MIRROR), answering("good", this_update=NOW))
    assert await scene.meet(NEED)


async def test_one_that_hangs_does_not_keep_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "PATIENCE", 0.05)

    async def hangs(request: Request) -> Any:
        await asyncio.sleep(60)

    scene = Scene(SUB)
    scene.net.answers = {URL: hangs, MIRROR: hangs}
    assert not await scene.meet(NEED, within=5)
    assert scene.journal.troubles[0][0] == "look-up given up"


async def test_another_responder_does_where_the_first_is_forged() -> None:
    scene = Scene(SUB)
    scene.net.answers = {URL: ocsp_answer(BOB, SUB, by=STRANGER), MIRROR: answering()}
    assert await scene.meet(NEED)
    assert scene.snapshots.answers[KEY].singles[0].status == "good"


@pytest.mark.parametrize("signer", [SUB, STRANGER], ids=["issuer", "stranger"])
async def test_an_answer_of_the_future_is_not_taken_and_blocks_nothing(signer: Issued) -> None:
    """Neither a new one, nor one that was stored before this was looked at."""
    scene = Scene(SUB)
    years = 24 * 365 * HOUR
    future = ocsp_answer(
        BOB, SUB, by=signer, this_update=NOW + 10 * years, next_update=NOW + 11 * years
    )
    scene.net.answers = dict.fromkeys((URL, MIRROR), future)
    assert not await scene.meet(NEED)
    assert scene.snapshots.answers == {}
    scene = Scene(SUB)
    scene.snapshots.answers = {KEY: OcspAnswer.read(future)}
    await scene.answers.put(KEY, future, NOW + HOUR, NOW)
    scene.net.answers = dict.fromkeys((URL, MIRROR), answering("revoked"))
    assert await scene.meet(NEED)
    assert scene.snapshots.answers[KEY].singles[0].status == "revoked"
    assert scene.answers.kept[KEY][0] != future
