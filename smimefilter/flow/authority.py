"""The built-in CA: making one, issuing, revoking, and the CRLs of what it issued.

A CA is a root and an intermediate that signs for users; both are made together and stored with
their wrapped keys, the root among the roots, ready to use. Each signs CRLs: the root's covers
the intermediate. A CRL is made and stored in one transaction with what it revokes, under the
next number, so that of two that are made at once one begins again with the other's entries.

A CA that nobody may trust issues nothing. What revoking changes is left to `revoking.py`, what
a new CA is like to `new_authority.py`.

Certificates follow the CA/Browser Forum's baseline for S/MIME (mailbox- or
individual-validated, multipurpose): one rfc822Name, emailProtection, key usage by the kind of
key, serial numbers of 128 random bits. RFC 5280 §4.2 and §5. Raises `AdminError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from smimefilter.base.errors import AdminError, KeyTrouble
from smimefilter.pki.build import (
    Identity,
    Profile,
    Revoked,
    build_crl,
    certify,
    generate_key,
    issue,
)
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.crl import Crl
from smimefilter.pki.export import key_pkcs8
from smimefilter.pki.request import Csr, UnreadableCsr, parsed_csr, read_csr
from smimefilter.ports.audit import AuditRecord
from smimefilter.ports.handlers import HandlerTrouble, Issued, NotIssued, Order
from smimefilter.ports.journal import Journal
from smimefilter.ports.keys import PRIVATE_KEY, InToken, Sealer
from smimefilter.ports.requests import (
    Authorities,
    IssuedCertificate,
    NewCrl,
    StoredAuthority,
)
from smimefilter.ports.stores import Certificates, Crls, WrappedKey
from smimefilter.trust.link import Link
from smimefilter.trust.verdict import Standing, Verdict

from .authority_names import Authority, ca_id, called, origin_of, url_for, urls_for
from .issuance import Issuance, issued_by
from .new_authority import (
    BACKDATED,
    DIGESTS,
    NewAuthority,
    check,
    issuing_profile,
    root_profile,
)
from .revoking import LIFT, Changes, changes, check_reasons, may_become

CRL_LONGEST: Final = 366  # days, as of the preference `ca-crl-days`
REMEMBERED: Final = timedelta(seconds=2)
_ATTEMPTS: Final = 5
_UNFIT: Final = frozenset(  # of a CA: nothing is issued that nobody may trust
    {Standing.REVOKED, Standing.BLACK_LISTED, Standing.NOT_YET_VALID, Standing.EXPIRED}
)


@dataclass(frozen=True, slots=True)
class Published:
    """What others are to find of a CA, DER: its certificate and its newest CRL."""

    id: str
    certificate: bytes
    crl: bytes | None


class AuthorityDesk:
    """All that is done with CAs of ours."""

    def __init__(
        self,
        *,
        authorities: Authorities,
        certificates: Certificates,
        crls: Crls,
        sealer: Sealer,
        unwrapped: Callable[[str, bytes], PrivateKeyTypes],
        clock: Callable[[], datetime],
        crl_days: Callable[[], int],
        digest: Callable[[], str],
        judge: Callable[[Certificate], Awaitable[Verdict]],
        journal: Journal,
    ) -> None:
        """`unwrapped`: the private key of a certificate's thumbprint and stored blob.
        `crl_days`: after how many days the next CRL comes, by policy; `digest` likewise.
        `judge`: what a CA's certificate is worth now."""
        self._authorities = authorities
        self._certificates = certificates
        self._crls = crls
        self._sealer = sealer
        self._unwrapped = unwrapped
        self._clock = clock
        self._crl_days = crl_days
        self._digest = digest
        self._judge = judge
        self._journal = journal
        self._issuance = Issuance(authorities, certificates)
        self._not_renewed: set[str] = set()  # ids of CAs whose CRL could not be made anew
        self._signers: dict[str, Identity] = {}
        self._default: tuple[datetime, Authority | None] = (clock(), None)
        self._asking = asyncio.Lock()  # for the default: one asks, the others get its answer

    async def create(
        self,
        wanted: NewAuthority,
        new_key: Callable[[str, str], PrivateKeyTypes] = lambda kind, _: generate_key(kind),
    ) -> tuple[Authority, Authority]:
        """Make a root and an intermediate; both are stored with their keys and first CRLs.
        `new_key`: makes one of a kind, for a common name."""
        check(wanted)
        await self._check_names(wanted)
        now = self._clock()
        keys = await asyncio.gather(
            *(
                asyncio.to_thread(new_key, wanted.key, name)
                for name in (wanted.root_name, wanted.name)
            )
        )
        try:
            root = issue(root_profile(wanted, now), keys[0])
            above = url_for(wanted.crl_url, root.certificate)
            sub = issue(issuing_profile(wanted, now, above), keys[1], root)
        except ValueError as error:  # kinds of keys that do not sign, or not with this digest
            raise AdminError(str(error), mend="choose another key or digest") from None
        both = [
            StoredAuthority(one.certificate.thumbprint, default, 1, now)
            for one, default in ((root, False), (sub, wanted.make_default))
        ]
        ends = now + timedelta(days=wanted.crl_days)
        crls = [
            NewCrl(
                one.certificate.thumbprint, 1,
                build_crl(one, (), this_update=now, next_update=ends, digest=self._digest()),
                origin_of(one.certificate),
            )
            for one in (root, sub)
        ]  # fmt: skip
        record = AuditRecord(
            now, sub.certificate.thumbprint, "CA created",
            f"{sub.certificate.subject} below {root.certificate.subject}",
        )  # fmt: skip
        await self._authorities.create(
            both,
            roots=[root.certificate],
            certificates=[sub.certificate],
            keys=[self._wrapped(one.certificate, one.key) for one in (root, sub)],
            crls=crls,
            origin="CA created",
            records=[record],
        )
        self._default = self._clock(), None
        found = {one.certificate.thumbprint: one for one in await self.all()}
        return found[root.certificate.thumbprint], found[sub.certificate.thumbprint]

    async def all(self) -> list[Authority]:
        """All CAs of ours, roots first."""
        ours = await self._authorities.all()
        entries = await self._certificates.these([one.thumbprint for one in ours])
        known = {entry.certificate.thumbprint: entry.certificate for entry in entries}
        found = []
        for stored in ours:
            certificate = known.get(stored.thumbprint)
            if certificate is None:
                continue  # its certificate was removed
            above = (
                None if certificate.is_self_issued else _root_of(certificate, known.values())
            )
            found.append(
                Authority(
                    ca_id(certificate),
                    certificate,
                    above,
                    stored.is_default,
                    stored.crl_number,
                    await self._certificates.key(stored.thumbprint) is not None,
                )
            )
        return sorted(found, key=lambda one: one.root is not None)

    async def find(self, which: str = "") -> Authority:
        """A CA by its common name, or a beginning of its id or thumbprint; the default one
        without."""
        found = await self.all()
        users = [one for one in found if one.root is not None]
        if not which:
            default = [one for one in users if one.is_default]
            if not default:
                raise AdminError(
                    "there is no CA that issues by default",
                    mend="make one with: smimefilter ca create, or choose one: ca default",
                )
            return default[0]
        return called(found, which)

    async def make_default(self, which: str) -> Authority:
        """Issue with this one from now on."""
        found = await self.find(which)
        if found.root is None:
            raise AdminError(
                "a root issues no certificates for users",
                where=found.certificate.subject,
                mend="name an intermediate; list them with: smimefilter ca list",
            )
        if why := await self._unfit(found.certificate):
            raise AdminError(why, mend="make another CA, or name another one")
        thumbprint = found.certificate.thumbprint
        record = AuditRecord(self._clock(), thumbprint, "CA made the default")
        await self._authorities.make_default(thumbprint, [record])
        self._default = self._clock(), None
        return await self.find(found.id)

    # issuing, for the built-in request handler

    async def issue(self, order: Order) -> Issued | NotIssued:
        """Issue, or give again what was issued for the order and its key before, unless that
        was revoked meanwhile."""
        outcome = await self._certified(order)
        if isinstance(outcome, NotIssued):
            try:
                csr = read_csr(order.csr)
            except UnreadableCsr:
                return outcome
            for before in await self._authorities.issued_for(order.id):
                if _answers(before, csr):
                    return _given_again(before)
        return outcome

    async def _certified(self, order: Order) -> Issued | NotIssued:
        try:
            found = await self._issuing_one()
        except AdminError as error:
            return NotIssued(str(error))
        if why := await self._unfit_for(found.certificate, order.address):
            return NotIssued(why)
        signer = await self._signer(found)
        try:
            request = parsed_csr(order.csr)
        except UnreadableCsr as error:
            return NotIssued(str(error))
        now = self._clock()
        ends = min(now + timedelta(days=order.days), found.certificate.not_after)
        profile = Profile(
            common_name=order.common_name,
            not_before=now - BACKDATED,
            not_after=ends,
            addresses=(order.address,),
            organisation=order.organisation,
            given_name=order.given_name,
            surname=order.surname,
            crl_urls=urls_for(order.crl_url, found.certificate),
            issuer_urls=urls_for(order.issuer_url, found.certificate),
            digest=order.digest,
        )
        # In a thread: the key may be in a token, which takes its time.
        try:
            certificate = await asyncio.to_thread(
                certify, profile, request.public_key(), signer
            )
        except KeyTrouble as error:
            raise HandlerTrouble(str(error)) from None
        new = IssuedCertificate(
            found.certificate.thumbprint, certificate.serial, order.id, certificate.der
        )
        kept = await self._authorities.record(new, partial(_answers, csr=read_csr(order.csr)))
        return Issued(certificate, (found.certificate,)) if kept is new else _given_again(kept)

    async def _unfit(self, certificate: Certificate) -> str:
        """Why a CA may not issue now; empty where it may."""
        now = self._clock()
        if certificate.not_after <= now:
            return f"the CA has expired: {certificate.subject}"
        if certificate.not_before > now:
            return f"the CA is not yet valid: {certificate.subject}"
        standing = (await self._judge(certificate)).standing
        return f"the CA is {standing}: {certificate.subject}" if standing in _UNFIT else ""

    async def _unfit_for(self, certificate: Certificate, address: str) -> str:
        constraints = Link(certificate).mail_constraints
        if constraints is not None and not constraints.allows(address):
            return f"the CA does not speak for {address}: {certificate.subject}"
        return await self._unfit(certificate)

    async def _issuing_one(self) -> Authority:
        """The default CA, as it was within the last moments: of thousands of orders not each
        asks the database."""
        async with self._asking:
            until, found = self._default
            if found is None or self._clock() >= until:
                found = await self.find()
                self._default = self._clock() + REMEMBERED, found
            return found

    async def test(self) -> str:
        """Whether there is a CA that can issue. Raises `HandlerTrouble`."""
        try:
            found = await self.find()
            key = (await self._signer(found)).key
            if isinstance(key, InToken):
                await asyncio.to_thread(key.check)
        except (AdminError, KeyTrouble) as error:
            raise HandlerTrouble(str(error)) from None
        if why := await self._unfit(found.certificate):
            raise HandlerTrouble(why)
        return f"issues with {found.certificate.subject}"

    # revoking

    async def revoke(
        self,
        which: str,
        serials: Mapping[int, str],
        *,
        days: int | None = None,
        digest: str | None = None,
        anew: bool = False,
        force: bool = False,
        unknown: bool = False,
        authority: bool = False,
    ) -> bytes:
        """Revoke by serial number, each for a reason, and make a CRL that says so; it goes into
        the CRL store in the place of the ones before. With `anew` nothing that was revoked
        before stays so, which takes `force` where there is any. A serial number that the CA
        never issued takes `unknown`, that of a CA `authority`; a CA that is revoked issues by
        default no longer. The CRL, DER."""
        found = await self.find(which)
        check_reasons(serials.values())
        await self._issuance.check(
            found.certificate,
            [serial for serial, reason in serials.items() if reason != LIFT],
            self._clock(),
            unknown=unknown,
            authority=authority,
        )
        days = self._crl_days() if days is None else days
        digest = self._digest() if digest is None else digest
        _check_crl(days, digest)
        signer = await self._opened(found)
        for _ in range(_ATTEMPTS):
            changed = changes(
                found.certificate.thumbprint,
                await self._authorities.revoked(found.certificate.thumbprint),
                serials,
                self._clock(),
                anew=anew,
                force=force,
            )
            made = await self._next_crl(found, signer, changed, days, digest)
            if made is not None:
                return made
            found = await self.find(found.id)
        raise AdminError(
            "other CRLs were made all the time; nothing was done", mend="try again"
        )

    async def _next_crl(
        self, found: Authority, signer: Identity, changed: Changes, days: int, digest: str
    ) -> bytes | None:
        """Make and store it; None where another one of its number was made meanwhile."""
        now, thumbprint = self._clock(), found.certificate.thumbprint
        number = found.crl_number + 1
        entries = [
            Revoked(one.serial, one.revoked or now, one.reason) for one in changed.entries
        ]
        der = await asyncio.to_thread(
            lambda: build_crl(
                signer,
                entries,
                this_update=now,
                next_update=now + timedelta(days=days),
                number=number,
                digest=digest,
            )
        )
        superseded = await self._crls_of(found.certificate)
        crl = NewCrl(thumbprint, number, der, origin_of(found.certificate), superseded)
        fallen = await self._fallen(found, {one.serial for one in entries})
        records = [
            *changed.records,
            *(
                AuditRecord(now, one, "CA is the default no longer", "revoked")
                for one in fallen
            ),
            AuditRecord(now, thumbprint, "CRL made", f"no. {number}, {len(entries)} entries"),
        ]
        restored = [one.serial for one in changed.restored]
        done = await self._authorities.revoke(
            changed.revoked, crl, records, restored=restored, fallen=fallen
        )
        self._default = now, None
        return der if done else None

    async def _fallen(self, issuer: Authority, serials: Collection[int]) -> list[str]:
        """The default CA, where its issuer revokes it; its thumbprint."""
        return [
            one.certificate.thumbprint
            for one in await self.all()
            if one.is_default
            and one.root == issuer.certificate
            and one.certificate.serial in serials
        ]

    async def below(self, certificate: Certificate) -> int:
        """How many valid certificates fall with that of a CA."""
        return await self._issuance.below(certificate, self._clock())

    async def revoke_certificate(
        self, certificate: Certificate, reason: str, *, authority: bool = False
    ) -> Authority:
        """Revoke a certificate that a CA of ours issued, or lift the hold it is on. That of a
        CA takes `authority`."""
        check_reasons([reason])
        for one in await self.all():
            if certificate != one.certificate and issued_by(certificate, one.certificate):
                found = await self._authorities.find(
                    one.certificate.thumbprint, certificate.serial
                )
                if (
                    found is not None
                    and found.revoked is not None
                    and reason != LIFT
                    and not may_become(found.reason, reason)
                ):
                    raise AdminError(
                        f"revoked already, on {found.revoked:%Y-%m-%d}",
                        where=certificate.subject,
                    )
                await self.revoke(
                    one.id, {certificate.serial: reason}, unknown=True, authority=authority
                )
                return one
        raise AdminError(
            "no CA of ours issued it",
            where=certificate.subject,
            mend="ask its issuer to revoke it; meanwhile: smimefilter ctl add … black",
        )

    async def renew_crls(self) -> list[Authority]:
        """Make CRLs anew when half of their time has passed, of CAs that have not expired;
        whose. What fails with one, such as the key of a root that was taken offline, is told
        once, and keeps no other from its CRL."""
        now, renewed = self._clock(), []
        for one in await self.all():
            try:
                if one.certificate.not_after <= now:
                    continue
                lasts = await self._crl_lasts(one.certificate, now)
                if not lasts and await self._renew_crl(one):
                    renewed.append(one)
                self._not_renewed.discard(one.id)
            except Exception as error:  # noqa: BLE001 - the rest goes on
                if one.id not in self._not_renewed:
                    subject = one.certificate.subject
                    self._journal.trouble(
                        "CRL not made anew", error, ca=one.id, subject=subject
                    )
                self._not_renewed.add(one.id)
        return renewed

    async def _renew_crl(self, one: Authority) -> bool:
        """Make one more, unless another node has since this was read."""
        days, digest, thumbprint = self._crl_days(), self._digest(), one.certificate.thumbprint
        _check_crl(days, digest)
        before = await self._authorities.revoked(thumbprint)
        changed = changes(thumbprint, before, {}, self._clock(), anew=False, force=False)
        signer = await self._opened(one)
        return await self._next_crl(one, signer, changed, days, digest) is not None

    async def forget_key(self, which: str) -> Authority:
        """Take the key of a root away: it is kept elsewhere from now on."""
        found = await self.root(which)
        thumbprint = found.certificate.thumbprint
        record = AuditRecord(self._clock(), thumbprint, "key of a CA taken offline")
        await self._authorities.forget_key(thumbprint, [record])
        return await self.find(found.id)

    async def root(self, which: str) -> Authority:
        """A root whose key is here. Raises `AdminError`."""
        found = await self.find(which)
        if not found.certificate.is_self_issued:
            raise AdminError(
                "an intermediate needs its key to issue",
                where=found.certificate.subject,
                mend="name its root; list them with: smimefilter ca list",
            )
        if not found.has_key:
            raise _no_key(found.certificate)
        return found

    async def published(self) -> list[Published]:
        """What others are to find of each CA."""
        found = []
        for one in await self.all():
            crls = await self._own_crls(one.certificate)
            found.append(Published(one.id, one.certificate.der, crls[-1][1] if crls else None))
        return found

    # below

    async def _crl_lasts(self, certificate: Certificate, now: datetime) -> bool:
        found = await self._own_crls(certificate)
        if not found:
            return False
        crl = await asyncio.to_thread(Crl.read, found[-1][1])
        if crl.next_update is None:
            return True
        return now < crl.this_update + (crl.next_update - crl.this_update) / 2

    async def _own_crls(self, certificate: Certificate) -> list[tuple[str, bytes]]:
        """SHA-256 and DER of the CRLs that a CA has made, oldest first."""
        made = await self._crls.all(origin_of(certificate))
        return [(one.sha256, one.der) for one in made]

    async def _crls_of(self, certificate: Certificate) -> list[str]:
        return [sha256 for sha256, _ in await self._own_crls(certificate)]

    async def _signer(self, found: Authority) -> Identity:
        """One that issues, remembered; a root's key never is."""
        thumbprint = found.certificate.thumbprint
        if thumbprint not in self._signers:
            self._signers[thumbprint] = await self._opened(found)
        return self._signers[thumbprint]

    async def _opened(self, found: Authority) -> Identity:
        thumbprint = found.certificate.thumbprint
        wrapped = await self._certificates.key(thumbprint)
        if wrapped is None:
            raise _no_key(found.certificate)
        key = self._unwrapped(thumbprint, wrapped.blob)
        return Identity(found.certificate, key)

    def _wrapped(self, certificate: Certificate, key: PrivateKeyTypes) -> WrappedKey:
        thumbprint = certificate.thumbprint
        plain = key.token_key.reference if isinstance(key, InToken) else key_pkcs8(key)
        sealed = self._sealer.seal(PRIVATE_KEY, thumbprint, plain)
        return WrappedKey(thumbprint, sealed)

    async def _check_names(self, wanted: NewAuthority) -> None:
        taken = {one.certificate.common_name.casefold() for one in await self.all()}
        for name in (wanted.root_name, wanted.name):
            if name.strip().casefold() in taken:
                raise AdminError(
                    f"there is a CA called '{name}' already", mend="choose another name"
                )


def _answers(before: IssuedCertificate, csr: Csr) -> bool:
    """Whether it is for the key of a request: one that was deleted and is made again under the
    same id has another."""
    return before.der is not None and csr.is_answered_by(Certificate(before.der))


def _given_again(before: IssuedCertificate) -> Issued | NotIssued:
    assert before.der is not None
    certificate = Certificate(before.der)
    if before.revoked is not None:
        return NotIssued(f"what was issued was revoked, serial {certificate.serial_hex}")
    return Issued(certificate)


def _no_key(certificate: Certificate) -> AdminError:
    return AdminError(
        "its private key is not at hand",
        where=certificate.subject,
        mend="import it with: smimefilter key import",
    )


def _check_crl(days: int, digest: str) -> None:
    if not 1 <= days <= CRL_LONGEST:
        raise AdminError(f"the next CRL comes after 1 to {CRL_LONGEST} days, not {days}")
    if digest not in DIGESTS:
        raise AdminError(f"no digest: {digest}", mend=f"one of {', '.join(DIGESTS)}")


def _root_of(certificate: Certificate, known: Iterable[Certificate]) -> Certificate | None:
    return next((one for one in known if issued_by(certificate, one)), None)
