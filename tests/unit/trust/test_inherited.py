"""DSA keys without parameters: read, and made whole by the issuer's."""

from __future__ import annotations

from pathlib import Path

import cryptography_vectors
import pytest

from smimefilter.pki.certificate import Certificate, UnreadableCertificate
from smimefilter.trust.knowledge import Knowledge

CERTIFICATES = Path(cryptography_vectors.__file__).parent / "x509" / "PKITS_data" / "certs"


def read(name):
    return Certificate.read((CERTIFICATES / f"{name}.crt").read_bytes())


ROOT, DSA = read("TrustAnchorRootCertificate"), read("DSACACert")
INHERITING, LEAF = (
    read("DSAParametersInheritedCACert"),
    read("ValidDSAParameterInheritanceTest5EE"),
)


def test_the_certificate_is_read_but_for_its_key():
    assert INHERITING.inherits_parameters
    assert not DSA.inherits_parameters
    assert INHERITING.key_algorithm == "dsa"
    assert "DSA Parameters Inherited CA" in INHERITING.subject
    with pytest.raises(UnreadableCertificate):
        _ = INHERITING.public_key


@pytest.mark.parametrize("order", [[DSA, INHERITING], [INHERITING, DSA]])
def test_the_key_is_made_whole_from_above(order):
    known = Knowledge(roots=[ROOT], authorities=order)
    leaf, above = known.link(LEAF), known.link(INHERITING)
    assert above.certificate.public_key.key_size == DSA.public_key.key_size
    assert leaf.certificate.public_key.key_size == DSA.public_key.key_size
    assert leaf.signed_by(above)
    with pytest.raises(UnreadableCertificate):
        _ = LEAF.public_key  # what is in the store stays as it is


def test_without_its_issuer_it_stays_bare():
    known = Knowledge(roots=[ROOT], authorities=[INHERITING])
    assert not known.link(LEAF).signed_by(known.link(INHERITING))
