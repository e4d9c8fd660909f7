"""Which CA below a root a certificate comes from.

Whoever has a CA below a root can make certificates, names and URLs without end, and a stranger
can make whatever leads to no root. So what we keep of it is counted by branch, the topmost CA
below a root: what comes by one branch takes no place of what comes by another, and what a
stranger made none of what leads to a root.

Raises `UnreadableCertificate` for a certificate that cannot be read.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from smimefilter.pki.certificate import Certificate, UnreadableCertificate
from smimefilter.pki.names import name_key
from smimefilter.pki.tlv import BadDer

from .knowledge import Knowledge
from .link import Link
from .outline import may_be_ca, may_sign_crls, subject_of
from .search import Way, search

Branch = bytes

CROWD: Final = 16  # certificates of one name and branch; an administrator may import more
NOWHERE: Final = frozenset({b""})  # where what leads to no root is counted


def branches_of(certificate: Certificate, knowledge: Knowledge) -> frozenset[Branch]:
    """The branches that a certificate comes by; none where it leads to no root. What a root
    itself issued is of the root's own."""
    ways = search(knowledge.link(certificate), knowledge).to_roots
    return frozenset(map(_branch, ways))


def branches_below(issuer: Link, knowledge: Knowledge) -> frozenset[Branch]:
    """The branches that what this CA issues comes by."""
    ways = search(issuer, knowledge).to_roots
    return frozenset(_branch((issuer, *way)) for way in ways)


def is_crowded(
    certificate: Certificate, knowledge: Knowledge, wider: Knowledge | None = None
) -> bool:
    """Whether so many of its name have come by its branch that no other is learnt by itself.
    `wider`: the same with what came along and may lead it to a root. CAs, and what may sign
    CRLs and is none, are counted apart: neither keeps the other out. Of what issues nothing
    there is no crowd."""
    may_be = may_be_ca(certificate.der)
    if not (may_be or may_sign_crls(certificate.der)):
        return False
    try:
        named = knowledge.named(name_key(subject_of(certificate.der)))
    except BadDer:
        return True
    rivals = [one.certificate for one in named if may_be_ca(one.certificate.der) == may_be]
    if len(rivals) < CROWD:
        return False
    counts = Counter(branch for one in rivals for branch in _counted_in(one, knowledge))
    own = _counted_in(certificate, wider or knowledge)
    return all(counts[branch] >= CROWD for branch in own)


def _counted_in(certificate: Certificate, knowledge: Knowledge) -> frozenset[Branch]:
    try:
        return branches_of(certificate, knowledge) or NOWHERE
    except UnreadableCertificate:
        return NOWHERE


def _branch(way: Way) -> Branch:
    return (way[-2] if len(way) > 2 else way[-1]).key
