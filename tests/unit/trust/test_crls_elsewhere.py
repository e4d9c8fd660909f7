"""CRLs at random, beside another implementation: whom we clear, it clears too.

The other way round is not asked: a listing revokes here even where the CRL could not clear, and
only what was on hold is taken back (`docs/decisions/0007-revocation.md`). Left out, as
RFC 5280 §6.3.3 (b) has it otherwise than done there: the issuer's own CRL where another issuer
is named, which does as well, and another's where none is named, which says nothing.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from asn1crypto import crl as asn1_crl
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from hypothesis import event, given, settings
from hypothesis import strategies as st
from pyhanko_certvalidator.authority import CertTrustAnchor
from pyhanko_certvalidator.context import ValidationContext
from pyhanko_certvalidator.errors import ValidationError
from pyhanko_certvalidator.path import ValidationPath
from pyhanko_certvalidator.validate import async_validate_path

from smimefilter.trust.verdict import Purpose, TrustRules
from tests.support.crls import special_crl
from tests.support.pki import NOW, root
from tests.support.points import directory, indirect_crl, point, pointed, relative, url
from tests.support.trust import knowing, verdict

ROOT = root("Random Root", key="p256")
ISSUER = ROOT.issue("Issuer", key="p256", key_usage=frozenset({"cRLSign"}))
SOME = frozenset({x509.ReasonFlags.key_compromise, x509.ReasonFlags.ca_compromise})
REST = frozenset(x509.ReasonFlags) - SOME - {
    x509.ReasonFlags.unspecified, x509.ReasonFlags.remove_from_crl,
}  # fmt: skip
A, B = url("http://crl.example.com/a"), url("http://crl.example.com/b")
PLACES = [A, B, A + B, directory(ROOT, "Part"), relative("Part")]
LEAVES = [
    ROOT.issue("Plain", mail="plain@example.com", key="p256"),
    *(pointed(ROOT, f"At {n}", [point(place)]) for n, place in enumerate(PLACES)),
    pointed(ROOT, "Parts", [point(A, SOME), point(B, REST)]),
    pointed(ROOT, "Indirect", [point(A, issuer=ISSUER)]),
    pointed(ROOT, "Unnamed", [point(issuer=ISSUER)]),
]
INDIRECT = LEAVES[-2:]
SCOPES = [
    None, {"full_name": A}, {"full_name": B}, {"full_name": directory(ROOT, "Part")},
    {"relative_name": relative("Part")}, {"only_some_reasons": SOME},
    {"only_some_reasons": REST}, {"full_name": A, "only_some_reasons": SOME},
    {"only_contains_user_certs": True}, {"only_contains_ca_certs": True},
    {"only_contains_attribute_certs": True}, {"indirect_crl": True},
]  # fmt: skip
HOUR = timedelta(hours=1)
HOLD, REMOVED = x509.ReasonFlags.certificate_hold, x509.ReasonFlags.remove_from_crl


@st.composite
def crl(draw, leaf, revoked):
    listed = [leaf] if revoked else draw(st.sampled_from([[], [1]]))
    if leaf in INDIRECT and draw(st.booleans()):
        names = draw(st.sampled_from([None, A, directory(ISSUER)]))
        issuers = [(leaf, draw(st.sampled_from([None, ROOT])))] if leaf in listed else []
        return indirect_crl(ISSUER, issuers, names=names)
    this = NOW - draw(st.integers(-1, 5)) * HOUR
    is_delta = draw(st.integers(0, 3)) == 0
    if is_delta:
        listed = draw(st.sampled_from([[], [leaf]]))
    return special_crl(
        ISSUER if leaf in INDIRECT else draw(st.sampled_from([ROOT] * 9 + [ISSUER])),
        listed,
        reason=draw(st.sampled_from([None, HOLD, REMOVED if is_delta else HOLD])),
        this_update=this,
        next_update=NOW + (draw(st.sampled_from([-1, 3])) if is_delta else 3) * HOUR,
        number=draw(st.integers(1, 4)),
        delta_of=draw(st.integers(1, 3)) if is_delta else None,
        scope=draw(st.sampled_from(SCOPES + [None] * 4)),
        unknown=draw(st.integers(0, 9)) == 0,
    )


@st.composite
def worlds(draw):
    """A certificate and CRLs. Complete ones all list it or none does, as the newest counts here
    and any one there; and they are current, as a delta renews its base only here."""
    leaf, revoked = draw(st.sampled_from(LEAVES)), draw(st.integers(0, 2)) == 0
    return leaf, draw(st.lists(crl(leaf, revoked), min_size=1, max_size=4))


def cleared_elsewhere(leaf, crls):
    async def run():
        anchor = CertTrustAnchor(asn1_x509.Certificate.load(ROOT.certificate.der))
        parsed = asn1_x509.Certificate.load(leaf.certificate.der)
        context = ValidationContext(
            trust_roots=[asn1_x509.Certificate.load(ROOT.certificate.der)],
            other_certs=[asn1_x509.Certificate.load(ISSUER.certificate.der)],
            crls=[asn1_crl.CertificateList.load(crl) for crl in crls],
            moment=NOW,
            time_tolerance=timedelta(0),
            revocation_mode="require",
            allow_fetching=False,
        )
        await async_validate_path(context, ValidationPath(anchor, interm=[], leaf=parsed))

    try:
        asyncio.run(run())
    except ValidationError as error:
        return str(error)
    return ""


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_whom_we_clear_is_cleared_elsewhere(world):
    leaf, crls = world
    known = knowing([ROOT], [ISSUER], crls)
    found = verdict(leaf, known, purpose=Purpose.ANY, rules=TrustRules(require_crl=True))
    event(f"usable {found.usable}")
    if found.usable:
        assert cleared_elsewhere(leaf, crls) == ""
