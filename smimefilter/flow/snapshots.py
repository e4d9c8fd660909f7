"""Keeping the state that mails are decided from, and replacing it when something changed.

The database's revision is asked for twice a second, and at once where the database tells of a
change; policy files are watched. A change makes a whole new state beside the old one, which is
swapped in at once. What cannot be read never replaces what could: the old state stays, and the
log says what is wrong.

Leaves reading to ports. Raises `AdminError` or `MailError` on the first load only.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from smimefilter.base.errors import AdminError
from smimefilter.pki.crl import Crl, UnreadableCrl
from smimefilter.pki.ocsp import OcspAnswer, UnreadableOcsp
from smimefilter.plan.snapshot import CertificateIndex, Snapshot, Spans
from smimefilter.policy.tree import Scopes, Tree
from smimefilter.ports.audit import DONE, FAILED, Audit, AuditRecord
from smimefilter.ports.journal import Journal
from smimefilter.ports.keys import KeyRing, Sealer
from smimefilter.ports.meter import Meter, NoMeter
from smimefilter.ports.policies import PolicySource
from smimefilter.ports.stores import OcspAnswers, Shelf, States, StoreState
from smimefilter.trust.cache import Trust
from smimefilter.trust.ctl import TrustList
from smimefilter.trust.knowledge import Knowledge

from .carry import Carrier
from .opening import MOST_OCTETS
from .preferences import database_scopes

ASK_EVERY: Final = 0.5  # seconds between looks at the database's revision
SILENCE: Final = timedelta(seconds=30)  # of the database, that is trouble
MOST_ANSWERS: Final = 20_000  # of OCSP


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """A snapshot and what carries out the plans made from it."""

    snapshot: Snapshot
    carrier: Carrier

    def with_answers(self, answers: Mapping[str, OcspAnswer]) -> State:
        """The same with other answers of OCSP; nothing is read or indexed anew."""
        trust = self.snapshot.trust.with_answers(answers)
        return State(replace(self.snapshot, trust=trust, selections=Spans()), self.carrier)


class Snapshots:
    """The current state, kept current."""

    def __init__(
        self,
        *,
        states: States,
        policies: PolicySource,
        ring: Callable[[Mapping[str, bytes]], KeyRing],
        sealer: Sealer,
        journal: Journal,
        answers: OcspAnswers,
        clock: Callable[[], datetime],
        most_octets: int = MOST_OCTETS,
        audit: Audit | None = None,
    ) -> None:
        """`most_octets`: that one mail may take to be opened; `audit`: where policies that are
        read again are told of."""
        self._audit = audit
        self._most_octets = most_octets
        self._stored_answers = answers
        self._clock = clock
        self._answers: Mapping[str, OcspAnswer] = {}
        self._states = states
        self._policies = policies
        self._ring = ring
        self._sealer = sealer
        self._journal = journal
        self._files: Scopes = {}
        self._read_crls: dict[str, Crl] = {}  # by SHA-256; reading a large one takes a second
        self._store: StoreState
        self._refused: int | None = None  # the revision that no state could be made of
        self.current: State
        self.policies_refused = False  # the files of now are not those that hold
        self._store_trouble = ""
        self._looked: datetime | None = None  # when the database last answered
        self._turn = asyncio.Lock()
        self._told = asyncio.Event()
        self._away = False  # the database

    async def load(self) -> State:
        """The first state. Raises what cannot be read."""
        files = await asyncio.to_thread(self._policies.load)
        stored = await self._stored_answers.all(self._clock())
        self._answers = dict(_read_answers(stored))
        return await self._replace(files, await self._states.load())

    @property
    def is_loaded(self) -> bool:
        """Whether there is a state at all."""
        return hasattr(self, "current")

    def store_trouble(self) -> str:
        """Why the database cannot be read now; empty: it can."""
        if self._store_trouble or self._looked is None:
            return self._store_trouble
        silent = self._clock() - self._looked
        return f"it is silent for {silent.seconds} seconds" if silent > SILENCE else ""

    def learn(self, key: str, answer: OcspAnswer) -> None:
        """An answer of OCSP is at hand from now on."""
        kept = self._answers
        if len(kept) >= MOST_ANSWERS:  # the oldest half goes, and is asked for again if need be
            kept = dict(list(kept.items())[len(kept) // 2 :])
        self._answers = {**{k: v for k, v in kept.items() if k != key}, key: answer}
        self.current = self.current.with_answers(self._answers)

    async def keep_current(self, meter: Meter | None = None) -> None:
        """Follow changes of files and database until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._policies.watch(self.reload_files))
            tasks.create_task(self._states.listen(self._told.set))
            tasks.create_task(self._follow_database(meter or NoMeter()))

    async def reload_files(self) -> None:
        """Read the policy files again; a broken one leaves all as it was."""
        async with self._turn:
            before, outcome = self._files, DONE
            try:
                files = await asyncio.to_thread(self._policies.load)
                await self._replace(files, self._store)
            except Exception as error:  # noqa: BLE001 - whatever it is, the old state is good
                self._journal.trouble("policies not reloaded, the old ones stay", error)
                said = str(error) if isinstance(error, AdminError) else type(error).__name__
                outcome, self.policies_refused = FAILED, True
            else:
                self._journal.note("policies reloaded", scopes=len(files))
                said, self.policies_refused = _changed(before, files), False
        await self._tell(outcome, said)

    async def _tell(self, outcome: str, said: str) -> None:
        if self._audit is None:
            return
        record = AuditRecord(self._clock(), "policies", "policies reloaded", said, outcome)
        try:
            await self._audit.add([record])
        except Exception as error:  # noqa: BLE001 - the policies hold all the same
            self._journal.trouble("audit record not written", error)

    async def _follow_database(self, meter: Meter) -> None:
        while True:
            meter.store(reachable=not self._away)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ASK_EVERY):
                    await self._told.wait()
            self._told.clear()
            try:
                await self.look()
            except AdminError as error:  # of what is in it
                self._journal.trouble("store not read, the old state stays", error)
                self._store_trouble = str(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, the old state is good
                if not self._away:  # once, not every second
                    self._journal.trouble("store not read, the old state stays", error)
                self._away = True
                self._store_trouble = str(error) or type(error).__name__
            else:
                if self._away:
                    self._journal.note("store read again", revision=self._store.revision)
                self._away, self._store_trouble = False, ""
                self._looked = self._clock()

    async def look(self) -> None:
        """Take what is new in the database, now. Raises what cannot be read."""
        revision = await self._states.revision()
        if revision in {self._store.revision, self._refused}:
            return
        async with self._turn:
            store = await self._states.load()
            try:
                await self._replace(self._files, store)
            except AdminError:
                self._refused = store.revision  # not asked for again before it changes
                raise
            self._journal.note("store reloaded", revision=store.revision)

    async def _replace(self, files: Scopes, store: StoreState) -> State:
        made = await asyncio.to_thread(self._made, files, store)
        self.current = made.with_answers(self._answers) if self._answers else made
        self._files, self._store, self._refused = files, store, None
        return self.current

    def _made(self, files: Scopes, store: StoreState) -> State:
        database = database_scopes(store.preferences, self._sealer)
        certificates = [e for e in store.certificates if e.shelf is Shelf.CERTIFICATES]
        knowledge = Knowledge(
            roots=[e.certificate for e in store.certificates if e.shelf is Shelf.ROOTS],
            authorities=[e.certificate for e in certificates],
            crls=self._crls(store),
            trust_list=TrustList(store.trust_list),
            revision=store.revision,
        )
        knowledge.prepare()
        snapshot = Snapshot(
            revision=store.revision,
            tree=Tree(files, database),
            certificates=CertificateIndex(
                (e.certificate, e.certificate.thumbprint, e.addresses) for e in certificates
            ),
            trust=Trust(knowledge),
            keys=frozenset(store.keys),
            capabilities=store.capabilities,
        )
        return State(snapshot, Carrier(self._ring(store.keys), self._most_octets))

    def _crls(self, store: StoreState) -> list[Crl]:
        """CRLs were read before they were stored; one that no longer can be is reported and
        left out, which where a CRL is required keeps its certificates from being used."""
        found: dict[str, Crl] = {}
        for entry in store.crls:
            try:
                found[entry.sha256] = self._read_crls.get(entry.sha256) or Crl.read(entry.der)
            except UnreadableCrl as error:
                trouble = AdminError(str(error), where=f"CRL from {entry.origin}")
                self._journal.trouble("CRL not usable", trouble)
        self._read_crls = found
        return list(found.values())


def _changed(before: Scopes, now: Scopes) -> str:
    """Where preferences are set otherwise, without their values."""
    found = sorted(
        f"{scope} {name}"
        for scope in {*before, *now}
        for name in {*before.get(scope, {}), *now.get(scope, {})}
        if _value(before, scope, name) != _value(now, scope, name)
    )
    return f"changed: {', '.join(found)}" if found else "nothing is changed"


def _value(scopes: Scopes, scope: str, name: str) -> object:
    setting = scopes.get(scope, {}).get(name)
    return None if setting is None else (setting.value,)


def _read_answers(stored: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, OcspAnswer]]:
    for key, der in stored:
        try:
            yield key, OcspAnswer.read(der)
        except UnreadableOcsp:
            continue  # then it is asked for again
