"""What a signature of an incoming mail is worth, and what it teaches.

A signature is good when it is right, its certificate is trusted now (not at the time that the
signer claims), and it names the one address in the one From. What else came along counts for
what it is: intermediates may lead to a root that is at hand, and the author may have a
certificate for encryption beside.

CPU only; the clock is in the moment. Leaves digests and keys to `cms/verify.py`, trust to
`trust/`. RFC 8550 §3 and §4.4. Raises nothing for what came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from smimefilter.base.address import BadAddress
from smimefilter.base.algorithms import Capabilities
from smimefilter.cms.capabilities import read_capabilities
from smimefilter.cms.identifiers import Identifier
from smimefilter.cms.signed import SignedData
from smimefilter.cms.verify import Checked, verify
from smimefilter.pki.certificate import Certificate, UnreadableCertificate
from smimefilter.pki.tlv import BadDer
from smimefilter.plan.facts import Mail
from smimefilter.plan.opened import Signature, SignerReport
from smimefilter.plan.snapshot import Moment, trust_rules
from smimefilter.policy.preferences import ALLOW_SHA1_SIGNATURES
from smimefilter.policy.tree import View
from smimefilter.trust.outline import public_key_of
from smimefilter.trust.verdict import Purpose, Standing

_WEAK: Final = frozenset({"sha1"})
_ORDINARY: Final = 8192  # octets of a certificate, up to which it is remembered


@lru_cache(maxsize=2048)
def _remembered(der: bytes) -> Certificate:
    return Certificate(der)


def _certificate(der: bytes) -> Certificate:
    """A certificate that came along: people send the same ones with each mail, and what was
    read from one need not be read again."""
    return _remembered(der) if len(der) <= _ORDINARY else Certificate(der)


class SignerJudge:
    """Judges the signers of one mail's layers."""

    def __init__(self, mail: Mail, moment: Moment) -> None:
        self._author: Final = mail.author
        self._moment: Final = moment

    def reports(self, data: SignedData, forms: Sequence[bytes]) -> tuple[SignerReport, ...]:
        """A report for each signer. `forms`: the content as it came, and may have been."""
        contents = [(form,) for form in forms]
        along = self._along(data)
        checked = verify(data, contents, along, self._at_hand)
        return tuple(self._report(one, along) for one in checked)

    def _along(self, data: SignedData) -> list[Certificate]:
        """The certificates that came along. A DSA key may have to be completed with the
        parameters of its issuer's before it is of use."""
        found = [_certificate(one) for one in data.certificates]
        if any(map(_inherits, found)):
            known = self._moment.snapshot.trust.knowledge.with_certificates(found)
            found = [known.link(one).certificate if _inherits(one) else one for one in found]
        return found

    def _at_hand(self, signer: Identifier) -> Iterable[Certificate]:
        """Certificates in the store that may be the signer's: those of the author."""
        if self._author is None:
            return ()
        known = self._moment.snapshot.certificates.by_address(self._author)
        return (one for one in known if signer.names(one))

    def _report(self, checked: Checked, along: list[Certificate]) -> SignerReport:
        report = SignerReport(
            Signature.BAD,
            checked.certificate,
            flaw=checked.flaw,
            digest=checked.digest,
            signing_time=checked.signing_time,
            capabilities=_capabilities(checked),
        )
        certificate = checked.certificate
        if checked.flaw is not None or certificate is None:
            return report
        try:
            addresses = certificate.addresses
        except UnreadableCertificate:
            return report
        author = self._author
        if author in addresses:  # the one that counts comes first
            addresses = tuple(dict.fromkeys((author, *addresses)))
        view = self._view(author or (addresses[0] if addresses else ""))
        if view is None:
            return replace(report, signature=Signature.MISMATCH, addresses=addresses)
        moment = self._moment
        verdict = moment.snapshot.trust.verdict_among(
            certificate, Purpose.VERIFY, moment.now, trust_rules(view), along
        )
        weak = checked.digest in _WEAK and not view.get(ALLOW_SHA1_SIGNATURES).value
        if not verdict.usable:
            signature = Signature.UNTRUSTED
        elif weak:
            signature = Signature.WEAK
        elif author is None or author not in addresses:
            signature = Signature.MISMATCH
        else:
            signature = Signature.GOOD
        report = replace(report, signature=signature, addresses=addresses, verdict=verdict)
        if signature is not Signature.GOOD:
            return report
        return replace(
            report,
            along=(*verdict.path[1:-1], *self._others(along, certificate, view)),
            new_key=self._is_new_key(certificate, view),
        )

    def _others(
        self, along: list[Certificate], signer: Certificate, view: View
    ) -> list[Certificate]:
        """The author's other certificates that came along, such as one for encryption alone."""
        author, moment = self._author, self._moment
        return [
            one
            for one in along
            if one != signer
            and _names(one, author)
            and moment.snapshot.trust.verdict_among(
                one, Purpose.ENCRYPT, moment.now, trust_rules(view), along
            ).usable
        ]

    def _is_new_key(self, certificate: Certificate, view: View) -> bool:
        """Whether the author is known by other keys only."""
        known = self._moment.snapshot.certificates.by_address(self._author or "")
        own = _key_of(certificate)
        if any(known_by(self._moment, view, [one for one in known if _key_of(one) == own])):
            return False
        return any(known_by(self._moment, view, known))

    def _view(self, address: str) -> View | None:
        try:
            return self._moment.view(address)
        except BadAddress:
            return None


def known_by(
    moment: Moment, view: View, certificates: Iterable[Certificate]
) -> Iterator[Certificate]:
    """Those of a correspondent's certificates that he is known by: trusted, or so until they
    expired. Others may be anybody's."""
    for one in certificates:
        verdict = moment.verdict(one, Purpose.ANY, view)
        if verdict.standing is Standing.EXPIRED:
            last = Moment(moment.snapshot, one.not_after)
            verdict = last.verdict(one, Purpose.ANY, view)
        if verdict.usable:
            yield one


def _key_of(certificate: Certificate) -> bytes:
    """Its public key, or where that cannot be read the certificate."""
    try:
        return public_key_of(certificate.der)
    except BadDer:
        return certificate.der


def _capabilities(checked: Checked) -> Capabilities | None:
    """What was signed; None where nothing was said."""
    return None if checked.capabilities is None else read_capabilities(checked.capabilities)


def _names(certificate: Certificate, author: str | None) -> bool:
    try:
        return author in certificate.addresses and not certificate.is_ca
    except UnreadableCertificate:
        return False


def _inherits(certificate: Certificate) -> bool:
    try:
        return certificate.inherits_parameters
    except UnreadableCertificate:
        return False
