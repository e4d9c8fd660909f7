"""Where the CRLs of certificates are to be had, and which CRL takes another's place.

CAs say in the certificates they issue where the CRLs that cover these are. Places count where
a root is above the certificate, of an end-user certificate where a CA at hand issued it: a
stranger's certificate sends us nowhere. Nor do many places: what a CA below a root may have us
fetch is bounded, for each certificate and together, and what one names takes no place of what
another does.

Leaves fetching to `flow/crls.py`, what a CRL is worth for a certificate to `revocation.py`.
RFC 5280 §4.2.1.13 (distribution points), §4.2.1.15 (freshest CRL), §5.2.3 (numbers).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from itertools import islice, zip_longest
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from smimefilter.pki import tlv
from smimefilter.pki.certificate import Certificate, UnreadableCertificate
from smimefilter.pki.points import read_points

from .branches import Branch, branches_below, branches_of
from .delta import takes_back
from .issued import IssuedCrl
from .knowledge import Knowledge, newness
from .link import Link
from .outline import AUTHORITY_KEY, CRL_POINTS, FRESHEST_CRL, extension_of, issuer_of, may_be_ca
from .revocation import RevocationCheck
from .search import search
from .span import Span
from .verdict import TrustRules

SCHEMES: Final = frozenset({"http", "https", "ldap", "ldaps"})
LONGEST: Final = 2000  # characters of a URL
_URL: Final = 0x86  # GeneralName uniformResourceIdentifier
MOST: Final = 4096  # URLs together
MOST_OF_ONE: Final = 16  # of one certificate


class _Read(NamedTuple):
    """What is read of a certificate: the URLs, its issuer, and its authorityKeyIdentifier."""

    urls: tuple[str, ...]
    issuer: bytes = b""
    hint: bytes = b""


_NOTHING: Final = _Read(())


class CrlPlaces:
    """The URLs of a whole store, asked for again after each of its changes: certificates
    that were looked at before are not read again."""

    def __init__(self) -> None:
        self._known: Mapping[Certificate, _Read] = {}
        self._branches: Mapping[str, AbstractSet[Branch]] = {}

    def of(self, knowledge: Knowledge, *, users: bool) -> set[str]:
        """All URLs to fetch from; with `users` those in end-user certificates too. If they are
        too many, each branch gives one in turn."""
        same: dict[_Read, _Read] = {}  # of most certificates that is the same
        known: dict[Certificate, _Read] = {}
        for certificate in knowledge.certificates:
            read = self._known.get(certificate) or _read(certificate)
            known[certificate] = same.setdefault(read, read)
        self._known = known
        named = _Named(knowledge)
        for certificate, read in known.items():
            if read.urls and may_be_ca(certificate.der):
                named.by_ca(certificate, read.urls)
            elif read.urls and users:
                named.by_user(certificate, read)
        found = set(islice(dict.fromkeys(named.in_turn()), MOST))
        self._branches = {url: named.branches(url) for url in found}
        return found

    def branches(self, url: str) -> AbstractSet[Branch]:
        """The branches by which a URL was named the last time; none where it was not."""
        return self._branches.get(url, frozenset())


class _Named:
    """The URLs that each branch names, in order."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge: Final = knowledge
        self._below: Final[dict[Link, frozenset[Branch]]] = {}  # by issuer
        self._told: Final[set[tuple[Link, tuple[str, ...]]]] = set()  # what issuers name
        self._settled: Final[set[_Read]] = set()  # what there is no more to be told of
        self._urls: Final[dict[Branch, dict[str, None]]] = {}

    def by_ca(self, certificate: Certificate, urls: tuple[str, ...]) -> None:
        """What the certificate of a CA names, if a root is above it."""
        try:
            self._add(branches_of(certificate, self._knowledge), urls)
        except UnreadableCertificate:
            return

    def by_user(self, certificate: Certificate, read: _Read) -> None:
        """What an end-user certificate names, if a CA below a root issued it. Of those that
        name the same, one of each issuer is enough."""
        if read in self._settled:
            return
        link = Link(Certificate(certificate.der))  # what is parsed of it here is not kept
        try:
            issuers = [
                one for one in self._knowledge.named(link.issuer_name) if self._is_ca(one)
            ]
            issuers = [one for one in issuers if link.prefers(one)] or issuers
            for issuer in issuers:
                if (issuer, read.urls) not in self._told and link.signed_by(issuer):
                    self._told.add((issuer, read.urls))
                    self._add(self._branches_below(issuer), read.urls)
        except UnreadableCertificate:
            return
        if all((issuer, read.urls) in self._told for issuer in issuers):
            self._settled.add(read)

    def _is_ca(self, issuer: Link) -> bool:
        return issuer.certificate.is_ca and bool(self._branches_below(issuer))

    def _branches_below(self, issuer: Link) -> frozenset[Branch]:
        if issuer not in self._below:
            self._below[issuer] = branches_below(issuer, self._knowledge)
        return self._below[issuer]

    def _add(self, branches: Iterable[Branch], urls: Iterable[str]) -> None:
        for branch in branches:
            self._urls.setdefault(branch, {}).update(dict.fromkeys(urls))

    def branches(self, url: str) -> AbstractSet[Branch]:
        """Those that name a URL."""
        return frozenset(branch for branch, urls in self._urls.items() if url in urls)

    def in_turn(self) -> Iterator[str]:
        """The first ones of all branches, then the second ones, and so on."""
        for row in zip_longest(*self._urls.values()):
            yield from (url for url in row if url is not None)


def crl_urls(certificate: Certificate) -> tuple[str, ...]:
    """The URLs of a certificate's distribution points and freshest CRLs that can be fetched,
    in order, the first ones if they are many. What cannot be read names none."""
    return tuple(islice(dict.fromkeys(_urls(certificate.der)), MOST_OF_ONE))


def _read(certificate: Certificate) -> _Read:
    urls = crl_urls(certificate)
    if not urls:
        return _NOTHING
    try:
        der = certificate.der
        return _Read(urls, issuer_of(der), extension_of(der, AUTHORITY_KEY) or b"")
    except tlv.BadDer:
        return _NOTHING


def signer_of(crl: IssuedCrl, knowledge: Knowledge) -> Link | None:
    """A certificate at hand whose key signed the CRL and may, if there is one with a root
    above it that one; None when there is none."""
    named = knowledge.named(crl.issuer_name)
    for link in sorted(named, key=lambda link: not knowledge.leads_somewhere(link)):
        try:
            if link.may_sign_crls and crl.signed_by(link):
                return link
        except UnreadableCertificate:
            continue
    return None


def is_in_doubt(signer: Link, knowledge: Knowledge, rules: TrustRules, at: datetime) -> bool:
    """Whether every certificate at hand of a signer's name and key is black-listed, expired or
    revoked: what such a one signs takes the place of nothing. Raises
    `UnreadableCertificate`."""
    same = (one for one in knowledge.named(signer.name) if one.key == signer.key)
    return all(_is_of_no_use(one, knowledge, rules, at) for one in same)


def _is_of_no_use(link: Link, knowledge: Knowledge, rules: TrustRules, at: datetime) -> bool:
    certificate = link.certificate
    if knowledge.is_struck(link) or not certificate.not_before <= at <= certificate.not_after:
        return True
    check = RevocationCheck(knowledge, rules, Span(at))
    ways = search(link, knowledge).to_roots
    return bool(ways) and all(check.check(way).revoked for way in ways)


def superseded(new: IssuedCrl, signer: Link, others: Iterable[IssuedCrl]) -> list[IssuedCrl]:
    """Those of `others` that `new` takes the place of. `signer`: whose key signed it. An
    earlier delta that says what a later one would take back is kept until there is a newer
    complete CRL."""
    series = [old for old in others if _is_of_series(new, signer, old)]
    return [old for old in series if _is_out(old, new, series)]


def _is_out(old: IssuedCrl, new: IssuedCrl, series: Sequence[IssuedCrl]) -> bool:
    if newness(old) > newness(new):
        return False
    if not new.crl.is_delta:
        return not old.crl.is_delta or _is_between_deltas(old, new, series)
    return old.crl.is_delta and (
        _is_complete_since(old, new, series) or not takes_back(new, old)
    )


def _is_between_deltas(old: IssuedCrl, new: IssuedCrl, series: Sequence[IssuedCrl]) -> bool:
    """Whether a delta is older than a complete CRL, and not the newest delta."""
    return newness(old) < newness(new) and any(
        other.crl.is_delta and newness(other) > newness(old) for other in series
    )


def _is_complete_since(old: IssuedCrl, new: IssuedCrl, series: Sequence[IssuedCrl]) -> bool:
    """Whether there is a complete CRL newer than one delta and not newer than another."""
    return any(
        not crl.crl.is_delta
        and newness(crl) > newness(old)
        and crl.crl.this_update <= new.crl.this_update
        for crl in series
    )


def newer_than(
    new: IssuedCrl, signer: Link, others: Iterable[IssuedCrl], by: datetime
) -> IssuedCrl | None:
    """One of `others`, issued by this time, that `new` must not take the place of because it
    is newer."""
    issued = (old for old in others if old.crl.this_update <= by)
    rivals = [old for old in issued if _is_rival(new, signer, old)]
    return next((old for old in rivals if newness(old) > newness(new)), None)


def _is_rival(new: IssuedCrl, signer: Link, old: IssuedCrl) -> bool:
    return old.crl.is_delta == new.crl.is_delta and _is_of_series(new, signer, old)


def _is_of_series(new: IssuedCrl, signer: Link, old: IssuedCrl) -> bool:
    """Of the same issuer, key and scope. A CA that changed its key has two sets."""
    return old.scope == new.scope and old.crl.sha256 != new.crl.sha256 and old.signed_by(signer)


def _urls(der: bytes) -> Iterator[str]:
    for oid in (CRL_POINTS, FRESHEST_CRL):
        try:
            extension = extension_of(der, oid)
            points = read_points(extension) if extension else ()
        except tlv.BadDer:
            continue
        for point in points:
            for name in point.name.full if point.name else ():
                url = _url(name)
                if url:
                    yield url


def _url(general_name: bytes) -> str:
    """The URL that a GeneralName is, if it is one that can be fetched."""
    if not general_name.startswith(_URL.to_bytes()):
        return ""
    try:
        start, end = tlv.whole(general_name, _URL)
        url = general_name[start:end].decode("ascii").strip()
        known = urlsplit(url).scheme.lower() in SCHEMES
    except (tlv.BadDer, ValueError):
        return ""
    return url if known and len(url) <= LONGEST and url.isprintable() else ""
