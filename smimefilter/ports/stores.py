"""What the flows ask of the database. Values in, values out; no row leaves `store/`.

Every change moves the revision, by which running filters notice that their snapshot is old.
All methods may raise `StoreTrouble` (a `MailError`, 4xx) when the database cannot be used.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Protocol

from smimefilter.base.algorithms import Capabilities
from smimefilter.base.errors import TemporaryTrouble
from smimefilter.pki.certificate import Certificate
from smimefilter.trust.ctl import TrustListEntry
from smimefilter.trust.verdict import Purpose

from .keys import Sealer


class StoreTrouble(TemporaryTrouble):
    """The database cannot be reached, read or written."""

    public: ClassVar[str] = "store not available, try again later"


class Shelf(StrEnum):
    """Which of the two certificate stores."""

    CERTIFICATES = "certificates"  # end users and intermediates
    ROOTS = "roots"


@dataclass(frozen=True, slots=True)
class CertificateEntry:
    """A stored certificate and what the store knows beside its bytes."""

    certificate: Certificate
    shelf: Shelf
    addresses: tuple[str, ...]  # keys, as in `Certificate.addresses`, without parsing
    has_key: bool
    origin: str  # "import alice.p12", "demo", "harvest <id>"
    added: datetime


@dataclass(frozen=True, slots=True)
class CrlEntry:
    """A stored CRL, DER, and where it came from."""

    der: bytes
    sha256: str
    origin: str
    added: datetime


@dataclass(frozen=True, slots=True)
class StoredPreference:
    """A preference set in the database. A secret one carries its wrapped value only."""

    scope: str  # "global", "example.com", "*.example.com" or "alice@example.com"
    name: str
    value: object  # as JSON carries it
    wrapped: bytes | None = None


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A private key as it is stored: PKCS#8 DER, or the reference to one in the token, under
    the master key, AES-256-GCM."""

    thumbprint: str  # of the certificate it belongs to
    blob: bytes  # nonce, ciphertext and tag; the thumbprint is its associated data


@dataclass(frozen=True, slots=True)
class StoreState:
    """Everything a snapshot is made of, read at one revision."""

    revision: int
    certificates: Sequence[CertificateEntry]  # both shelves
    keys: Mapping[str, bytes]  # thumbprint → wrapped blob
    crls: Sequence[CrlEntry]
    trust_list: Sequence[TrustListEntry]
    preferences: Sequence[StoredPreference]
    capabilities: Mapping[str, Capabilities] = field(default_factory=dict)  # by address key


@dataclass(frozen=True, slots=True)
class Correspondent:
    """Somebody whose signed mail came in, and what its mail program says it reads."""

    address: str  # key
    capabilities: Capabilities
    seen: datetime  # when it said so, by its own clock


@dataclass(frozen=True, slots=True)
class CrlSource:
    """A URL that CRLs are fetched from, and how that went."""

    url: str
    due: datetime
    tried: datetime | None = None
    succeeded: datetime | None = None
    failures: int = 0  # in a row
    outcome: str = ""  # of the last try, for people
    etag: str = ""  # of what it gave last
    last_modified: str = ""
    sha256: str = ""  # of the CRL it gave last


@dataclass(frozen=True, slots=True)
class ActiveUser:
    """Somebody whose certificates were considered for a mail, to encrypt or to sign."""

    address: str  # key
    purpose: Purpose
    seen: datetime  # last


class States(Protocol):
    """Reading a whole, consistent state, and noticing that it changed."""

    async def revision(self) -> int:
        """The current revision; cheap enough to ask every second."""

    async def listen(self, told: Callable[[], None]) -> None:
        """Call `told` when something may have changed, until cancelled; where the database
        tells nobody, come back at once. Who needs to know asks for the revision as well."""

    async def load(self) -> StoreState:
        """Everything at one revision."""


class Certificates(Protocol):
    """Both certificate stores and the keys that belong to them."""

    async def add(
        self, certificates: Sequence[Certificate], shelf: Shelf, origin: str
    ) -> list[bool]:
        """Store those not there yet; per certificate whether it is new. All or nothing."""

    async def add_with_keys(
        self,
        certificates: Sequence[Certificate],
        keys: Sequence[WrappedKey],
        origin: str,
        instead_of: Sequence[WrappedKey] = (),
    ) -> list[bool]:
        """The same, together with wrapped keys, in one transaction. A key that is there
        already stays, unless it is one of `instead_of`."""

    async def remove(self, thumbprint: str, shelf: Shelf) -> bool:
        """Take a certificate (and its key) away; whether it was there."""

    async def all(self, shelf: Shelf) -> list[CertificateEntry]:
        """All of a shelf, oldest first."""

    async def these(self, thumbprints: Collection[str]) -> list[CertificateEntry]:
        """Those of these that are on either shelf, oldest first."""

    async def key(self, thumbprint: str) -> WrappedKey | None:
        """The wrapped key of one certificate."""

    async def keys(self) -> list[WrappedKey]:
        """All wrapped keys."""

    async def rewrap(
        self,
        keys: Sequence[WrappedKey],
        preferences: Sequence[StoredPreference],
        others: Mapping[str, Mapping[str, tuple[bytes, bytes]]],
        check: bytes,
        revision: int,
        sealer: Sealer,
    ) -> bool:
        """Replace all wrapped keys, the wrapped values of all secret preferences, the master
        key's check value and the seal of the audit log, which `sealer` makes, at once. False,
        and nothing is changed, when the store is no longer at the revision that they were read
        at."""


class Correspondents(Protocol):
    """What correspondents' mail programs say they read."""

    async def put(self, found: Sequence[Correspondent]) -> None:
        """Add those of whom nothing newer is known, in one transaction."""

    async def remove(self, address: str) -> bool:
        """Whether it was there. `address` is a key."""

    async def all(self) -> list[Correspondent]:
        """All, by address."""


class TrustList(Protocol):
    """The certificate trust list."""

    async def put(self, entry: TrustListEntry) -> bool:
        """Add or replace; whether there was none before."""

    async def remove(self, thumbprint: str) -> bool:
        """Whether it was there."""

    async def all(self) -> list[TrustListEntry]:
        """All entries, by thumbprint."""


class Crls(Protocol):
    """The CRL store."""

    async def add(self, crls: Sequence[bytes], origin: str) -> list[bool]:
        """Store those (DER) not there yet; for each whether it is new. All or nothing."""

    async def replace(self, new: bytes, superseded: Collection[str], origin: str) -> bool:
        """Store one (DER) and remove those with these SHA-256, at once; whether it is new."""

    async def remove(self, sha256: str) -> bool:
        """Whether it was there."""

    async def all(self, origin: str | None = None) -> list[CrlEntry]:
        """All CRLs, or those of one origin, oldest first."""


class CrlSources(Protocol):
    """Where CRLs are fetched from. Writing does not move the revision: no decision rests on
    it. What one node has claimed no other one gets, until it is settled or the lease ends."""

    async def follow(self, urls: Collection[str], now: datetime) -> None:
        """Keep exactly these URLs; new ones are due at once."""

    async def due(self, now: datetime) -> list[str]:
        """The URLs whose turn it is and that nobody has, the one longest due first."""

    async def claim(
        self, now: datetime, until: datetime, urls: Collection[str], *, due: bool
    ) -> list[CrlSource]:
        """Those of these that nobody else has, and with `due` whose turn it is; ours from now
        on, with a lease until then."""

    async def settle(self, source: CrlSource) -> None:
        """Store how it went, and let go of it."""

    async def all(self) -> list[CrlSource]:
        """All, by URL."""


class Preferences(Protocol):
    """Preferences kept in the database (P3)."""

    async def put(self, preference: StoredPreference) -> None:
        """Set one; replaces what was set at this scope."""

    async def remove(self, scope: str, name: str) -> bool:
        """Whether it was set."""

    async def all(self) -> list[StoredPreference]:
        """All, by scope and name."""


class OcspAnswers(Protocol):
    """Answers of OCSP, for the time that they hold. Writing does not move the revision: who
    needs one looks for it."""

    async def put(
        self, key: str, der: bytes, until: datetime, now: datetime, instead_of: bytes | None
    ) -> bool:
        """Add it, or replace `instead_of`, unless another is there by now; those whose time is
        over go. Whether it is stored."""

    async def get(self, key: str, now: datetime) -> bytes | None:
        """The one under this key, if its time is not over."""

    async def all(self, now: datetime) -> list[tuple[str, bytes]]:
        """All whose time is not over."""


class ActiveUsers(Protocol):
    """Who uses mail. Writing does not move the revision: no decision rests on it."""

    async def put(self, users: Sequence[ActiveUser], forget_before: datetime) -> None:
        """Add or renew; those not seen since `forget_before` go."""

    async def since(self, moment: datetime) -> list[ActiveUser]:
        """Those seen since then, the longest ago first."""


class Accounts(Protocol):
    """Logins of the relay listener; only their argon2 hashes."""

    async def put(self, login: str, password_hash: str) -> bool:
        """Add or replace; whether there was none before."""

    async def remove(self, login: str) -> bool:
        """Whether it was there."""

    async def all(self) -> list[str]:
        """All logins."""

    async def password_hash(self, login: str) -> str | None:
        """The hash to verify against, or None."""


class Secrets(Protocol):
    """What proves that the master key at hand is the one the store was made with."""

    async def check_value(self) -> bytes | None:
        """A known text wrapped under the master key; None in a new store."""

    async def set_check_value(self, check: bytes) -> None:
        """Remember it."""

    def hold(self, check: bytes) -> None:
        """Neither write nor load a state from now on once the value is another one: each try
        raises `StoreTrouble`."""
