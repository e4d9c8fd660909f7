"""What becomes of a fetched CRL: whether it is stored, and whose place it takes.

One that a CA below a root signed takes the place of the older ones of its issuer, key and
scope, never of a newer one; one that nobody such signed is kept for an administrator to see,
and takes the place of nothing but the last such one from the same URL. Strangers may have had a
hand in which URLs there are, so what is stored is bounded in octets: of the used, and of the
unused beside them.

Leaves fetching to `crls.py`, what CRLs supersede to `trust/sources.py`;
`docs/decisions/0011-crl-updates.md`. Raises `FetchFailed` and `UnreadableCrl` for what came,
`StoreTrouble`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain
from typing import Final

from smimefilter.pki.certificate import UnreadableCertificate
from smimefilter.pki.crl import Crl, UnreadableCrl
from smimefilter.pki.details import crl_issuer
from smimefilter.pki.keyfile import UnreadableKeyFile, read
from smimefilter.plan.snapshot import trust_rules
from smimefilter.ports.net import Fetched, FetchFailed
from smimefilter.ports.stores import Crls, CrlSource
from smimefilter.trust.branches import NOWHERE, Branch, branches_below
from smimefilter.trust.issued import IssuedCrl
from smimefilter.trust.knowledge import Knowledge
from smimefilter.trust.link import Link
from smimefilter.trust.sources import is_in_doubt, newer_than, signer_of, superseded
from smimefilter.trust.strength import weak_signature
from smimefilter.trust.verdict import TrustRules

from .crl_turns import Turns
from .snapshots import Snapshots

SKEW: Final = timedelta(minutes=5)  # clocks differ
LARGEST_UNUSED: Final = 1 << 20  # octets of a CRL that no CA below a root signed
MOST_AT_ONCE: Final = 32  # CRLs at one place
KEY_SHARE: Final = 8  # those of one key, beside one alone, may take one in so many octets
BRANCH_SHARE: Final = 2  # those of all below one CA below a root, likewise
UNUSED_SHARE: Final = 8  # all of these may take one in so many octets beside the used


class Outcome(StrEnum):
    """What a try came to."""

    NEW = "new"
    UNCHANGED = "unchanged"
    EXPIRED = "expired"
    OLDER = "older"
    INVALID = "invalid"
    FAILED = "failed"
    LEFT = "left"  # another process is at it


# Of several CRLs from one URL the most telling outcome is that of the URL.
_TOLD_FIRST: Final = (
    Outcome.NEW, Outcome.INVALID, Outcome.FAILED, Outcome.EXPIRED, Outcome.UNCHANGED,
    Outcome.OLDER,
)  # fmt: skip
FAILURES: Final = frozenset({Outcome.OLDER, Outcome.INVALID, Outcome.EXPIRED, Outcome.FAILED})


@dataclass(frozen=True, slots=True)
class Update:
    """One URL, tried."""

    outcome: Outcome
    source: CrlSource  # as it is now; its `outcome` says more


class CrlIntake:
    """Looks at what was fetched, and stores it."""

    def __init__(
        self,
        *,
        snapshots: Snapshots,
        crls: Crls,
        clock: Callable[[], datetime],
        turns: Turns,
        most: int,
    ) -> None:
        """`most`: octets of all used CRLs together."""
        self._snapshots = snapshots
        self._crls = crls
        self._clock = clock
        self._turns = turns
        self._most = most
        self._judging = asyncio.Lock()
        self._stored: list[IssuedCrl] = []
        self._seen_by: Knowledge | None = None  # none of these

    async def take(self, source: CrlSource, fetched: Fetched) -> Update:
        """Store what came from a URL as far as it is of use."""
        if fetched.content is None:
            at_hand = self.at_hand(source.sha256)
            if at_hand is None:
                raise FetchFailed("nothing was sent")
            what = f"unchanged: {_called(at_hand)}"
            return self._kept(Outcome.UNCHANGED, source, fetched, at_hand, what)
        crls = await asyncio.to_thread(_read, fetched.content)
        async with self._judging:  # one after the other: none misses what another one stored
            updates = []
            for crl in crls:
                update = await self._judge(source, fetched, crl)
                updates.append(update)
                if update.outcome is Outcome.INVALID:  # of those from a URL one is kept
                    source = replace(source, sha256=update.source.sha256)
        return min(updates, key=lambda update: _TOLD_FIRST.index(update.outcome))

    async def _judge(self, source: CrlSource, fetched: Fetched, crl: IssuedCrl) -> Update:
        called = _called(crl.crl)
        signer, flaw = await asyncio.to_thread(self._signer_of, crl)
        if signer is None:
            return await self._keep_unused(source, crl, called, flaw)
        others = [*self._stored_since(), *self._knowledge.crls_named(crl.issuer_name)]
        by = self._clock() + SKEW
        newer = await asyncio.to_thread(newer_than, crl, signer, others, by)
        if newer is not None:
            what = f"{called}: older than the one at hand ({_called(newer.crl)}), not taken"
            return self.failed(source, what, Outcome.OLDER)
        found = await asyncio.to_thread(superseded, crl, signer, others)
        if crl.crl.this_update > by:  # the old ones are still in force
            found = [old for old in found if old.crl.this_update > by]
        gone = {old.crl.sha256 for old in found} - {crl.crl.sha256}
        doubtful = await asyncio.to_thread(self._is_in_doubt, signer) if gone else False
        if doubtful:
            what = f"{called}: not taken: its signer is revoked, black-listed or expired"
            return self.failed(source, what, Outcome.INVALID)
        if why := await asyncio.to_thread(self._no_room, crl.crl, signer, gone, others):
            return self.failed(source, f"{called}: not stored: {why}")
        is_new = await self._crls.replace(crl.crl.der, gone, source.url)
        self._stored_since().append(crl)
        outcome = Outcome.NEW if is_new else Outcome.UNCHANGED
        what = called if is_new else f"unchanged: {called}"
        return self._kept(outcome, source, fetched, crl.crl, what)

    def _signer_of(self, crl: IssuedCrl) -> tuple[Link | None, str]:
        """Who signed a CRL so that it can be used; or why it cannot be."""
        signer = signer_of(crl, self._knowledge)
        if signer is None:
            return None, "no CA at hand signed it"
        if not self._knowledge.leads_somewhere(signer):
            return None, "no root at hand is above the CA that signed it"
        weak = weak_signature(crl.scheme, self._rules)
        return (None, weak) if weak else (signer, "")

    def _is_in_doubt(self, signer: Link) -> bool:
        try:
            return is_in_doubt(signer, self._knowledge, self._rules, self._clock())
        except UnreadableCertificate:
            return True

    @property
    def _rules(self) -> TrustRules:
        return trust_rules(self._snapshots.current.snapshot.tree.view(""))

    async def _keep_unused(
        self, source: CrlSource, crl: IssuedCrl, called: str, flaw: str
    ) -> Update:
        """Store it for people to see, in the place of the last such one from this URL."""
        unused = await asyncio.to_thread(self._unused)
        gone = {source.sha256} & unused
        most = self._most // UNUSED_SHARE
        if len(crl.crl.der) > LARGEST_UNUSED or self._is_too_much(crl.crl, unused - gone, most):
            return self.failed(source, f"{called}: not kept: {flaw}", Outcome.INVALID)
        await self._crls.replace(crl.crl.der, gone, source.url)
        self._stored_since().append(crl)
        what = f"{called}: kept, not used: {flaw}"
        return self.failed(replace(source, sha256=crl.crl.sha256), what, Outcome.INVALID)

    def at_hand(self, sha256: str) -> Crl | None:
        """The stored CRL with this digest."""
        found = self._at_hand.get(sha256)
        return None if found is None else found.crl

    def _is_too_much(self, crl: Crl, beside: AbstractSet[str], most: int) -> bool:
        """Whether a CRL is new and with these others goes beyond what may be stored."""
        at_hand = self._at_hand
        taken = sum(len(at_hand[sha256].crl.der) for sha256 in beside)
        return crl.sha256 not in at_hand and taken + len(crl.der) > most

    def _no_room(
        self, crl: Crl, signer: Link, gone: AbstractSet[str], others: Iterable[IssuedCrl]
    ) -> str:
        """Why there is no room for a CRL, if so. Within the shares of its key and its branch,
        one that takes the place of others is never kept out by what there is beside."""
        of_key = _of_key(signer, others)
        beyond = self._is_too_much(crl, of_key - gone, self._most // KEY_SHARE)
        if beyond and of_key and not gone:
            return f"a key has a share of {_mib(self._most // KEY_SHARE)} MiB of what is kept"
        beside = self._at_hand.keys() - gone
        crowded = self._is_beyond_branch(crl, signer, beside)
        if crowded and not gone:
            share = _mib(self._most // BRANCH_SHARE)
            return f"all below one CA have a share of {share} MiB of what is kept"
        if gone and not (beyond or crowded):
            return ""
        # the unused have a share of their own and take none of this
        full = self._is_too_much(crl, beside, self._most)
        if full and self._is_too_much(crl, beside - self._unused(), self._most):
            return f"no more than {_mib(self._most)} MiB are kept of all CRLs together"
        return ""

    def _is_beyond_branch(self, crl: Crl, signer: Link, beside: AbstractSet[str]) -> bool:
        """Whether what is below the same CA below a root takes more than its share with it,
        beside its first one."""
        share = self._most // BRANCH_SHARE
        if not self._is_too_much(crl, beside, share):
            return False
        of_branch: dict[Branch, set[str]] = {one: set() for one in self._branches(signer)}
        for sha256, other in self._at_hand.items():
            by = signer_of(other, self._knowledge) if sha256 in beside else None
            for branch in of_branch.keys() & (self._branches(by) if by else frozenset()):
                of_branch[branch].add(sha256)
        return all(one and self._is_too_much(crl, one, share) for one in of_branch.values())

    def _branches(self, signer: Link) -> frozenset[Branch]:
        return branches_below(signer, self._knowledge) or NOWHERE

    def _unused(self) -> set[str]:
        """Digests of the stored CRLs that no CA below a root signed."""
        found = self._at_hand.items()
        return {sha256 for sha256, crl in found if self._signer_of(crl)[0] is None}

    @property
    def _at_hand(self) -> dict[str, IssuedCrl]:
        """What is stored, by digest; what was superseded since the snapshot still is there."""
        every = chain(self._knowledge.issued_crls, self._stored_since())
        return {issued.crl.sha256: issued for issued in every}

    def _stored_since(self) -> list[IssuedCrl]:
        """What was stored since the snapshot was made."""
        if self._seen_by is not self._knowledge:
            self._seen_by, self._stored = self._knowledge, []
        return self._stored

    def _kept(
        self, outcome: Outcome, source: CrlSource, fetched: Fetched, crl: Crl, what: str
    ) -> Update:
        """The CRL is stored; one past its time is no success, for all that."""
        if crl.next_update is not None and crl.next_update < self._clock():
            past = f"{what}: past its next update ({crl.next_update:%Y-%m-%d %H:%M})"
            return self.failed(replace(source, sha256=crl.sha256), past, Outcome.EXPIRED)
        return self._succeeded(outcome, source, fetched, crl, what)

    def _succeeded(
        self, outcome: Outcome, source: CrlSource, fetched: Fetched, crl: Crl, what: str
    ) -> Update:
        now = self._clock()
        return Update(
            outcome,
            CrlSource(
                url=source.url,
                due=self._turns.after(now, crl),
                tried=now,
                succeeded=now,
                outcome=what,
                etag=fetched.etag,
                last_modified=fetched.last_modified,
                sha256=crl.sha256,
            ),
        )

    def failed(self, source: CrlSource, what: str, outcome: Outcome = Outcome.FAILED) -> Update:
        """Nothing usable came; it is tried again soon."""
        now, failures = self._clock(), source.failures + 1
        return Update(
            outcome,
            replace(
                source,
                due=self._turns.again(now, failures),
                tried=now,
                failures=failures,
                outcome=what,
                etag="",
                last_modified="",
            ),
        )

    @property
    def _knowledge(self) -> Knowledge:
        return self._snapshots.current.snapshot.trust.knowledge


def _read(content: bytes) -> list[IssuedCrl]:
    """What came: one CRL in DER, or PEM with one or, from a directory, several. Raises
    `UnreadableCrl`."""
    if content.startswith(b"\x30"):
        return [IssuedCrl(Crl.read(content))]
    try:
        found = read(content, keys=False).crls
    except UnreadableKeyFile:
        found = ()
    if not found:
        raise UnreadableCrl("not a CRL")
    if len(found) > MOST_AT_ONCE:
        raise UnreadableCrl(f"more than {MOST_AT_ONCE} CRLs at one place")
    return [IssuedCrl(Crl.read(der)) for der in found]


def _of_key(signer: Link, crls: Iterable[IssuedCrl]) -> set[str]:
    """Digests of those that this key signed."""
    return {crl.crl.sha256 for crl in crls if crl.signed_by(signer)}


def _mib(octets: int) -> str:
    return f"{octets / (1 << 20):g}"


def _called(crl: Crl) -> str:
    kind = "delta CRL" if crl.is_delta else "CRL"
    number = "" if crl.number is None else f" no. {crl.number}"
    entries = "1 entry" if crl.count == 1 else f"{crl.count} entries"
    of = f"{crl.this_update:%Y-%m-%d %H:%M}, {entries}, {crl_issuer(crl.der)}"
    return f"{kind}{number} of {of}"
