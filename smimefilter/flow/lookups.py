"""Getting what verdicts miss: answers of OCSP, and certificates of issuers.

Trust says what it needs (`Verdict.needs`); here it is fetched, and goes into the state that
mails are decided from. Of many mails that need the same, one fetches and the others wait. What
could not be had is not asked for again at once, so that a responder that is down delays one
mail and not every one. Who asked goes on after a while with what is known then; the fetching
goes on by itself. Answers and issuers have places of their own, of which one host, or the CAs
below one, have no more than a part (`lookup_places.py`); what finds no room is not fetched.

Nothing fetched is trusted for having been fetched: an answer counts as far as `trust/ocsp.py`
believes it, an issuer as far as a root is above it. Raises nothing but cancellation.
RFC 6960 Appendix A (HTTP), RFC 5280 §4.2.2.1 (caIssuers).
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from smimefilter.base.errors import AdminError
from smimefilter.pki.certificate import Certificate, UnreadableCertificate
from smimefilter.pki.keyfile import UnreadableKeyFile, read
from smimefilter.pki.ocsp import OcspAnswer, Single, UnreadableOcsp, question
from smimefilter.ports.journal import Journal
from smimefilter.ports.net import FetchFailed, Net, Request
from smimefilter.ports.stores import Certificates, OcspAnswers, Shelf, StoreTrouble
from smimefilter.trust.branches import is_crowded
from smimefilter.trust.knowledge import Knowledge
from smimefilter.trust.link import Link
from smimefilter.trust.ocsp import LONGEST, SKEW, issuer_urls
from smimefilter.trust.outline import public_key_of
from smimefilter.trust.revocation import worth
from smimefilter.trust.search import search
from smimefilter.trust.verdict import IssuerNeed, Need, OcspNeed

from .lookup_places import Places, Room, Shares
from .snapshots import Snapshots

MOST: Final = 1 << 16  # octets of an answer, or of certificates
AT_ONCE: Final = 8  # requests, of answers and of issuers each
AT_ONCE_OF_A_HOST: Final = 2
AT_ONCE_OF_A_BRANCH: Final = 4  # all that is below one CA below a root
QUEUED: Final = 32  # needs under way for each request that may be
PATIENCE: Final = 60.0  # seconds for one need, waiting and all its URLs together
URL_PATIENCE: Final = 15.0  # seconds for one of its URLs
SOONEST: Final = timedelta(minutes=1)  # between two tries
LATEST: Final = timedelta(hours=1)
HIGHEST: Final = 8  # certificates fetched above one
OF_ONE: Final = 4  # issuers taken from one place
_NONCE: Final = 32  # octets, RFC 9654 §2.1
_CONTESTED: Final = 5  # times that another node may have been quicker
_REMEMBERED: Final = 10_000  # needs that were tried


class Lookups:
    """Meets needs."""

    def __init__(
        self,
        *,
        net: Net,
        snapshots: Snapshots,
        answers: OcspAnswers,
        certificates: Certificates,
        journal: Journal,
        clock: Callable[[], datetime],
    ) -> None:
        self._net = net
        self._snapshots = snapshots
        self._answers = answers
        self._certificates = certificates
        self._journal = journal
        self._clock = clock
        self._places = {kind: Places(AT_ONCE) for kind in (OcspNeed, IssuerNeed)}
        self._room = {kind: Room(AT_ONCE * QUEUED) for kind in (OcspNeed, IssuerNeed)}
        self._is_store_away = False
        self._under_way: dict[str, asyncio.Task[bool]] = {}
        self._tried: dict[str, tuple[datetime, int]] = {}  # not again before; times in a row

    async def meet(self, needs: Iterable[Need], within: float) -> bool:
        """Fetch what can be had in so many seconds; whether anything is there now that was not
        before."""
        tasks = {task for need in needs if (task := self._task(need))}
        if not tasks:
            return False
        done, _ = await asyncio.wait(tasks, timeout=within)
        return any(task.result() for task in done)

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _task(self, need: Need) -> asyncio.Task[bool] | None:
        """What fetches this, if it is not too soon for that and there is room."""
        key = _key(need)
        if key in self._under_way:
            return self._under_way[key]
        before, _ = self._tried.get(key, (None, 0))
        if before is not None and self._clock() < before:
            return None
        room, shares = self._room[type(need)], _shares(need, need.urls[0], QUEUED)
        if not room.has(shares):
            return None
        room.enter(shares)
        task = self._under_way[key] = asyncio.create_task(self._fetch(key, need))

        def end(_: asyncio.Task[bool]) -> None:
            room.leave(shares)
            del self._under_way[key]

        task.add_done_callback(end)
        return task

    async def _fetch(self, key: str, need: Need) -> bool:
        """Whether it could be had; an answer that is not believed is not asked for again and
        again either."""
        _, times = self._tried.pop(key, (None, 0))
        found = False
        try:
            async with asyncio.timeout(PATIENCE):
                found = await self._found(need)
        except TimeoutError:
            where = AdminError(f"nothing within {PATIENCE:.0f} seconds", where=need.urls[0])
            self._journal.trouble("look-up given up", where)
        except StoreTrouble as trouble:
            self._journal.trouble("issuer not stored", trouble)
        except Exception as error:  # noqa: BLE001 - the mail goes on with what is known
            self._journal.trouble("look-up failed: defect", error)
        wait = min(SOONEST * 2.0 ** min(times, 20), LATEST)
        if len(self._tried) >= _REMEMBERED:
            del self._tried[next(iter(self._tried))]  # the one tried longest ago
        self._tried[key] = (self._clock() + wait, 0 if found else times + 1)
        return found

    async def _found(self, need: Need) -> bool:
        match need:
            case OcspNeed():
                return await self._fetch_answer(need)
            case IssuerNeed():
                return await self._fetch_issuer(need)

    async def _fetched(self, need: Need, request: Request) -> bytes:
        """What is at a URL. Raises `FetchFailed`."""
        shares = _shares(need, request.url, 1)
        async with self._places[type(need)].of(shares):
            try:
                async with asyncio.timeout(URL_PATIENCE):
                    fetched = await self._net.fetch(request)
            except TimeoutError:
                raise FetchFailed(f"nothing within {URL_PATIENCE:.0f} seconds") from None
        return fetched.content or b""

    # OCSP

    async def _fetch_answer(self, need: OcspNeed) -> bool:
        if answer := await self._stored_if_it_can_be_read(need):
            self._snapshots.learn(need.key, answer)
            return True
        for url in need.urls:
            try:
                answer, until = await self._ask(url, need)
            except (FetchFailed, UnreadableOcsp, UnreadableCertificate) as trouble:
                self._failed("OCSP answer not fetched", url, trouble, need.certificate)
                continue
            self._snapshots.learn(need.key, answer)
            await self._keep_if_it_can_be(need, answer, until)
            return True
        return False

    async def _stored_if_it_can_be_read(self, need: OcspNeed) -> OcspAnswer | None:
        """Without the database the responder is asked."""
        try:
            return await self._stored(need)
        except StoreTrouble as trouble:
            self._store_away(trouble)
            return None

    async def _keep_if_it_can_be(
        self, need: OcspNeed, answer: OcspAnswer, until: datetime
    ) -> None:
        """Without the database this node alone knows it."""
        try:
            await self._keep(need, answer, until)
        except StoreTrouble as trouble:
            self._store_away(trouble)
        else:
            self._is_store_away = False

    def _store_away(self, trouble: StoreTrouble) -> None:
        if not self._is_store_away:  # once, until it is there again
            self._journal.trouble("OCSP answers not stored", trouble)
        self._is_store_away = True

    async def _keep(self, need: OcspNeed, answer: OcspAnswer, until: datetime) -> None:
        """Store it, unless another node has stored meanwhile what outranks it: that counts."""
        for _ in range(_CONTESTED):
            now = self._clock()
            stored = await self._answers.get(need.key, now)
            if stored is not None:
                other = OcspAnswer.read(stored)
                if self._is_genuine(other, need) and _outranked(answer, other, need):
                    self._snapshots.learn(need.key, other)
                    return
            if await self._answers.put(need.key, answer.der, until, now, stored):
                return

    async def _stored(self, need: OcspNeed) -> OcspAnswer | None:
        """What another node was told, if that is newer than what is at hand."""
        known, stored = self._known(need), await self._answers.get(need.key, self._clock())
        if stored is None:
            return None
        answer = OcspAnswer.read(stored)
        if not self._is_genuine(answer, need):
            return None
        newer = (
            known is None
            or _single(answer, need).this_update > _single(known, need).this_update
        )
        return answer if newer else None

    async def _ask(self, url: str, need: OcspNeed) -> tuple[OcspAnswer, datetime]:
        nonce = secrets.token_bytes(_NONCE)
        request = Request(
            url,
            MOST,
            "application/ocsp-response",
            body=question(need.certificate, need.issuer, nonce),
            content_type="application/ocsp-request",
            urgent=True,
        )
        answer = OcspAnswer.read(await self._fetched(need, request))
        if answer.nonce is not None and answer.nonce != nonce:
            raise UnreadableOcsp("an answer to somebody else's question (its nonce differs)")
        single = _single(answer, need)
        found = worth(answer, need, self._clock(), self._knowledge)
        if not found.status:  # anybody could have sent it
            raise UnreadableOcsp(found.words)
        known = self._known(need)
        if known is not None and (why := _outranked(answer, known, need)):
            raise UnreadableOcsp(why)
        return answer, _until(single, need)

    def _known(self, need: OcspNeed) -> OcspAnswer | None:
        """The answer at hand, if somebody entitled to has given it."""
        known = self._knowledge.answers.get(need.key)
        return known if known is not None and self._is_genuine(known, need) else None

    def _is_genuine(self, answer: OcspAnswer, need: OcspNeed) -> bool:
        """Whether it counted when it was given, and has been given."""
        try:
            since = _single(answer, need).this_update
            counted = worth(answer, need, since, self._knowledge)
        except (UnreadableOcsp, UnreadableCertificate):
            return False
        return bool(counted.status) and since <= self._clock() + SKEW

    @property
    def _knowledge(self) -> Knowledge:
        return self._snapshots.current.snapshot.trust.knowledge

    # issuers

    async def _fetch_issuer(self, need: IssuerNeed) -> bool:
        """Fetch what is missing up to a root. What leads to none is not stored: strangers
        choose what is at the URLs of their certificates."""
        origins: dict[Certificate, str] = {}
        wanted: IssuerNeed | None = need
        while wanted is not None and len(origins) < HIGHEST:
            issuers, url = await self._issuers_of(wanted)
            origins |= dict.fromkeys(issuers, url)
            way = self._way_to_root(need.certificate, origins)
            if way:
                return await self._store(way, origins)
            wanted = _need_above(issuers)
        if origins:
            trouble = FetchFailed("no root at hand is above what is there")
            self._failed("issuer not fetched", need.urls[0], trouble, need.certificate)
        return False

    async def _issuers_of(self, need: IssuerNeed) -> tuple[list[Certificate], str]:
        """Certificates that issued the one in need, and from where; a few, if any."""
        child = Link(need.certificate)
        for url in need.urls:
            try:
                accept = "application/pkix-cert, application/pkcs7-mime"
                content = await self._fetched(need, Request(url, MOST, accept, urgent=True))
                found = read(content, keys=False).certificates
            except (FetchFailed, UnreadableKeyFile) as trouble:
                self._failed("issuer not fetched", url, trouble, need.certificate)
                continue
            issuers = [one for one in found if _issued(one, child)]
            if issuers:
                return issuers[:OF_ONE], url
            why = FetchFailed("what is there did not issue the certificate")
            self._failed("issuer not fetched", url, why, need.certificate)
        return [], ""

    def _way_to_root(
        self, certificate: Certificate, more: Iterable[Certificate]
    ) -> tuple[Certificate, ...]:
        """The shortest way from a certificate to a root at hand, these included; or nothing."""
        knowledge = self._knowledge.with_certificates(more)
        ways = search(knowledge.link(certificate), knowledge).to_roots
        return tuple(link.certificate for link in ways[0]) if ways else ()

    async def _store(
        self, way: tuple[Certificate, ...], origins: Mapping[Certificate, str]
    ) -> bool:
        """Store what was fetched and lies on the way; whether there was anything to."""
        stored, wider = False, self._knowledge.with_certificates(origins)
        for certificate in way:
            url = origins.get(certificate)
            if url is None:
                continue
            if is_crowded(certificate, self._knowledge, wider):
                why = FetchFailed("so many of its name are at hand that no more are stored")
                self._failed("issuer not fetched", url, why, certificate)
                continue
            await self._certificates.add([certificate], Shelf.CERTIFICATES, f"AIA {url}"[:200])
            self._journal.note("issuer fetched", url=url, subject=certificate.subject)
            stored = True
        if stored:
            await self._snapshots.look()
        return stored

    def _failed(self, what: str, url: str, why: Exception, about: Certificate) -> None:
        trouble = AdminError(str(why), where=url)
        self._journal.trouble(what, trouble, subject=about.subject)


def _key(need: Need) -> str:
    return need.key if isinstance(need, OcspNeed) else need.certificate.sha256


def _shares(need: Need, url: str, times: int) -> Shares:
    """In whose name room is taken to ask about this at a URL, and how much these may have."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        host = ""
    shares = {f"host {host}": times * AT_ONCE_OF_A_HOST}
    if isinstance(need, OcspNeed):
        issuers = (need.issuer, *need.above)  # the root last
        top = issuers[-2] if len(issuers) > 1 else issuers[0]
        branch = hashlib.sha256(public_key_of(top.der)).hexdigest()
        shares[f"branch {branch}"] = times * AT_ONCE_OF_A_BRANCH
    return shares


def _single(answer: OcspAnswer, need: OcspNeed) -> Single:
    key = public_key_of(need.issuer.der)
    single = answer.single_for(need.certificate, key)
    if single is None:
        raise UnreadableOcsp("an answer about other certificates")
    return single


def _outranked(answer: OcspAnswer, other: OcspAnswer, need: OcspNeed) -> str:
    """Why an answer must not take the place of another one; empty when it may."""
    single, before = _single(answer, need), _single(other, need)
    if before.this_update > single.this_update:
        return "an answer older than the one at hand"
    if before.status == "revoked" and not _takes_back(single, before):
        return "the one at hand says that it is revoked, and stays"
    return ""


def _takes_back(single: Single, revoked: Single) -> bool:
    """Whether an answer that revokes has to give way: to another, or to a newer good one."""
    newer = single.this_update > revoked.this_update
    return single.status == "revoked" or (single.status == "good" and newer)


def _until(single: Single, need: OcspNeed) -> datetime:
    """How long an answer is of use: one that revokes as long as there is anything to revoke."""
    if single.status == "revoked":
        return need.certificate.not_after
    return single.next_update or single.this_update + LONGEST


def _issued(issuer: Certificate, child: Link) -> bool:
    try:
        link = Link(issuer)
        return issuer.is_ca and link.name == child.issuer_name and child.signed_by(link)
    except UnreadableCertificate:
        return False


def _need_above(issuers: Iterable[Certificate]) -> IssuerNeed | None:
    """Where the next one up is to be had."""
    for issuer in issuers:
        try:
            urls = issuer_urls(issuer)
            if urls and not issuer.is_self_issued:
                return IssuerNeed(issuer, urls)
        except UnreadableCertificate:
            continue
    return None
