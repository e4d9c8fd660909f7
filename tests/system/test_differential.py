"""Verdicts beside those of `openssl verify`, over PKIs made at random.

Both are told alike: every certificate below the root needs a CRL, 112 bits of security, the
same time, the same purpose. Where they disagree, a reason has to stand in `DIFFERENCES`; and
each reason there has to occur, or it would hide what it was not written for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

import pytest
from cryptography import x509
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smimefilter.trust.verdict import Purpose, TrustRules
from tests.support.crls import special_crl
from tests.support.pki import NOW, Issued, key_of, root
from tests.support.second_opinions import Opinion, of_openssl
from tests.support.trust import knowing, verdict

pytestmark = pytest.mark.system

DAY: Final = timedelta(days=1)
ADDRESS: Final = "alice@inner.example"
RULES: Final = TrustRules(require_crl=True)

CA: Final[dict[str, dict[str, Any]]] = {  # what may be the matter with a CA's certificate
    "good": {},
    "no CA": {"ca": False},
    "no cert sign": {"key_usage": frozenset({"cRLSign"})},
    "no CRL sign": {"key_usage": frozenset({"keyCertSign"})},
    "path length 0": {"path_length": 0},
    "expired": {"not_after": NOW - DAY},
    "not yet": {"not_before": NOW + DAY},
    "unknown extension": {"unknown_critical": True},
    "for others": {"permitted_addresses": ("other.example",)},
    "for these": {"permitted_addresses": ("inner.example",)},
    "not for these": {"excluded_addresses": ("inner.example",)},
    "weak": {"key": "rsa1024"},
    "RSA": {"key": "rsa2048"},
}
LEAF: Final[dict[str, dict[str, Any]]] = {
    "RSA": {"key": "rsa2048"},
    "EC": {"key": "p256"},
    "Ed25519": {"key": "ed25519"},
    "expired": {"key": "rsa2048", "not_after": NOW - DAY},
    "not yet": {"key": "rsa2048", "not_before": NOW + DAY},
    "unknown extension": {"key": "rsa2048", "unknown_critical": True},
    "weak": {"key": "rsa1024"},
    "signs only": {"key": "rsa2048", "key_usage": frozenset({"digitalSignature"})},
    "non-repudiation": {"key": "rsa2048", "key_usage": frozenset({"nonRepudiation"})},
    "encrypts only": {"key": "rsa2048", "key_usage": frozenset({"keyEncipherment"})},
    "no usage": {"key": "rsa2048", "key_usage": frozenset()},
    "any usage": {
        "key": "rsa2048",
        "extended_key_usage": frozenset({"2.5.29.37.0"}),
    },
    "for the web": {
        "key": "rsa2048",
        "extended_key_usage": frozenset({x509.ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string}),
    },
    "no extended usage": {"key": "rsa2048", "extended_key_usage": frozenset()},
}
CRLS: Final = (
    "good", "revoking", "missing", "past", "not yet", "forged", "old and new",
    "revoking then on hold",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A chain from the top down, a CRL for each that issues, and what is asked."""

    cas: tuple[str, ...] = ()
    leaf: str = "RSA"
    crls: tuple[str, ...] = ("good",)  # of the root, then of each CA
    purpose: Purpose = Purpose.ENCRYPT
    trusted: bool = True
    twin: str = ""  # another certificate of the lowest CA, found first

    def crl_of(self, position: int) -> str:
        return self.crls[position] if position < len(self.crls) else "good"


CASES: Final = st.builds(
    Case,
    cas=st.lists(
        st.one_of(st.sampled_from(["good", "RSA"]), st.sampled_from(sorted(CA))), max_size=3
    ).map(tuple),
    leaf=st.one_of(st.just("RSA"), st.sampled_from(sorted(LEAF))),
    crls=st.lists(
        st.one_of(st.just("good"), st.just("good"), st.sampled_from(CRLS)), max_size=4
    ).map(tuple),
    purpose=st.sampled_from(Purpose),
    trusted=st.sampled_from([True, True, True, False]),
    twin=st.one_of(st.just(""), st.sampled_from(sorted(CA))),
)

TOP: Final = root("Top of differences", key="p256")
STRANGER: Final = root("Top of differences elsewhere", key="p256")


class Built:
    """The certificates and CRLs of a case."""

    def __init__(self, case: Case) -> None:
        chain, others = [TOP], []
        for number, kind in enumerate(case.cas):
            special = {"ca": True, "key": "p256"} | CA[kind]
            name = f"CA {number} {special['key']}"
            chain.append(chain[-1].issue(name, **special))
            if case.twin and number == len(case.cas) - 1:
                twin = {"ca": True} | CA[case.twin] | {"key": key_of(special["key"], name)}
                others.append(chain[-2].issue(name, **twin))
        self.leaf = chain[-1].issue("Leaf", mail=ADDRESS, **LEAF[case.leaf])
        self.authorities = [*others, *chain[1:]]
        self.roots = [TOP if case.trusted else STRANGER]
        below = [*chain[1:], self.leaf]
        self.crls = [
            crl
            for position, issuer in enumerate(chain)
            for crl in _crls(case.crl_of(position), issuer, below[position])
        ]


def _crls(kind: str, issuer: Issued, child: Issued) -> list[bytes]:
    new = special_crl(issuer)
    match kind:
        case "missing":
            return []
        case "revoking":
            return [special_crl(issuer, [child])]
        case "past":
            return [special_crl(issuer, this_update=NOW - 9 * DAY, next_update=NOW - DAY)]
        case "not yet":
            return [special_crl(issuer, this_update=NOW + DAY, next_update=NOW + 9 * DAY)]
        case "forged":
            return [special_crl(issuer, key=STRANGER.key)]
        case "old and new":
            old = {"this_update": NOW - 9 * DAY, "next_update": NOW - DAY, "number": 0}
            return [special_crl(issuer, **old), new]
        case "revoking then on hold":
            hold = x509.ReasonFlags.certificate_hold
            return [special_crl(issuer, [child], reason=hold)]
    return [new]


def ours(case: Case, built: Built) -> bool:
    known = knowing(built.roots, built.authorities, built.crls)
    return verdict(built.leaf, known, purpose=case.purpose, rules=RULES).usable


def theirs(case: Case, built: Built) -> Opinion:
    """What openssl says, and its words."""
    return of_openssl(
        built.leaf, built.roots, built.authorities, built.crls, purpose=case.purpose
    )


# why they may disagree


@dataclass(frozen=True)
class Difference:
    why: str
    holds: Callable[[Case, bool, str], bool]  # case, whether it is usable here, openssl's words
    shown_by: Case


DIFFERENCES: Final = (
    Difference(
        "openssl asks keyEncipherment of keys that agree; EC keys have keyAgreement (RFC 5753)",
        lambda case, here, _: here and case.leaf == "EC" and case.purpose is Purpose.ENCRYPT,
        Case(leaf="EC"),
    ),
    Difference(
        "openssl wants emailProtection by name; anyExtendedKeyUsage does here (RFC 8550)",
        lambda case, here, _: here and case.leaf == "any usage",
        Case(leaf="any usage"),
    ),
    Difference(
        "openssl follows the first issuer that fits by name and key; here the other is tried",
        lambda case, here, _: here and bool(case.twin),
        Case(cas=("good",), twin="no cert sign"),
    ),
)


def disagreement(case: Case) -> str:
    """Empty where both agree or a reason is known; else what both say."""
    built = Built(case)
    here, (there, words) = ours(case, built), theirs(case, built)
    if here == there or any(known.holds(case, here, words) for known in DIFFERENCES):
        return ""
    return f"{case}: usable here {here}, openssl {there}: {words}"


@settings(max_examples=250, deadline=None)
@given(CASES)
@example(Case())
@example(Case(cas=("good", "good", "good"), crls=("good",) * 4))
@example(Case(cas=("path length 0", "good")))
@example(Case(cas=("for others",)))
@example(Case(crls=("revoking",)))
@example(Case(trusted=False))
def test_openssl_says_the_same(case: Case) -> None:
    assert disagreement(case) == ""


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda known: known.why[:30])
def test_each_difference_occurs(difference: Difference) -> None:
    case = difference.shown_by
    built = Built(case)
    here, (there, words) = ours(case, built), theirs(case, built)
    assert here != there
    assert difference.holds(case, here, words)


@pytest.mark.parametrize("kind", sorted(CA))
@pytest.mark.parametrize("crl", CRLS)
def test_one_thing_at_a_time(kind: str, crl: str) -> None:
    for position in range(2):
        crls = ["good", "good"]
        crls[position] = crl
        assert disagreement(Case(cas=(kind,), crls=tuple(crls))) == ""


@pytest.mark.parametrize("leaf", sorted(LEAF))
@pytest.mark.parametrize("purpose", list(Purpose))
def test_every_kind_of_leaf(leaf: str, purpose: Purpose) -> None:
    assert disagreement(Case(cas=("good",), leaf=leaf, purpose=purpose)) == ""


def test_most_cases_are_not_all_alike() -> None:
    """Both outcomes occur, or the comparison shows nothing."""
    good = Case(cas=("good", "RSA"), crls=("good",) * 3)
    assert ours(good, Built(good))
    assert theirs(good, Built(good))[0]
    bad = replace(good, crls=("good", "revoking", "good"))
    assert not ours(bad, Built(bad))
    assert not theirs(bad, Built(bad))[0]
