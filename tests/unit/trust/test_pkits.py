"""NIST PKITS through the engine that mail uses; only the algorithm policy is relaxed.

A CRL is required, as the suite assumes. See `tests/vectors/pkits/SOURCE`.
"""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import cryptography_vectors
import pytest

from smimefilter.base.reasons import Because
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.crl import Crl
from smimefilter.trust.cache import Trust
from smimefilter.trust.knowledge import Knowledge
from smimefilter.trust.verdict import PolicyRules, Purpose, TrustRules

TABLE = Path(__file__).parents[2] / "vectors" / "pkits" / "expected.tsv"
DATA = Path(cryptography_vectors.__file__).parent / "x509" / "PKITS_data"
AT = datetime(2015, 1, 1, tzinfo=UTC)
INPUTS = {
    "user_initial_policy_set": "accepted",
    "initial_explicit_policy": "require_explicit",
    "initial_policy_mapping_inhibit": "inhibit_mapping",
    "initial_any_policy_inhibit": "inhibit_any",
}


def cases():
    with TABLE.open(newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield pytest.param(row, id=f"{row['section']} {row['parameters']}".strip())


@cache
def certificate(name):
    return Certificate((DATA / "certs" / name).read_bytes())


@cache
def crl(name):
    return Crl.read((DATA / "crls" / name).read_bytes())


def rules(parameters):
    given = json.loads(parameters) if parameters else {}
    inputs = {INPUTS[name]: value for name, value in given.items()}
    if "accepted" in inputs:
        inputs["accepted"] = frozenset(inputs["accepted"])
    return TrustRules(
        require_crl=True, allow_md5=True, allow_sha1=True, minimum_rsa_bits=1024,
        policies=PolicyRules(**inputs),
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive")
@pytest.mark.parametrize("case", list(cases()))
def test_pkits(case):
    knowledge = Knowledge(
        roots=[certificate("TrustAnchorRootCertificate.crt")],
        authorities=[certificate(name) for name in case["intermediates"].split()],
        crls=[crl(name) for name in ("TrustAnchorRootCRL.crl", *case["crls"].split())],
    )
    asked = certificate(case["end_entity"])
    verdict = Trust(knowledge).verdict(asked, Purpose.ANY, AT, rules(case["parameters"]))
    outcome = "valid" if verdict.usable else "invalid"
    assert outcome == case["expected"], [str(reason) for reason in verdict.reasons]


def test_the_table_is_whole():
    rows = [parameters.values[0] for parameters in cases()]
    assert len(rows) == 246
    assert len({(row["section"], row["parameters"]) for row in rows}) == 246
    assert {row["expected"] for row in rows} == {"valid", "invalid"}


@pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive")
def test_by_default_the_suite_is_refused_for_its_weak_signatures():
    """The relaxed rules above are needed: where a certificate of the suite is signed with
    SHA-1, the usual rules refuse it."""
    knowledge = Knowledge(
        roots=[certificate("TrustAnchorRootCertificate.crt")],
        authorities=[certificate("DSACACert.crt")],
        crls=[crl("TrustAnchorRootCRL.crl"), crl("DSACACRL.crl")],
    )
    asked = certificate("ValidDSASignaturesTest4EE.crt")
    verdict = Trust(knowledge).verdict(asked, Purpose.ANY, AT, TrustRules())
    assert not verdict.usable
    assert {Because.WEAK_KEY, Because.WEAK_ALGORITHM} & {r.because for r in verdict.reasons}
