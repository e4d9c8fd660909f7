"""DSA keys that leave out their parameters, which are then those of the issuer's key.

RFC 3279 §2.3.2, RFC 5280 §6.1.4 (e). The parameters are taken from an issuer whose signature
on the certificate is good. Never raises.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence

from cryptography.hazmat.primitives.asymmetric import dsa

from smimefilter.pki import tlv
from smimefilter.pki.certificate import Certificate, UnreadableCertificate
from smimefilter.pki.names import NameKey

from .link import Link
from .outline import public_key_of

Index = MutableMapping[NameKey, list[Link]]  # by subject


def whole(link: Link, index: Index) -> Link:
    """The same link with its whole key, if an issuer in the index has its parameters."""
    if not _inherits(link) or "public_key" in vars(link.certificate):
        return link
    return _with_parameters(link, index.get(link.issuer_name, ()))


def make_whole(among: Index, index: Index | None = None) -> None:
    """Do so with all links of an index, from the top down. `index`: where their issuers are
    looked for, when that is a larger one."""
    index = among if index is None else index
    bare = [links for links in among.values() if any(map(_inherits, links))]
    for _ in bare:  # at least one level in each round
        for links in bare:
            links[:] = [whole(link, index) for link in links]


def _inherits(link: Link) -> bool:
    try:
        return link.certificate.inherits_parameters
    except UnreadableCertificate:
        return False


def _with_parameters(link: Link, issuers: Sequence[Link]) -> Link:
    for issuer in issuers:
        try:
            key = issuer.certificate.public_key
            if isinstance(key, dsa.DSAPublicKey) and link.signed_by(issuer):
                public_key = _whole_key(link.certificate, key)
                return Link(Certificate.known(link.certificate.der, public_key=public_key))
        except (UnreadableCertificate, ValueError):
            continue
    return link


def _whole_key(certificate: Certificate, issuer: dsa.DSAPublicKey) -> dsa.DSAPublicKey:
    own = public_key_of(certificate.der)
    start, end = tlv.whole(own, tlv.INTEGER)
    y = int.from_bytes(own[start:end], "big")
    parameters = issuer.public_numbers().parameter_numbers
    return dsa.DSAPublicNumbers(y, parameters).public_key()
