"""What others say of a certificate: `openssl verify`, and pyhanko-certvalidator.

Both are told what the gateway is told with `require_crl`: every certificate below the root
needs a CRL in force, 112 bits of security, the same time. Their words come with their verdict.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from unittest import mock

from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko_certvalidator import CertificateValidator
from pyhanko_certvalidator._state import ValProcState
from pyhanko_certvalidator.context import ValidationContext
from pyhanko_certvalidator.errors import CRLNoMatchesError, PathError, ValidationError
from pyhanko_certvalidator.policy_decl import (
    CertRevTrustPolicy,
    DisallowWeakAlgorithmsPolicy,
    RevocationCheckingPolicy,
    RevocationCheckingRule,
)
from pyhanko_certvalidator.revinfo import validate_crl

from smimefilter.pki.export import certificates_pem
from smimefilter.trust.verdict import Purpose
from tests.support.needs import need
from tests.support.pki import NOW, Issued

Opinion = tuple[bool, str]  # usable, and why not

PURPOSES: Final = {
    Purpose.SIGN: "smimesign",
    Purpose.VERIFY: "smimesign",
    Purpose.ENCRYPT: "smimeencrypt",
    Purpose.ANY: "any",
}
_CRL_NEEDED: Final = RevocationCheckingRule.CRL_REQUIRED


def of_openssl(
    leaf: Issued,
    roots: Sequence[Issued],
    others: Sequence[Issued],
    crls: Sequence[bytes],
    *,
    purpose: Purpose = Purpose.ANY,
    at: datetime = NOW,
) -> Opinion:
    """It builds one path out of these and stays with it."""
    with TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "leaf").write_bytes(_pem([leaf]))
        (home / "roots").write_bytes(_pem(roots))
        command = [
            need("openssl"), "verify", "-no-CApath", "-no-CAfile", "-trusted", "roots",
            "-crl_check_all", "-auth_level", "2", "-attime", str(int(at.timestamp())),
        ]  # fmt: skip
        if others:
            (home / "others").write_bytes(_pem(others))
            command += ["-untrusted", "others"]
        if crls:
            pem = [x509.load_der_x509_crl(crl).public_bytes(Encoding.PEM) for crl in crls]
            (home / "crls").write_bytes(b"".join(pem))
            command += ["-CRLfile", "crls"]
        command += ["-purpose", PURPOSES[purpose], "leaf"]
        done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stderr


def of_certvalidator(
    leaf: Issued,
    roots: Sequence[Issued],
    others: Sequence[Issued],
    crls: Sequence[bytes],
    *,
    at: datetime = NOW,
) -> Opinion:
    """It tries all paths; purposes are none of its business."""

    async def ask() -> None:
        context = ValidationContext(
            trust_roots=[_parsed(one) for one in roots],
            other_certs=[_parsed(one) for one in others],
            crls=list(crls),
            moment=at,
            time_tolerance=timedelta(0),
            revinfo_policy=CertRevTrustPolicy(
                RevocationCheckingPolicy(_CRL_NEEDED, _CRL_NEEDED)
            ),
            algorithm_usage_policy=DisallowWeakAlgorithmsPolicy(),
        )
        validator = CertificateValidator(_parsed(leaf), validation_context=context)
        await validator.async_validate_path()

    try:
        asyncio.run(ask())
    except (ValidationError, PathError) as error:
        return False, f"{type(error).__name__}: {error}"
    return True, ""


@contextmanager
def only_crls_of_the_issuer() -> Iterator[None]:
    """Within, certvalidator holds CRLs of other names to be no answer, as RFC 5280 §6.3.3 (b)
    (1) has it. By itself it takes those of every CA that the issuer of the certificate has
    certified for an answer, though no distribution point names it."""
    real = validate_crl._get_crl_scope_assuming_authority

    def scope(crl_issuer: Any, cert: Any, errs: Any, **others: Any) -> Any:
        if crl_issuer.subject == cert.issuer:
            return real(crl_issuer=crl_issuer, cert=cert, errs=errs, **others)
        errs.issuer_failures += 1
        return None

    with mock.patch.object(validate_crl, "_get_crl_scope_assuming_authority", scope):
        yield


@contextmanager
def no_crl_about_its_own_signer() -> Iterator[None]:
    """Within, certvalidator takes nobody's own word for not being revoked. By itself it does,
    so as not to go round in circles, and does not look whose signature it is then."""
    real = ValProcState.check_path_verif_recursion

    def check(state: ValProcState, signer: Any) -> Any:
        if real(state, signer):
            raise CRLNoMatchesError
        return None

    with mock.patch.object(ValProcState, "check_path_verif_recursion", check):
        yield


def _pem(certificates: Sequence[Issued]) -> bytes:
    return certificates_pem([one.certificate for one in certificates])


def _parsed(one: Issued) -> asn1_x509.Certificate:
    return asn1_x509.Certificate.load(one.certificate.der)
