"""The signed mails of NIST PKITS, opened as every mail is: all that the suite has of them."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import cryptography_vectors
import pytest

from smimefilter.flow.keyfinder import KeyFinder
from smimefilter.flow.opening import open_mail
from smimefilter.message.wire import Message
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.crl import Crl
from smimefilter.plan.facts import Mail
from smimefilter.plan.opened import OpeningRules, Signature, SignedLayer, SignerReport
from smimefilter.plan.snapshot import CertificateIndex, Snapshot
from smimefilter.policy.preferences import preference
from smimefilter.policy.tree import Setting, Tree
from smimefilter.trust.cache import Trust
from smimefilter.trust.knowledge import Knowledge
from tests.support.plans import World
from tests.support.ring import Ring

TABLE: Final = Path(__file__).parents[2] / "vectors" / "pkits" / "expected.tsv"
DATA: Final = Path(cryptography_vectors.__file__).parent / "x509" / "PKITS_data"
AT: Final = datetime(2015, 1, 1, tzinfo=UTC)
RULES: Final = {
    "require-crl": "yes", "allow-md5-signatures": "yes", "allow-sha1-signatures": "yes",
    "minimum-rsa-bits": "1024",
}  # fmt: skip
ALL_CRLS: Final = " ".join(file.name for file in (DATA / "crls").glob("*.crl"))
MAILS: Final = sorted((DATA / "smime").glob("*.eml"))


@cache
def certificate(name: str) -> Certificate:
    return Certificate((DATA / "certs" / name).read_bytes())


@cache
def crl(name: str) -> Crl:
    return Crl.read((DATA / "crls" / name).read_bytes())


@cache
def rows() -> dict[Certificate, dict[str, str]]:
    """By end entity: the case with the inputs that mail has, which ask for nothing."""
    found: dict[Certificate, dict[str, str]] = {}
    with TABLE.open(newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE):
            if not any(json.loads(row["parameters"] or "{}").values()):
                found[certificate(row["end_entity"])] = row
            else:
                found.setdefault(certificate(row["end_entity"]), row)
    return found


def opened(mail: bytes, row: dict[str, str]) -> SignerReport:
    knowledge = Knowledge(
        roots=[certificate("TrustAnchorRootCertificate.crt")],
        authorities=[certificate(name) for name in row["intermediates"].split()],
        crls=[crl(name) for name in ("TrustAnchorRootCRL.crl", *row["crls"].split())],
    )
    settings: dict[str, Any] = {
        name: Setting(preference(name).parse_setting(raw), "test")
        for name, raw in RULES.items()
    }
    snapshot = Snapshot(1, Tree({"global": settings}), CertificateIndex(()), Trust(knowledge))
    keys = KeyFinder((), Ring(World()))
    found = open_mail(Mail(Message(mail)), OpeningRules(), keys, snapshot.at(AT))
    (layer,) = found.layers
    assert isinstance(layer, SignedLayer)
    (signer,) = layer.signers
    return signer


def expected(name: str, row: dict[str, str]) -> bool:
    """The outcome with the inputs that ask for nothing. Where the table has others only, or
    (for texts to be shown to a user) no outcome at all, the name of the case tells it."""
    if "expected" in row and not row["parameters"]:
        return row["expected"] == "valid"
    return "Invalid" not in name


@pytest.mark.parametrize("mail", MAILS, ids=lambda mail: mail.stem)
def test_a_mail_of_the_suite(mail: Path) -> None:
    raw = mail.read_bytes()
    first = opened(raw, {"intermediates": "", "crls": ""})
    assert first.certificate is not None
    row = rows().get(first.certificate) or {"intermediates": "", "crls": ALL_CRLS}
    signer = opened(raw, row)
    assert signer.flaw is None
    assert signer.verdict is not None
    usable = signer.verdict.usable
    assert usable == expected(mail.stem, row), [str(one) for one in signer.verdict.reasons]
    named = Mail(Message(raw)).author in signer.addresses  # few certificates name an address
    good = Signature.GOOD if named else Signature.MISMATCH
    assert signer.signature is (good if usable else Signature.UNTRUSTED)


def test_all_mails_of_the_suite_are_here() -> None:
    assert len(MAILS) == 224
