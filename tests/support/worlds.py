"""PKIs made at random: CAs that certify each other in any way, with and without faults.

A `World` is plain data that hypothesis makes and shrinks; `Built` has its certificates and
CRLs. CAs are parties, a name with a key: two of them share a name, as after a change of key,
two share a key. All certificates of a party, renewed ones and those from other CAs, have the
same key, and every certificate is made once and kept for the run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import strategies as st

from smimefilter.pki.build import Identity
from smimefilter.pki.certificate import Certificate
from tests.support.pki import NOW, Issued, key_of, root

DAY: Final = timedelta(days=1)
ADDRESS: Final = "alice@inner.example"

PARTIES: Final = (  # name, kind of key, whose; the first two may be roots
    ("Root A", "p256", "Root A"),
    ("Root B", "rsa2048", "Root B"),
    ("CA 1", "p256", "CA 1 before"),
    ("CA 1", "p384", "CA 1 after"),
    ("CA 2", "ed25519", "CA 2"),
    ("CA 3", "p256", "CA 2 and 3"),
    ("CA 4", "p256", "CA 2 and 3"),
    ("CA 5", "rsa1024", "CA 5"),
)
ROOTS: Final = (0, 1)
SIGNS_WITH_PSS: Final = 1
WEAK: Final = 7

FAULTS: Final[dict[str, dict[str, Any]]] = {  # of a CA's certificate; not all are some
    "": {},
    "renewed": {"not_before": NOW - 30 * DAY},
    "ends soon": {"not_after": NOW + 20 * DAY},
    "no CA": {"ca": False},
    "no cert sign": {"key_usage": frozenset({"cRLSign"})},
    "no CRL sign": {"key_usage": frozenset({"keyCertSign"})},
    "path length 0": {"path_length": 0},
    "path length 1": {"path_length": 1},
    "expired": {"not_after": NOW - DAY},
    "not yet": {"not_before": NOW + DAY},
    "unknown extension": {"unknown_critical": True},
    "for others": {"permitted_addresses": ("other.example",)},
    "for these": {"permitted_addresses": ("inner.example",)},
    "not for these": {"excluded_addresses": ("inner.example",)},
}
LEAVES: Final[dict[str, dict[str, Any]]] = {
    "": {"key": "rsa2048"},
    "ends soon": {"key": "rsa2048", "not_after": NOW + 15 * DAY},
    "EC": {"key": "p256"},
    "expired": {"key": "rsa2048", "not_after": NOW - DAY},
    "signs only": {"key": "rsa2048", "key_usage": frozenset({"digitalSignature"})},
    "for others": {"key": "rsa2048", "mail": ("alice@other.example",)},
}
CRLS: Final[dict[str, dict[str, Any]]] = {  # what a party's CRL is like
    "": {},
    "short": {"next_update": NOW + DAY / 2},
    "past": {"this_update": NOW - 9 * DAY, "next_update": NOW - DAY},
    "not yet": {"this_update": NOW + DAY, "next_update": NOW + 9 * DAY},
    "forged": {},
    "missing": {},
}


@dataclass(frozen=True, order=True)
class Edge:
    """One certificate of a CA."""

    subject: int
    issuer: int
    fault: str = ""


@dataclass(frozen=True)
class World:
    """Which certificates and CRLs there are, and what they say."""

    edges: frozenset[Edge]
    roots: frozenset[int] = frozenset({0})
    leaf_issuer: int = 2
    leaf: str = ""
    crls: tuple[str, ...] = ("",) * len(PARTIES)  # of each party
    revoked: frozenset[Edge | None] = frozenset()  # None: the end entity


@dataclass
class Built:
    """The certificates and CRLs of a world."""

    world: World
    leaf: Issued = field(init=False)
    roots: list[Issued] = field(init=False)
    authorities: list[Issued] = field(init=False)
    crls: list[bytes] = field(init=False)

    def __post_init__(self) -> None:
        world = self.world
        self.leaf = leaf_of(world.leaf_issuer, world.leaf)
        self.roots = [itself(party) for party in sorted(world.roots)]
        self.authorities = [made(edge) for edge in sorted(world.edges)]
        self.crls = [crl for n in range(len(PARTIES)) for crl in self._crls(n)]

    def _crls(self, party: int) -> Iterator[bytes]:
        kind = self.world.crls[party]
        if kind == "missing":
            return
        revoked = [
            self.leaf if edge is None else made(edge)
            for edge in self.world.revoked
            if party == (self.world.leaf_issuer if edge is None else edge.issuer)
        ]
        serials = tuple(sorted(one.certificate.serial for one in revoked))
        yield _crl(party, kind, serials)

    def paths(self) -> Iterator[list[Issued]]:
        """Every way from the leaf's issuer to a root, no party twice; root last."""
        yield from self._paths([], self.world.leaf_issuer, {self.world.leaf_issuer})

    def _paths(self, below: list[Issued], party: int, seen: set[int]) -> Iterator[list[Issued]]:
        if party in self.world.roots:
            yield [*below, itself(party)]
            return
        for edge in sorted(self.world.edges):
            if edge.subject == party and edge.issuer not in seen:
                above = {*seen, edge.issuer}
                yield from self._paths([*below, made(edge)], edge.issuer, above)


@cache
def itself(party: int) -> Issued:
    """The certificate a party gives itself; its roots are these."""
    name, kind, owner = PARTIES[party]
    return root(name, key=key_of(kind, owner))


@cache
def made(edge: Edge) -> Issued:
    """The certificate of an edge."""
    name, kind, owner = PARTIES[edge.subject]
    special = {"ca": True, "key": key_of(kind, owner)} | FAULTS[edge.fault]
    return _signed(itself(edge.issuer).issue(name, **special), edge.issuer)


@cache
def leaf_of(issuer: int, kind: str) -> Issued:
    """An end entity of a party."""
    special = {"mail": ADDRESS} | LEAVES[kind]
    return _signed(itself(issuer).issue("Alice", **special), issuer)


@cache
def _crl(party: int, kind: str, serials: tuple[int, ...]) -> bytes:
    issuer = itself(party)
    if kind == "forged":
        name, kind_of_key, _ = PARTIES[party]
        issuer = root(name, key=key_of(kind_of_key, "forger"))
    return issuer.crl(serials, **CRLS[kind])


def _signed(one: Issued, issuer: int) -> Issued:
    """The same with a signature by RSASSA-PSS, if that is how this issuer signs."""
    if issuer != SIGNS_WITH_PSS:
        return one
    parsed, key = one.certificate.parsed, itself(issuer).key
    assert isinstance(key, rsa.RSAPrivateKey)
    builder = x509.CertificateBuilder(
        parsed.issuer, parsed.subject, one.certificate.parsed.public_key(),
        parsed.serial_number, parsed.not_valid_before_utc, parsed.not_valid_after_utc,
        list(parsed.extensions),
    )  # fmt: skip
    salted = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    signed = builder.sign(key, hashes.SHA256(), rsa_padding=salted)
    certificate = Certificate(signed.public_bytes(Encoding.DER))
    return Issued(Identity(certificate, one.key, one.chain))


def hours(soonest: datetime, latest: datetime) -> st.SearchStrategy[datetime]:
    """Times between two, to the hour."""
    many = int((latest - soonest) / timedelta(hours=1))
    return st.integers(0, many).map(lambda n: soonest + timedelta(hours=n))


@st.composite
def worlds(
    draw: st.DrawFn,
    faults: Collection[str] = FAULTS,
    leaves: Collection[str] = LEAVES,
    crls: Collection[str] = CRLS,
) -> World:
    """Worlds with these kinds of faults. Each CA has a certificate from an earlier one; then
    there are others in any direction. About half of all is without fault."""
    fault = st.one_of(st.just(""), st.just(""), st.sampled_from(list(faults)))
    edges = [
        Edge(subject, draw(st.integers(0, subject - 1)), draw(fault))
        for subject in draw(st.sets(st.integers(len(ROOTS), len(PARTIES) - 1), min_size=2))
    ]
    for _ in range(draw(st.integers(0, 6))):
        subject, issuer = draw(st.permutations(range(len(PARTIES))))[:2]
        edges.append(Edge(subject, issuer, draw(fault)))
    crl = st.one_of(st.just(""), st.just(""), st.just(""), st.sampled_from(list(crls)))
    return World(
        edges=frozenset(edges),
        roots=draw(st.sampled_from([frozenset(ROOTS), frozenset(ROOTS), frozenset({0})])),
        leaf_issuer=draw(st.sampled_from(edges)).subject,
        leaf=draw(st.one_of(st.just(""), st.sampled_from(list(leaves)))),
        crls=tuple(draw(crl) for _ in PARTIES),
        revoked=frozenset(draw(st.lists(st.sampled_from([None, *edges]), max_size=2)))
        if draw(st.booleans())
        else frozenset(),
    )
