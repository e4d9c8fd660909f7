"""Looking a state over for what will cause trouble: each finding with its mend. Pure.

Certificates with our keys that cannot sign or end soon, policies that name what is not there
or cannot be used, stale CRLs, no roots. Leaves looking at files, ports and next hops to the
face that asks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from smimefilter.base.errors import KeyTrouble
from smimefilter.pki.certificate import Certificate, UnreadableCertificate
from smimefilter.pki.crl import Crl, UnreadableCrl
from smimefilter.pki.details import crl_issuer
from smimefilter.plan.snapshot import Moment
from smimefilter.policy.preferences import (
    ADDITIONAL_CERTIFICATES,
    ENCRYPTION_CERTIFICATES,
    LOCALITY,
    SIGNING_CERTIFICATE,
    Locality,
)
from smimefilter.policy.tree import Scopes
from smimefilter.ports.keys import KeyRing
from smimefilter.ports.stores import (
    ActiveUser,
    CertificateEntry,
    CrlEntry,
    CrlSource,
    Shelf,
    StoreState,
)
from smimefilter.trust.sources import crl_urls
from smimefilter.trust.verdict import Purpose, Standing, Verdict

from .authority_names import ca_id, origin_of
from .concerns import Concern, Trouble, authorities_of, blamed, concerns
from .harvest import LEARNT

SOON: Final = timedelta(days=30)
CRL_SOON: Final = timedelta(days=7)


class Grade(StrEnum):
    """How bad a finding is."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and what to do about it."""

    grade: Grade
    about: str
    what: str
    mend: str = ""


def look_over(
    store: StoreState,
    moment: Moment,
    users: Sequence[ActiveUser] = (),
    sources: Sequence[CrlSource] = (),
    keys: KeyRing | None = None,
    ours: Collection[str] = (),
) -> list[Finding]:
    """Everything worth saying about a state, the good news in one line each. `users`: those
    who use mail; `sources`: where CRLs are fetched from; `keys`: the private keys, each of
    which is unwrapped; `ours`: thumbprints of CAs of ours."""
    cas = {
        one.certificate.thumbprint: one.certificate
        for one in store.certificates
        if one.certificate.thumbprint in ours
    }
    return [
        *_roots(store, moment.now),
        *_private_keys(store, keys),
        *_own_certificates(store, moment),
        *_active_users(moment, users),
        *_authorities(moment, users),
        *_policies(moment),
        *_named_certificates(moment),
        *_crls(store, moment.now, {origin_of(one) for one in cas.values()}),
        *_own_crls(store, moment.now, cas.values(), keys),
        *_sources(store, sources),
    ]


def _roots(store: StoreState, now: datetime) -> Iterator[Finding]:
    roots = [one.certificate for one in store.certificates if one.shelf is Shelf.ROOTS]
    if roots:
        over = sum(_is_over(root, now) for root in roots)
        yield Finding(
            Grade.GOOD, "roots", f"{len(roots)} trusted" + (f", {over} expired" if over else "")
        )
    else:
        yield Finding(
            Grade.WARNING,
            "roots",
            "none: no certificate is trusted but white-listed ones",
            "smimefilter root import FILE, or --system",
        )


def _private_keys(store: StoreState, keys: KeyRing | None) -> Iterator[Finding]:
    """Those that cannot be unwrapped: mail to them waits, and nobody signs with them."""
    for entry in store.certificates:
        if keys is None or not entry.has_key:
            continue
        try:
            keys.private_key(entry.certificate.thumbprint)
        except KeyTrouble as error:
            mend = "import it again: smimefilter key import FILE"
            if keys.in_token(entry.certificate.thumbprint):
                mend = "see: smimefilter key token list"
            yield Finding(Grade.BAD, _about(entry.certificate), str(error), mend)


def _own_certificates(store: StoreState, moment: Moment) -> Iterator[Finding]:
    own = [entry for entry in store.certificates if entry.has_key]
    verdicts = {entry: _verdict(entry, moment) for entry in own}
    served = {one for entry in own if verdicts[entry].usable for one in entry.addresses}
    old = {
        entry
        for entry in own
        if verdicts[entry].standing is Standing.EXPIRED
        and entry.addresses
        and served.issuperset(entry.addresses)
    }
    rest = [entry for entry in own if entry not in old]
    below: dict[Certificate, list[Verdict]] = {}  # CAs at fault, and for what
    for entry in rest:
        if authority := blamed(entry.certificate, verdicts[entry]):
            below.setdefault(authority, []).append(verdicts[entry])
    troubles = [_fallen(authority, found) for authority, found in below.items()]
    troubles += [
        finding
        for entry in rest
        if entry.certificate not in below and not blamed(entry.certificate, verdicts[entry])
        for finding in _own(entry, verdicts[entry], moment.now)
    ]
    yield from troubles
    if old:
        what = f"{len(old)}, for mail of old; others are in their place"
        yield Finding(Grade.GOOD, "private keys of expired certificates", what)
    if not troubles:
        yield Finding(Grade.GOOD, "private keys", f"{len(rest)}, all usable for a month")


def _fallen(authority: Certificate, verdicts: Sequence[Verdict]) -> Finding:
    """What falls with a CA, in one line."""
    first = verdicts[0]
    why = "; ".join(str(reason) for reason in first.reasons)
    what = f"{_certificates(len(verdicts))} with our key below it, now {first.standing}: {why}"
    mend = f"see: smimefilter certificate show {authority.thumbprint[:16]}"
    return Finding(Grade.WARNING, f"CA {_about(authority)}", what, mend)


def _certificates(count: int) -> str:
    return "1 certificate" if count == 1 else f"{count} certificates"


def _verdict(entry: CertificateEntry, moment: Moment) -> Verdict:
    view = moment.view(entry.addresses[0] if entry.addresses else "")
    return moment.verdict(entry.certificate, Purpose.ANY, view)


def _about(certificate: Certificate) -> str:
    return f"{certificate.subject} {certificate.thumbprint[:16]}"


def _own(entry: CertificateEntry, verdict: Verdict, now: datetime) -> Iterator[Finding]:
    certificate = entry.certificate
    about = _about(certificate)
    if not verdict.usable:
        why = "; ".join(str(reason) for reason in verdict.reasons)
        mend = f"see: smimefilter certificate show {certificate.thumbprint[:16]}"
        yield Finding(
            Grade.WARNING, about, f"has our key and is {verdict.standing}: {why}", mend
        )
    elif certificate.not_after - now < SOON:
        until = f"{certificate.not_after:%Y-%m-%d}"
        yield Finding(Grade.WARNING, about, f"has our key and expires on {until}", "renew it")


def _active_users(moment: Moment, users: Sequence[ActiveUser]) -> Iterator[Finding]:
    """Certificates that mail needs and that fail it, or soon will."""
    found = [
        concern
        for concern in concerns(moment, users)
        if concern.thumbprint not in moment.snapshot.keys  # told above
    ]
    below: dict[Certificate, list[Concern]] = {}
    for concern in found:
        if concern.blamed is not None:
            below.setdefault(concern.blamed, []).append(concern)
    for authority, fallen in below.items():
        count = len({concern.thumbprint for concern in fallen})
        what = f"{_certificates(count)} below it used for mail, now {fallen[0].trouble}: "
        mend = f"see: smimefilter certificate show {authority.thumbprint[:16]}"
        yield Finding(Grade.WARNING, f"CA {_about(authority)}", what + fallen[0].why, mend)
    for concern in found:
        if concern.blamed is not None:
            continue
        about = f"{concern.user.address}, {concern.subject} {concern.thumbprint[:16]}"
        what = f"used for mail ({concern.user.purpose}) and is {concern.trouble}"
        what += f": {concern.why}" if concern.trouble is not Trouble.EXPIRING else ""
        what += f", valid until {concern.until:%Y-%m-%d}"
        instead = "another certificate takes its place" if concern.covered else "get a new one"
        yield Finding(Grade.WARNING, about, what, instead)
    if users and not found:
        count = len({user.address for user in users})
        yield Finding(Grade.GOOD, "active users", f"{count}, certificates in order")


def _authorities(moment: Moment, users: Sequence[ActiveUser]) -> Iterator[Finding]:
    """CAs that active users' certificates lead through and that end soon, or have ended: with
    them end all below."""
    needed: dict[Certificate, set[str]] = {}
    for user in users:
        for authority in authorities_of(moment, user):
            needed.setdefault(authority, set()).add(user.address)
    for authority, addresses in needed.items():
        if authority.not_after - moment.now < SOON:
            about = f"CA {authority.subject} {authority.thumbprint[:16]}"
            until = f"{authority.not_after:%Y-%m-%d}"
            what = f"ends on {until}, and certificates of {len(addresses)} active users with it"
            yield Finding(Grade.WARNING, about, what, "import its renewed certificate")


def _is_over(certificate: Certificate, now: datetime) -> bool:
    try:
        return certificate.not_after < now
    except UnreadableCertificate:
        return False


def _policies(moment: Moment) -> Iterator[Finding]:
    """Policies as they were shipped, and those that make nobody ours."""
    tree = moment.snapshot.tree
    scopes = [*tree.database.items(), *tree.files.items()]
    examples = sorted({scope for scope, _ in scopes if _is_example(scope)})
    if examples:
        what = f"set for examples: {', '.join(examples)}"
        yield Finding(Grade.WARNING, "policies", what, "put your own domains in their place")
    localities = (set_.get(LOCALITY.name) for _, set_ in scopes)
    if not any(found and found.value is Locality.INTERNAL for found in localities):
        what = "no domain is `locality: internal`: nobody is one of our own people"
        yield Finding(Grade.WARNING, "policies", what, "say so for your own domains")


def _is_example(scope: str) -> bool:
    """The domains that documentation uses, RFC 2606."""
    domain = scope.rpartition("@")[2].removeprefix("*.")
    labels = domain.split(".")
    return labels[-1] == "example" or (labels[-2:-1] == ["example"] and len(labels) >= 2)


def _named_certificates(moment: Moment) -> Iterator[Finding]:
    """Thumbprints in policies that are not in the store, or cannot be used."""
    tree = moment.snapshot.tree
    for scopes in (tree.database, tree.files):
        for scope, name, thumbprint, source in _thumbprints(scopes):
            certificate = moment.snapshot.certificates.by_thumbprint(thumbprint)
            about = f"{name} at {scope} ({source})"
            if certificate is None:
                what = f"{thumbprint[:16]}… is not in the store"
                mend = "import it, or take it out of the policy"
                yield Finding(Grade.BAD, about, what, mend)
                continue
            purpose = Purpose.SIGN if name == SIGNING_CERTIFICATE.name else Purpose.ENCRYPT
            verdict = moment.verdict(certificate, purpose, moment.view(""))
            if not verdict.usable:
                what = f"{certificate.subject} is {verdict.standing}"
                mend = f"see: smimefilter certificate show {thumbprint[:16]}"
                yield Finding(Grade.BAD, about, what, mend)


def _thumbprints(scopes: Scopes) -> Iterator[tuple[str, str, str, str]]:
    for scope, settings in scopes.items():
        for preference in (ADDITIONAL_CERTIFICATES, ENCRYPTION_CERTIFICATES):
            setting = settings.get(preference.name)
            if setting and isinstance(setting.value, tuple):
                for thumbprint in setting.value:
                    yield scope, preference.name, thumbprint, setting.source
        setting = settings.get(SIGNING_CERTIFICATE.name)
        if setting and isinstance(setting.value, str):
            yield scope, SIGNING_CERTIFICATE.name, setting.value, setting.source


def _own_crls(
    store: StoreState, now: datetime, cas: Iterable[Certificate], keys: KeyRing | None
) -> Iterator[Finding]:
    """CRLs of CAs of ours that end without a next one: with them everybody that looks stops
    trusting what they issued."""
    for ca in cas:
        last = _last_crl([one for one in store.crls if one.origin == origin_of(ca)])
        if _is_over(ca, now) or (last is not None and _lasts(last, now)):
            continue
        what = "it has no CRL that can be read"
        if last is not None and last.next_update is not None:
            verb = "ended" if last.next_update <= now else "ends"
            what = f"its CRL {verb} on {last.next_update:%Y-%m-%d}"
        what, mend = _renewal(ca, what, keys)
        is_late = last is None or last.next_update is None or last.next_update <= now
        yield Finding(Grade.BAD if is_late else Grade.WARNING, f"CA {_about(ca)}", what, mend)


def _last_crl(found: Iterable[CrlEntry]) -> Crl | None:
    crls = []
    for entry in found:
        with contextlib.suppress(UnreadableCrl):  # told of with all others
            crls.append(Crl.read(entry.der))
    return max(crls, key=lambda crl: crl.this_update, default=None)


def _lasts(crl: Crl, now: datetime) -> bool:
    """Whether it is as good as it should be: the next one is made after half of its time."""
    if crl.next_update is None:
        return True
    left, whole = crl.next_update - now, crl.next_update - crl.this_update
    return left > min(CRL_SOON, whole * 2 / 5)


def _renewal(ca: Certificate, what: str, keys: KeyRing | None) -> tuple[str, str]:
    command = f"smimefilter crl create --ca {ca_id(ca)}"
    if keys is not None and not keys.has(ca.thumbprint):
        mend = f"smimefilter key import FILE, then: {command} --days 180; see docs/ca.md"
        return f"{what}, and its key is offline", mend
    try:
        if keys is not None:
            keys.private_key(ca.thumbprint)
    except KeyTrouble as error:
        if keys is not None and keys.in_token(ca.thumbprint):
            return f"{what}, and {error}", "see: smimefilter key token list"
        return f"{what}, and {error}", "import its key again: smimefilter key import FILE"
    return what, f"see that the filter runs and `ca-crl-renewal` is on; or: {command}"


def _crls(store: StoreState, now: datetime, ours: Collection[str]) -> Iterable[Finding]:
    """Those that cannot be read or are late; of the latter not our CAs', by their origins."""
    for entry in store.crls:
        try:
            crl = Crl.read(entry.der)
        except UnreadableCrl as error:
            yield Finding(Grade.BAD, f"CRL from {entry.origin}", str(error), "import it anew")
            continue
        if crl.next_update and crl.next_update < now and entry.origin not in ours:
            what = f"its next update was due on {crl.next_update:%Y-%m-%d}"
            mend = "fetch a newer one: smimefilter crl update; or smimefilter crl import FILE"
            yield Finding(Grade.WARNING, f"CRL of {crl_issuer(entry.der)}", what, mend)


_MENDS: Final = (  # by words of what went wrong
    ("no CA at hand signed it", "import the certificate of its issuer"),
    ("of all CRLs together", "raise `fetch: max-crls-size` in the settings, and restart"),
    ("larger than", "raise `fetch: max-crl-size` in the settings, and restart"),
    ("named by `allow`", "name its network in `fetch: allow` in the settings, and restart"),
    (
        "past its next update",
        "ask its CA: it serves an old CRL; or: smimefilter crl import FILE",
    ),
    ("not a CRL", "ask its CA what is there instead; or: smimefilter crl import FILE"),
    ("older than the one at hand", "ask its CA: it serves an old CRL"),
)


def _mend(outcome: str) -> str:
    found = (mend for words, mend in _MENDS if words in outcome)
    return next(found, "see that it can be reached from here, then: smimefilter crl update")


def _sources(store: StoreState, sources: Sequence[CrlSource]) -> Iterator[Finding]:
    """Where CRLs cannot be had; those that nobody but correspondents' certificates name, as
    they came with signatures, are for others to mend and come in one line."""
    failing = [source for source in sources if source.failures]
    ours = {
        url
        for entry in store.certificates
        if failing and not entry.origin.startswith(LEARNT)
        for url in crl_urls(entry.certificate)
    }
    theirs = [source for source in failing if source.url not in ours]
    if theirs:
        what = f"{len(theirs)} of {len(sources)} fail that certificates of correspondents name"
        mend = "see: smimefilter crl sources"
        yield Finding(Grade.WARNING, "CRL sources", what, mend)
    for source in failing:
        if source in theirs:
            continue
        last = f"{source.succeeded:%Y-%m-%d %H:%M}" if source.succeeded else "never"
        what = f"{source.outcome}; last success: {last}, failures since: {source.failures}"
        yield Finding(Grade.WARNING, source.url, what, _mend(source.outcome))
    if sources and not failing:
        yield Finding(Grade.GOOD, "CRL sources", f"{len(sources)}, none failing")
