"""All that verdicts rest on, at one moment: roots, CA certificates, CRLs, the trust list.

A snapshot that never changes. Indexes are made on first use; signatures that were checked once
are remembered in its links and CRLs, and go with it. Certificates are taken as they are stored:
which of them are CAs is seen from their bytes, so that 100 000 end-user certificates cost no
parsing.

CRLs of one name are heard in an order: first those that the key of a CA below a root made, then
whatever else there is, so that no number of others keeps a true one from being heard.

Leaves searching paths to `search.py`, judging to `engine.py`.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from copy import copy
from datetime import datetime
from functools import cached_property
from itertools import chain
from types import MappingProxyType
from typing import Final, TypeVar

from smimefilter.pki.certificate import Certificate, UnreadableCertificate, is_ca
from smimefilter.pki.crl import Crl
from smimefilter.pki.names import NameKey, name_key
from smimefilter.pki.ocsp import OcspAnswer
from smimefilter.pki.tlv import BadDer

from .ctl import TrustList
from .inherited import make_whole, whole
from .issued import IssuedCrl
from .link import Link
from .outline import may_be_ca, may_sign_crls, subject_of
from .proofs import MOST
from .search import Effort, Found, search

_K = TypeVar("_K")
_V = TypeVar("_V")

NO_TRUST_LIST: Final = TrustList()
NO_ANSWERS: Final[Mapping[str, OcspAnswer]] = MappingProxyType({})


class Knowledge:
    """One state of what is known."""

    def __init__(
        self,
        *,
        roots: Iterable[Certificate] = (),
        authorities: Iterable[Certificate] = (),
        crls: Iterable[Crl] = (),
        trust_list: TrustList = NO_TRUST_LIST,
        revision: int = 0,
        answers: Mapping[str, OcspAnswer] = NO_ANSWERS,
    ) -> None:
        """`authorities`: CA certificates that are not roots, and those of CRL signers; others
        among them do no harm. `answers`: of OCSP, by `ocsp_key`."""
        self.revision: Final = revision
        self.trust_list: Final = trust_list
        self._roots: Final = {root: Link(root) for root in roots}
        self._authorities: Final = tuple(authorities)
        self._crls: Final = tuple(crls)
        self.answers = answers
        self._leading: dict[Link, bool] = {}
        self._effort: Effort | None = None  # for what strangers brought, all together
        self._parted: dict[NameKey, tuple[Sequence[IssuedCrl], Sequence[IssuedCrl]]] = {}

    def with_answers(self, answers: Mapping[str, OcspAnswer]) -> Knowledge:
        """The same with other answers of OCSP; all that was made beforehand is shared."""
        other = copy(self)
        other.answers = answers
        return other

    def prepare(self) -> None:
        """Do beforehand what would keep the first mails waiting: indexes, and the signatures
        of CRLs, which for a large one means hashing many megabytes. For a thread."""
        for name in self._crls_by_name:
            self.crls_named(name)

    def with_certificates(self, more: Iterable[Certificate]) -> Knowledge:
        """The same with further certificates that are no roots. Costs as much as those do:
        what is known already is shared, indexes included."""
        known = self._links
        added = {one: Link(one) for one in more if one not in known and one not in self._roots}
        extra = _named(link for one, link in added.items() if _is_worth_knowing(one))
        names = {name: [*self._by_name.get(name, ()), *links] for name, links in extra.items()}
        index = _over(names, self._by_name)
        make_whole(names, index)
        links = {link.certificate: link for link in chain(*extra.values())}
        other = copy(self)
        other.__dict__.update(
            _authorities=(*self._authorities, *added),
            _links=_over(links, known),
            _by_name=index,
            _crls_by_name=self._crls_by_name,
            _parted=self._parted,
            _leading={link: True for link, leads in dict(self._leading).items() if leads},
            _effort=Effort(),
            _struck_keys=self._struck_keys | self._struck(links.values()),
        )
        return other

    # certificates

    @property
    def certificates(self) -> Iterator[Certificate]:
        """All, roots first."""
        return chain(self._roots, self._authorities)

    def link(self, certificate: Certificate) -> Link:
        """The link of a certificate: the known one, or a fresh one."""
        known = self._roots.get(certificate) or self._links.get(certificate)
        link = known or Link(certificate)
        return whole(link, self._by_name) if certificate.inherits_parameters else link

    def holds(self, certificate: Certificate) -> bool:
        """Whether it is one of those that something may be issued by."""
        return certificate in self._roots or certificate in self._links

    def is_root(self, link: Link) -> bool:
        """Whether paths may end here."""
        return link.certificate in self._roots

    def named(self, name: NameKey) -> Sequence[Link]:
        """Roots, then other certificates of CAs and CRL signers, with this subject."""
        return self._by_name.get(name, ())

    def is_struck(self, link: Link) -> bool:
        """Black-listed itself, or a CA with the key of a CA that is."""
        if not self.trust_list.has_black:
            return False
        if self.trust_list.black(link.certificate):
            return True
        return (
            bool(self._struck_keys)
            and link.key in self._struck_keys
            and is_ca(link.certificate)
        )

    def leads_somewhere(self, link: Link) -> bool:
        """Whether a root is above a certificate at hand, or may be: not so only where all ways
        up end at certificates whose issuers are missing, as those of what a stranger made
        do."""
        known = self._leading.get(link)
        if known is None:
            try:
                found = search(link, self, self._effort)
            except UnreadableCertificate:
                found = Found()
            known = bool(found.to_roots or found.struck or not found.complete)
            self._leading[link] = known
        return known

    @cached_property
    def _links(self) -> MutableMapping[Certificate, Link]:
        return {
            certificate: Link(certificate)
            for certificate in self._authorities
            if _is_worth_knowing(certificate) and certificate not in self._roots
        }

    @cached_property
    def _by_name(self) -> MutableMapping[NameKey, list[Link]]:
        found = _named((*self._roots.values(), *self._links.values()))
        make_whole(found)
        return found

    @cached_property
    def _struck_keys(self) -> frozenset[bytes]:
        return self._struck((*self._roots.values(), *self._links.values()))

    def _struck(self, links: Iterable[Link]) -> frozenset[bytes]:
        black = (link for link in links if self.trust_list.black(link.certificate))
        return frozenset(link.key for link in black if is_ca(link.certificate))

    # CRLs

    @property
    def crls(self) -> Sequence[Crl]:
        """All, as they are stored."""
        return self._crls

    @property
    def issued_crls(self) -> Iterator[IssuedCrl]:
        """All, as verdicts look at them."""
        return chain.from_iterable(self._crls_by_name.values())

    def crls_named(self, *names: NameKey) -> Sequence[IssuedCrl]:
        """CRLs of issuers of these names: first those that a CA below a root made, then the
        rest; the newest first of both."""
        parts = [self._made_and_rest(name) for name in names]
        if len(parts) == 1:
            return [*chain(*parts[0])]
        made, rest = (chain(*same) for same in zip(*parts, strict=True))
        return [crl for some in (made, rest) for crl in sorted(some, key=newness, reverse=True)]

    def _made_and_rest(self, name: NameKey) -> tuple[Sequence[IssuedCrl], Sequence[IssuedCrl]]:
        found = self._parted.get(name)
        if found is None:
            crls = self._crls_by_name.get(name, ())
            named = self.named(name) if crls else ()
            signers = [link for link in named if self._may_have_signed(link)]
            made = {crl: None for crl in crls if _is_of_one_of(crl, signers)}
            rest = [crl for crl in crls if crl not in made]
            found = self._parted[name] = list(made), rest
        return found

    def _may_have_signed(self, link: Link) -> bool:
        try:
            return link.may_sign_crls and self.leads_somewhere(link)
        except UnreadableCertificate:
            return False

    @cached_property
    def _crls_by_name(self) -> dict[NameKey, list[IssuedCrl]]:
        found: dict[NameKey, list[IssuedCrl]] = {}
        for crl in sorted(map(IssuedCrl, self._crls), key=newness, reverse=True):
            found.setdefault(crl.issuer_name, []).append(crl)
        return found


def _is_worth_knowing(certificate: Certificate) -> bool:
    """Whether something may be issued by it, a certificate or a CRL."""
    return may_be_ca(certificate.der) or may_sign_crls(certificate.der)


def _over(new: dict[_K, _V], old: MutableMapping[_K, _V]) -> ChainMap[_K, _V]:
    """Both, the new before the old; as flat, however often there is something new."""
    return ChainMap(new, *(old.maps if isinstance(old, ChainMap) else (old,)))


def _named(links: Iterable[Link]) -> dict[NameKey, list[Link]]:
    found: dict[NameKey, list[Link]] = {}
    for link in links:
        try:
            found.setdefault(name_key(subject_of(link.certificate.der)), []).append(link)
        except BadDer:
            continue  # nobody's issuer, then
    return found


def newness(crl: IssuedCrl) -> tuple[datetime, int]:
    """What CRLs are sorted by."""
    return crl.crl.this_update, crl.crl.number or 0


def _is_of_one_of(crl: IssuedCrl, signers: Iterable[Link]) -> bool:
    likely = sorted(signers, key=lambda link: not crl.prefers(link))
    return any(map(crl.signed_by, likely[:MOST]))
