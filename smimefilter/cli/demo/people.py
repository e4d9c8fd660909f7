"""The people of the demo: a small PKI, valid by the clock, and its files.

    Demo Root CA ── Demo Intermediate CA ─┬─ alice@acme.example      ours, with her key
                                          ├─ bob@partner.example     RSA
                                          ├─ erin@partner.example    elliptic curve
                                          └─ carol@partner.example   expired yesterday

The filter gets the certificates of all and the key of alice. The keys of the others are for
the recipients' side: the checks open with them what arrived.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from smimefilter.pki.build import Identity, Profile, build_crl, generate_key, issue
from smimefilter.pki.export import certificates_pem, identity_pem, identity_pkcs12

from .results import Results

ALICE: Final = "alice@acme.example"
SALES: Final = "sales@acme.example"  # a mailbox without a key
NEWSLETTER: Final = "newsletter@acme.example"
BOB: Final = "bob@partner.example"
ERIN: Final = "erin@partner.example"
CAROL: Final = "carol@partner.example"
DAVE: Final = "dave@friend.example"  # has no certificate

PASSWORD: Final = "demo"  # noqa: S105 - of keys that live as long as the demo
DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class People:
    """Everybody with a certificate, by address."""

    root: Identity
    intermediate: Identity
    by_address: Mapping[str, Identity]
    since: datetime


def make_people(now: datetime) -> People:
    """New keys and certificates for everybody."""
    start, end = now - 400 * DAY, now + 365 * DAY
    root = _authority("Demo Root CA", start, end, None)
    intermediate = _authority("Demo Intermediate CA", start, end, root)
    people = {
        ALICE: _person(ALICE, "rsa2048", start, end, intermediate),
        BOB: _person(BOB, "rsa2048", start, end, intermediate),
        ERIN: _person(ERIN, "p256", start, end, intermediate),
        CAROL: _person(CAROL, "rsa2048", start, now - DAY, intermediate),
    }
    return People(root, intermediate, people, now)


def write_people(people: People, results: Results) -> None:
    """Certificates, CRLs, identities as PKCS#12 for mail programs and as PEM for openssl."""
    for name, authority in (("root", people.root), ("intermediate", people.intermediate)):
        results.write(f"people/{name}.pem", certificates_pem([authority.certificate]))
        results.write(f"people/{name}.crl", _nobody_revoked(authority, people.since))
    results.write("people/password", f"{PASSWORD}\n".encode())
    for address, identity in people.by_address.items():
        name = local_part(address)
        results.write(f"people/{name}.pem", certificates_pem([identity.certificate]))
        results.write(f"people/{name}-key.pem", identity_pem(identity, PASSWORD))
        results.write(f"people/{name}.p12", identity_pkcs12(identity, PASSWORD, name=address))


def local_part(address: str) -> str:
    """What the files of a person are called."""
    return address.partition("@")[0]


def _nobody_revoked(authority: Identity, now: datetime) -> bytes:
    return build_crl(authority, [], this_update=now - DAY, next_update=now + 30 * DAY)


def _authority(name: str, start: datetime, end: datetime, issuer: Identity | None) -> Identity:
    profile = Profile(common_name=name, not_before=start, not_after=end, ca=True)
    return issue(profile, generate_key("p256"), issuer)


def _person(
    address: str, key: str, start: datetime, end: datetime, issuer: Identity
) -> Identity:
    profile = Profile(
        common_name=local_part(address).capitalize(),
        not_before=start,
        not_after=end,
        addresses=(address,),
    )
    return issue(profile, generate_key(key), issuer)
