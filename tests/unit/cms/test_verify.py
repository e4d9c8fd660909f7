"""Verifying what openssl and this gateway signed, in every way there is; and what is wrong."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.base.algorithms import SignatureAlgorithm
from smimefilter.cms.ber import BadCms, Effort
from smimefilter.cms.sign import Signer, SignerTemplate, detached, encapsulated
from smimefilter.cms.signed import read_signed
from smimefilter.cms.verify import Checked, Flaw, verify
from smimefilter.pki.certificate import Certificate
from tests.support.pki import Issued, root
from tests.support.readers import pem

CONTENT: Final = b"Content-Type: text/plain\r\n\r\nHello\r\n"
NOW: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
ROOT: Final = root()
ALICE: Final = ROOT.issue("Alice", mail="alice@example.org")


def person(kind: str) -> Issued:
    return ROOT.issue(f"Signer {kind}", mail="alice@example.org", key=kind)


def checked(der: bytes, *forms: bytes, held: Iterable[Certificate] = ()) -> tuple[Checked, ...]:
    data = read_signed(memoryview(der), Effort())
    contents: Sequence[Any] = [data.content] if data.content is not None else []
    contents = [*contents, *([form] for form in forms)]
    along = [Certificate(one) for one in data.certificates]
    return verify(data, contents, along, lambda one: [c for c in held if one.names(c)])


def signed(
    who: Issued,
    algorithm: SignatureAlgorithm = SignatureAlgorithm.SHA256,
    content: bytes = CONTENT,
) -> bytes:
    return detached([content], template(who, algorithm), NOW)


def template(
    who: Issued, algorithm: SignatureAlgorithm = SignatureAlgorithm.SHA256
) -> SignerTemplate:
    return SignerTemplate.of(Signer(who.certificate, (), who.key), algorithm)


def private_pem(who: Issued) -> bytes:
    return who.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def openssl(
    tmp_path: Path, *people: Issued, options: Sequence[str] = (), content: bytes = CONTENT
) -> bytes:
    plain = tmp_path / "plain"
    plain.write_bytes(content)
    command = ["openssl", "cms", "-sign", "-binary", "-outform", "DER", "-in", str(plain)]
    for number, who in enumerate(people):
        certificate, key = tmp_path / f"{number}.pem", tmp_path / f"{number}.key"
        certificate.write_bytes(pem(who.certificate))
        key.write_bytes(private_pem(who))
        command += ["-signer", str(certificate), "-inkey", str(key)]
    done = subprocess.run([*command, *options], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("algorithm", list(SignatureAlgorithm))
@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "p521", "ed25519"])
def test_what_this_gateway_signed(algorithm: SignatureAlgorithm, kind: str) -> None:
    who = person(kind)
    (found,) = checked(signed(who, algorithm), CONTENT)
    assert found.flaw is None
    assert found.certificate == who.certificate
    assert found.signing_time == NOW
    assert found.capabilities
    inside = b"".join(encapsulated([CONTENT], template(who, algorithm), NOW))
    (found,) = checked(inside)
    assert found.flaw is None


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p521"])
@pytest.mark.parametrize(
    "options",
    [
        ("-md", "sha384"),
        ("-md", "sha1"),
        ("-noattr",),
        ("-nodetach",),
        ("-nodetach", "-noattr"),
        ("-nodetach", "-stream"),
        ("-keyid",),
        ("-cades",),
        ("-nosmimecap",),
        ("-nocerts",),
    ],
    ids=" ".join,
)
def test_what_openssl_signed(tmp_path: Path, kind: str, options: Sequence[str]) -> None:
    who = person(kind)
    der = openssl(tmp_path, who, options=options)
    (found,) = checked(der, CONTENT, held=[ALICE.certificate, who.certificate])
    assert found.flaw is None
    assert found.certificate == who.certificate


@pytest.mark.parametrize("salt", ["digest", "max", "0"])
def test_pss_with_any_salt(tmp_path: Path, salt: str) -> None:
    options = ("-keyopt", "rsa_padding_mode:pss", "-keyopt", f"rsa_pss_saltlen:{salt}")
    (found,) = checked(openssl(tmp_path, ALICE, options=options), CONTENT)
    assert found.flaw is None


def test_several_signers_each_have_an_answer(tmp_path: Path) -> None:
    other = person("p256")
    der = openssl(tmp_path, ALICE, other, options=("-nodetach",))
    found = checked(der)
    assert {one.certificate for one in found} == {ALICE.certificate, other.certificate}
    assert [one.flaw for one in found] == [None, None]


def test_the_certificate_comes_from_the_store_when_the_message_has_none(
    tmp_path: Path,
) -> None:
    der = openssl(tmp_path, ALICE, options=("-nocerts",))
    (found,) = checked(der, CONTENT)
    assert (found.flaw, found.certificate) == (Flaw.NO_CERTIFICATE, None)
    (found,) = checked(der, CONTENT, held=[ALICE.certificate])
    assert (found.flaw, found.certificate) == (None, ALICE.certificate)


@pytest.mark.parametrize("options", [(), ("-noattr",)], ids=["attributes", "none"])
def test_changed_content(tmp_path: Path, options: Sequence[str]) -> None:
    der = openssl(tmp_path, ALICE, options=options)
    (found,) = checked(der, CONTENT + b"P.S.\r\n")
    assert found.flaw is Flaw.CONTENT_CHANGED
    assert found.certificate == ALICE.certificate
    (found,) = checked(der, b"something else", CONTENT)  # one of the forms is enough
    assert found.flaw is None


def test_another_ones_certificate_under_the_same_name() -> None:
    """A certificate with the same issuer and serial, another key: not the signer's."""
    der = signed(ALICE)
    twin = root("Test Root").issue("Mallory", mail="m@x.test", serial=ALICE.certificate.serial)
    assert twin.certificate.serial == ALICE.certificate.serial
    found = _with_certificate(der, twin.certificate)
    (one,) = checked(found, CONTENT)
    assert one.flaw in {Flaw.NO_CERTIFICATE, Flaw.WRONG_KEY}


def _with_certificate(der: bytes, certificate: Certificate) -> bytes:
    info = cms.ContentInfo.load(der)
    info["content"]["certificates"] = [
        cms.CertificateChoices("certificate", cms.Certificate.load(certificate.der))
    ]
    return bytes(info.dump(force=True))


def test_attributes_taken_for_content(tmp_path: Path) -> None:
    """A signature over attributes is no signature over content that looks like them."""
    info = cms.ContentInfo.load(signed(ALICE))
    signer = info["content"]["signer_infos"][0]
    attributes = signer["signed_attrs"].untag().dump()
    signer["signed_attrs"] = None
    del signer["signed_attrs"]
    (found,) = checked(bytes(info.dump(force=True)), attributes)
    assert found.flaw is Flaw.MALFORMED


@pytest.mark.parametrize("kind", ["content_type", "message_digest"])
@pytest.mark.parametrize("change", ["missing", "twice", "two values"])
def test_attributes_that_are_not_as_they_have_to_be(kind: str, change: str) -> None:
    info = cms.ContentInfo.load(signed(ALICE))
    signer = info["content"]["signer_infos"][0]
    attributes = list(signer["signed_attrs"])
    (meant,) = [one for one in attributes if one["type"].native == kind]
    if change == "missing":
        attributes.remove(meant)
    elif change == "twice":
        attributes.append(meant.copy())
    else:
        meant["values"] = [meant["values"][0], meant["values"][0]]
    _resign(signer, attributes)
    try:
        (found,) = checked(bytes(info.dump(force=True)), CONTENT)
        assert found.flaw is Flaw.MALFORMED
    except BadCms:
        assert change == "twice"


def _resign(signer: Any, attributes: list[Any]) -> None:
    signer["signed_attrs"] = cms.CMSAttributes(attributes)
    key = ALICE.key
    assert isinstance(key, rsa.RSAPrivateKey)
    content = signer["signed_attrs"].untag().dump()
    signer["signature"] = key.sign(content, padding.PKCS1v15(), hashes.SHA256())


def test_md5_is_told_apart() -> None:
    info = cms.ContentInfo.load(signed(ALICE))
    info["content"]["signer_infos"][0]["digest_algorithm"] = {"algorithm": "md5"}
    (found,) = checked(bytes(info.dump(force=True)), CONTENT)
    assert found.flaw is Flaw.BROKEN_DIGEST


def test_a_signer_that_names_another_digest_in_its_algorithm(tmp_path: Path) -> None:
    info = cms.ContentInfo.load(signed(ALICE))
    signer = info["content"]["signer_infos"][0]
    signer["signature_algorithm"] = {"algorithm": "sha512_rsa"}
    (found,) = checked(bytes(info.dump(force=True)), CONTENT)
    assert found.flaw is Flaw.ALGORITHM


def test_no_signers_is_nobody() -> None:
    info = cms.ContentInfo.load(signed(ALICE))
    info["content"]["signer_infos"] = []
    assert checked(bytes(info.dump(force=True)), CONTENT) == ()


def test_too_many_signers() -> None:
    info = cms.ContentInfo.load(signed(ALICE))
    one = info["content"]["signer_infos"][0]
    info["content"]["signer_infos"] = [one.copy() for _ in range(17)]
    with pytest.raises(BadCms, match="signers"):
        checked(bytes(info.dump(force=True)), CONTENT)


@given(st.data())
def test_mutations_end_in_an_answer(data: st.DataObject) -> None:
    der = bytearray(MUTATED)
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = checked(bytes(der), held=[ALICE.certificate])
    except BadCms:
        return
    content = read_signed(memoryview(bytes(der)), Effort()).content
    if any(one.flaw is None for one in found):
        assert content is not None
        assert b"".join(content) == CONTENT


MUTATED: Final = b"".join(encapsulated([CONTENT], template(ALICE), NOW))


def test_a_digest_that_is_not_known() -> None:
    info = cms.ContentInfo.load(signed(person("ed25519"), SignatureAlgorithm.SHA512))
    info["content"]["signer_infos"][0]["digest_algorithm"] = {"algorithm": "1.2.3.4"}
    (found,) = checked(bytes(info.dump(force=True)), CONTENT)
    assert found.flaw is Flaw.ALGORITHM
