"""SignedData: read back by asn1crypto, verified by `cryptography`."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

import pytest
from asn1crypto import cms, tsp, x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.base.algorithms import SignatureAlgorithm
from smimefilter.cms.algorithms import CannotSign
from smimefilter.cms.sign import Signer, SignerTemplate, detached, encapsulated
from smimefilter.pki.build import Profile, issue
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.usage import for_signing
from tests.support.needs import need
from tests.support.pki import NOW, YEAR, Issued, key_of, root

CONTENT: Final = b"Content-Type: text/plain\r\n\r\nHello\r\n"
HASHES: Final = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
ROOT: Final = root()
SUB: Final = ROOT.issue("Sub CA", ca=True)


def person(kind: str = "rsa2048", **special: Any) -> Issued:
    return SUB.issue(f"Alice {kind}", mail="alice@example.com", key=kind, **special)


def template(
    who: Issued, algorithm: SignatureAlgorithm = SignatureAlgorithm.SHA256
) -> SignerTemplate:
    return SignerTemplate.of(Signer(who.certificate, who.chain, who.key), algorithm)


def parsed(der: bytes) -> cms.SignedData:
    info = cms.ContentInfo.load(der, strict=True)
    assert info["content_type"].native == "signed_data"
    return info["content"]


def attribute(signed: cms.SignedData, name: str) -> Any:
    (found,) = [a for a in signer_info(signed)["signed_attrs"] if a["type"].native == name]
    (value,) = found["values"]
    return value


def signer_info(signed: cms.SignedData) -> cms.SignerInfo:
    (info,) = signed["signer_infos"]
    return info


def check(signed: cms.SignedData, content: bytes, who: Issued) -> None:
    """The whole of RFC 5652 §5.6, by other hands."""
    info = signer_info(signed)
    digest = info["digest_algorithm"]["algorithm"].native
    assert [one["algorithm"].native for one in signed["digest_algorithms"]] == [digest]
    assert attribute(signed, "message_digest").native == hashlib.new(digest, content).digest()
    assert attribute(signed, "content_type").native == "data"
    attributes = info["signed_attrs"].untag().dump()
    signature = info["signature"].native
    hash_ = HASHES[digest]
    key = who.certificate.public_key
    scheme = info["signature_algorithm"]
    match key:
        case rsa.RSAPublicKey() if scheme["algorithm"].native == "rsassa_pss":
            parameters = scheme["parameters"]
            assert parameters["hash_algorithm"]["algorithm"].native == digest
            mask = parameters["mask_gen_algorithm"]["parameters"]["algorithm"].native
            assert mask == digest
            assert parameters["salt_length"].native == hash_.digest_size
            pss = padding.PSS(padding.MGF1(hash_), parameters["salt_length"].native)
            key.verify(signature, attributes, pss, hash_)
        case rsa.RSAPublicKey():
            assert scheme["algorithm"].native == "rsassa_pkcs1v15"
            key.verify(signature, attributes, padding.PKCS1v15(), hash_)
        case ec.EllipticCurvePublicKey():
            assert scheme["algorithm"].native == f"{digest}_ecdsa"
            key.verify(signature, attributes, ec.ECDSA(hash_))
        case ed25519.Ed25519PublicKey():
            assert scheme["algorithm"].native == "ed25519"
            assert digest == "sha512"
            key.verify(signature, attributes)
        case _:
            raise AssertionError(key)


@pytest.mark.parametrize("algorithm", SignatureAlgorithm)
@pytest.mark.parametrize("kind", ["rsa2048", "rsa3072", "p256", "p384", "p521", "ed25519"])
def test_every_key_and_algorithm_verifies(kind: str, algorithm: SignatureAlgorithm) -> None:
    who = person(kind)
    signed = parsed(detached([CONTENT], template(who, algorithm), NOW))
    check(signed, CONTENT, who)
    with pytest.raises((AssertionError, InvalidSignature)):
        check(signed, CONTENT + b" ", who)


def test_detached_has_no_content() -> None:
    signed = parsed(detached([CONTENT], template(person()), NOW))
    assert signed["version"].native == "v1"
    assert signed["encap_content_info"]["content_type"].native == "data"
    assert signed["encap_content_info"]["content"].native is None


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_encapsulated_carries_its_content(chunks: list[bytes]) -> None:
    who = person("p256")
    der = b"".join(encapsulated(chunks, template(who), NOW))
    signed = parsed(der)
    assert signed["encap_content_info"]["content"].native == b"".join(chunks)
    check(signed, b"".join(chunks), who)


@pytest.mark.parametrize("size", [0, 100, 127, 128, 250, 65_000, 70_000, 17_000_000])
def test_encapsulated_content_is_passed_on_not_copied(size: int) -> None:
    content = bytes(size)
    chunks = encapsulated([memoryview(content)], template(person("p256")), NOW)
    assert any(isinstance(chunk, memoryview) and chunk.obj is content for chunk in chunks)
    assert parsed(b"".join(chunks))["encap_content_info"]["content"].native == content


@pytest.mark.parametrize("kind", ["rsa2048", "p384", "ed25519"])
def test_is_der(kind: str) -> None:
    der = detached([CONTENT], template(person(kind)), NOW)
    assert cms.ContentInfo.load(der).dump(force=True) == der


def test_certificates_lead_to_the_root_but_leave_it_out() -> None:
    who = person()
    signed = parsed(detached([CONTENT], template(who), NOW))
    sent = {certificate.dump() for certificate in signed["certificates"]}
    assert sent == {who.certificate.der, SUB.certificate.der}


def test_a_self_signed_signer_is_sent() -> None:
    profile = Profile(common_name="Alone", not_before=NOW, not_after=NOW + YEAR)
    who = Issued(issue(profile, key_of("p256", "Alone")))
    signed = parsed(detached([CONTENT], template(who), NOW))
    assert [one.dump() for one in signed["certificates"]] == [who.certificate.der]


def test_signer_is_named_by_the_bytes_of_its_certificate() -> None:
    who = person()
    name = signer_info(parsed(detached([CONTENT], template(who), NOW)))["sid"].chosen
    certificate = x509.Certificate.load(who.certificate.der)
    assert name["issuer"].dump() == certificate.issuer.dump()
    assert name["serial_number"].native == certificate.serial_number


# signed attributes


@pytest.mark.parametrize(
    ("at", "kind"),
    [
        (datetime(2026, 6, 1, 12, 30, 15, 999999, tzinfo=UTC), "utc_time"),
        (datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), "utc_time"),
        (datetime(2050, 1, 1, 0, 0, 0, tzinfo=UTC), "generalized_time"),
        (datetime(2026, 6, 1, 1, 0, 0, tzinfo=timezone(timedelta(hours=2))), "utc_time"),
    ],
)
def test_signing_time(at: datetime, kind: str) -> None:
    who = person()
    signed = parsed(detached([CONTENT], template(who), at))
    value = attribute(signed, "signing_time")
    assert value.name == kind
    assert value.native == at.replace(microsecond=0)
    check(signed, CONTENT, who)


def test_signing_certificate_is_bound() -> None:
    who = person()
    value = attribute(parsed(detached([CONTENT], template(who), NOW)), "signing_certificate_v2")
    (bound,) = tsp.SigningCertificateV2.load(value.dump())["certs"]
    assert bound["hash_algorithm"]["algorithm"].native == "sha256"
    assert bound["cert_hash"].native == hashlib.sha256(who.certificate.der).digest()


def test_capabilities_start_with_what_every_client_reads() -> None:
    signed = parsed(detached([CONTENT], template(person()), NOW))
    (found,) = [
        one["values"][0].dump()
        for one in signer_info(signed)["signed_attrs"]
        if one["type"].dotted == "1.2.840.113549.1.9.15"
    ]
    aes_256_cbc = bytes.fromhex("300b060960864801650304012a")
    assert found[2:].startswith(aes_256_cbc)


def test_encryption_key_is_announced_when_it_encrypts() -> None:
    kind = "1.2.840.113549.1.9.16.2.11"

    def announced(who: Issued) -> list[bytes]:
        signed = parsed(detached([CONTENT], template(who), NOW))
        attributes = signer_info(signed)["signed_attrs"]
        return [a["values"][0].contents for a in attributes if a["type"].dotted == kind]

    both = person()
    name = x509.Certificate.load(both.certificate.der)
    (value,) = announced(both)
    assert value == name.issuer.dump() + name["tbs_certificate"]["serial_number"].dump()
    assert not announced(person(key_usage=frozenset({"digitalSignature"})))
    assert not announced(person("ed25519", key_usage=frozenset()))


# what does not sign


def test_a_key_of_another_certificate_is_refused() -> None:
    alice, other = person(), SUB.issue("Other", mail="other@example.com")
    with pytest.raises(CannotSign):
        SignerTemplate.of(
            Signer(alice.certificate, alice.chain, other.key), SignatureAlgorithm.SHA256
        )


@pytest.mark.parametrize(
    "kind", ["x25519", "ed448", ec.generate_private_key(ec.BrainpoolP256R1())]
)
def test_a_key_that_does_not_sign_is_refused(kind: Any) -> None:
    with pytest.raises(CannotSign):
        template(SUB.issue("Bad", mail="alice@example.com", key=kind))


@pytest.mark.parametrize("algorithm", list(SignatureAlgorithm))
@pytest.mark.parametrize("kind", ["rsa1024", "p256", "p521", "ed25519", "x25519", "ed448"])
def test_what_usage_calls_fit_signs(kind: str, algorithm: SignatureAlgorithm) -> None:
    who = person(kind)
    if for_signing(who.certificate):
        with pytest.raises(CannotSign):
            template(who, algorithm)
    else:
        assert detached([CONTENT], template(who, algorithm), NOW)


@pytest.mark.parametrize(
    ("kind", "algorithm", "micalg"),
    [
        ("rsa2048", SignatureAlgorithm.SHA256, "sha-256"),
        ("rsa2048", SignatureAlgorithm.SHA384_PSS, "sha-384"),
        ("rsa2048", SignatureAlgorithm.SHA512, "sha-512"),
        ("p256", SignatureAlgorithm.SHA256, "sha-256"),
        ("p256", SignatureAlgorithm.SHA512_PSS, "sha-512"),
        ("p384", SignatureAlgorithm.SHA256, "sha-384"),
        ("p521", SignatureAlgorithm.SHA256, "sha-512"),
        ("ed25519", SignatureAlgorithm.SHA256, "sha-512"),
    ],
)
def test_micalg_names_the_digest_that_is_used(
    kind: str, algorithm: SignatureAlgorithm, micalg: str
) -> None:
    assert template(person(kind), algorithm).micalg == micalg


def test_no_key_in_a_repr() -> None:
    who = person()
    signer = Signer(who.certificate, who.chain, who.key)
    assert "key" not in repr(signer).lower()


# keys for PSS alone


def pss_only(folder: Path, *options: str) -> Signer:
    """Somebody whose certificate says that the key is for PSS alone, as openssl makes it."""
    openssl = need("openssl")
    made = [openssl, "genpkey", "-algorithm", "RSA-PSS", "-out", "key.pem"]
    for option in ("rsa_keygen_bits:2048", *options):
        made += ["-pkeyopt", option]
    requested = [openssl, "req", "-x509", "-key", "key.pem", "-subj", "/CN=Pss", "-days", "2"]
    requested += ["-addext", "keyUsage=digitalSignature", "-outform", "DER", "-out", "cert"]
    for command in (made, [*requested, *(["-sha384"] if options else [])]):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    key = load_pem_private_key((folder / "key.pem").read_bytes(), None)
    return Signer(Certificate.read((folder / "cert").read_bytes()), (), key)


@pytest.mark.system
@pytest.mark.parametrize(
    ("options", "asked", "used"),
    [
        ((), SignatureAlgorithm.SHA256, "sha256"),
        ((), SignatureAlgorithm.SHA512_PSS, "sha512"),
        (
            (
                "rsa_pss_keygen_md:sha384",
                "rsa_pss_keygen_mgf1_md:sha384",
                "rsa_pss_keygen_saltlen:48",
            ),
            SignatureAlgorithm.SHA256,
            "sha384",
        ),
    ],
)
def test_a_key_for_pss_alone_signs_so_whatever_policy_says(
    tmp_path: Path, options: tuple[str, ...], asked: SignatureAlgorithm, used: str
) -> None:
    who = pss_only(tmp_path, *options)
    der = detached([CONTENT], SignerTemplate.of(who, asked), NOW)
    info = signer_info(parsed(der))
    assert info["signature_algorithm"]["algorithm"].native == "rsassa_pss"
    assert info["digest_algorithm"]["algorithm"].native == used
    (tmp_path / "signed").write_bytes(der)
    (tmp_path / "content").write_bytes(CONTENT)
    verify = [need("openssl"), "cms", "-verify", "-inform", "DER", "-in", "signed", "-binary"]
    verify += ["-content", "content", "-noverify", "-out", "verified"]
    subprocess.run(verify, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "verified").read_bytes() == CONTENT
