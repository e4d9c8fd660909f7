"""Usage rules: kind of key, key usage, extended key usage, critical extensions."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from smimefilter.base.reasons import Because
from smimefilter.pki.usage import (
    ANY_EXTENDED_KEY_USAGE,
    EMAIL_PROTECTION,
    for_encryption,
    for_signing,
    unprocessed_extensions,
)
from tests.support.pki import root

SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
RSA, EC, EDWARDS, EXCHANGE = "rsa2048", "p256", "ed25519", "x25519"
BRAINPOOL = ec.generate_private_key(ec.BrainpoolP256R1())
FIT: tuple[Because, ...] = ()


def codes(reasons):
    return tuple(reason.because for reason in reasons)


def alice(**special):
    return root().issue("Alice", mail="alice@example.com", **special).certificate


@pytest.mark.parametrize(
    ("key", "usage", "encrypts", "signs"),
    [
        (RSA, frozenset(), FIT, FIT),  # an empty set leaves the extension out
        (EC, frozenset(), FIT, FIT),
        (RSA, {"keyEncipherment"}, FIT, (Because.KEY_USAGE,)),
        (RSA, {"keyAgreement"}, (Because.KEY_USAGE,), (Because.KEY_USAGE,)),
        (RSA, {"dataEncipherment"}, (Because.KEY_USAGE,), (Because.KEY_USAGE,)),
        (RSA, {"digitalSignature"}, (Because.KEY_USAGE,), FIT),
        (RSA, {"nonRepudiation"}, (Because.KEY_USAGE,), FIT),
        (RSA, {"keyCertSign"}, (Because.KEY_USAGE,), (Because.KEY_USAGE,)),
        (EC, {"keyAgreement"}, FIT, (Because.KEY_USAGE,)),
        (EC, {"keyEncipherment"}, (Because.KEY_USAGE,), (Because.KEY_USAGE,)),
        (EC, {"keyAgreement", "digitalSignature"}, FIT, FIT),
        (EDWARDS, frozenset(), (Because.KEY_TYPE,), FIT),
        (EDWARDS, {"keyAgreement"}, (Because.KEY_TYPE,), (Because.KEY_USAGE,)),
        ("ed448", {"digitalSignature"}, (Because.KEY_TYPE,), (Because.KEY_TYPE,)),
        ("x448", {"keyAgreement"}, (Because.KEY_TYPE,), (Because.KEY_TYPE,)),
        (BRAINPOOL, {"keyAgreement"}, (Because.KEY_TYPE,), (Because.KEY_TYPE,)),
        (BRAINPOOL, {"digitalSignature"}, (Because.KEY_TYPE,), (Because.KEY_TYPE,)),
        (EXCHANGE, frozenset(), FIT, (Because.KEY_TYPE,)),
        (EXCHANGE, {"keyAgreement"}, FIT, (Because.KEY_TYPE,)),
    ],
)
def test_key_and_key_usage(key, usage, encrypts, signs):
    certificate = alice(key=key, key_usage=frozenset(usage))
    assert codes(for_encryption(certificate)) == encrypts
    assert codes(for_signing(certificate)) == signs


@pytest.mark.parametrize(
    ("extended", "expected"),
    [
        (frozenset(), FIT),
        ({EMAIL_PROTECTION}, FIT),
        ({ANY_EXTENDED_KEY_USAGE}, FIT),
        ({SERVER_AUTH, EMAIL_PROTECTION}, FIT),
        ({SERVER_AUTH}, (Because.EXTENDED_KEY_USAGE,)),
    ],
)
def test_extended_key_usage(extended, expected):
    certificate = alice(extended_key_usage=frozenset(extended))
    assert codes(for_encryption(certificate)) == expected
    assert codes(for_signing(certificate)) == expected


def test_unknown_critical_extension():
    certificate = alice(unknown_critical=True)
    assert codes(unprocessed_extensions(certificate)) == (Because.UNKNOWN_CRITICAL,)
    assert codes(for_encryption(certificate)) == (Because.UNKNOWN_CRITICAL,)
    assert codes(for_signing(certificate)) == (Because.UNKNOWN_CRITICAL,)


def test_every_problem_is_told():
    certificate = alice(
        key_usage=frozenset({"keyAgreement"}),
        extended_key_usage=frozenset({SERVER_AUTH}),
        unknown_critical=True,
    )
    assert set(codes(for_encryption(certificate))) == {
        Because.UNKNOWN_CRITICAL, Because.EXTENDED_KEY_USAGE, Because.KEY_USAGE,
    }  # fmt: skip
    assert {reason.about for reason in for_encryption(certificate)} == {certificate.thumbprint}


def test_usual_certificates_are_fit():
    for key in (RSA, EC):
        certificate = alice(key=key)
        assert for_encryption(certificate) == for_signing(certificate) == ()
