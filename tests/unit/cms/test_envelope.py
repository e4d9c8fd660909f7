"""EnvelopedData and AuthEnvelopedData: read back by asn1crypto, opened by `cryptography`."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Final

import pytest
from asn1crypto import cms, core
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.base.algorithms import ContentCipher, KeyTransport
from smimefilter.cms.algorithms import CannotEncrypt
from smimefilter.cms.envelope import PIECE, envelop
from smimefilter.cms.templates import recipient_of
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.usage import for_encryption
from tests.support.pki import Issued, root

CONTENT: Final = b"Content-Type: text/plain\r\n\r\nHello\r\n"
ROOT: Final = root()
SUB: Final = ROOT.issue("Sub CA", ca=True)
KINDS: Final = ["rsa2048", "rsa3072", "p256", "p384", "p521", "x25519"]
SHARED_INFO: Final = bytes.fromhex(  # id-aes256-wrap; suppPubInfo 256
    "3015300b060960864801650304012da206040400000100"
)
CONTENT_TYPES: Final = {False: "enveloped_data", True: "authenticated_enveloped_data"}
EC_DH: Final = "1.3.132.1.11.1"
X25519_DH: Final = "1.2.840.113549.1.9.16.3.19"


def person(kind: str = "rsa2048", name: str = "Bob", **special: Any) -> Issued:
    return SUB.issue(f"{name} {kind}", mail="bob@example.org", key=kind, **special)


def encrypt(
    content: list[bytes],
    *people: Issued,
    cipher: ContentCipher = ContentCipher.AES_256_CBC,
    transport: KeyTransport = KeyTransport.PKCS1,
) -> bytes:
    certificates = [who.certificate for who in people]
    return b"".join(envelop(content, certificates, cipher, transport))


def infos(der: bytes) -> list[Any]:
    content = cms.ContentInfo.load(der, strict=True)["content"]
    return [info.chosen for info in content["recipient_infos"]]


def opened(der: bytes, who: Issued) -> bytes:
    """The content, for one recipient, with nothing of the code under test."""
    info = cms.ContentInfo.load(der, strict=True)
    body = info["content"]
    if info["content_type"].native == "enveloped_data":
        part = body["encrypted_content_info"]
    else:
        part = body["auth_encrypted_content_info"]
    assert part["content_type"].native == "data"
    (key,) = [
        content_key(one, who)
        for one in infos(der)
        if names(one)["serial_number"].native == who.certificate.serial
    ]
    algorithm = part["content_encryption_algorithm"]
    encrypted = part["encrypted_content"].native
    if info["content_type"].native == "enveloped_data":
        vector = algorithm["parameters"].native
        decryptor = Cipher(AES(key), CBC(vector)).decryptor()
        padded = decryptor.update(encrypted) + decryptor.finalize()
        assert padded[-padded[-1] :] == bytes([padded[-1]]) * padded[-1]
        return padded[: -padded[-1]]
    parameters = core.Sequence.load(algorithm["parameters"].dump())
    nonce, tag_size = parameters[0].native, parameters[1].native
    assert (len(nonce), tag_size) == (12, 16)
    return AESGCM(key).decrypt(nonce, encrypted + body["mac"].native, None)


def names(info: Any) -> Any:
    if isinstance(info, cms.KeyTransRecipientInfo):
        return info["rid"].chosen
    (key,) = info["recipient_encrypted_keys"]
    return key["rid"].chosen


def content_key(info: Any, who: Issued) -> bytes:
    key = who.key
    if isinstance(key, rsa.RSAPrivateKey):
        return key.decrypt(info["encrypted_key"].native, padding_of(info))
    (wrapped,) = info["recipient_encrypted_keys"]
    algorithm = info["key_encryption_algorithm"]
    assert algorithm["parameters"].dump() == bytes.fromhex("300b060960864801650304012d")
    point = info["originator"].chosen["public_key"].native
    if isinstance(key, ec.EllipticCurvePrivateKey):
        assert algorithm["algorithm"].dotted == EC_DH
        public = ec.EllipticCurvePublicKey.from_encoded_point(key.curve, point)
        secret = key.exchange(ec.ECDH(), public)
        kek = hashlib.sha256(secret + b"\x00\x00\x00\x01" + SHARED_INFO).digest()
    else:
        assert isinstance(key, x25519.X25519PrivateKey)
        assert algorithm["algorithm"].dotted == X25519_DH
        secret = key.exchange(x25519.X25519PublicKey.from_public_bytes(point))
        extracted = hmac.digest(bytes(32), secret, "sha256")
        kek = hmac.digest(extracted, SHARED_INFO + b"\x01", "sha256")
    return aes_key_unwrap(kek, wrapped["encrypted_key"].native)


def padding_of(info: Any) -> padding.AsymmetricPadding:
    algorithm = info["key_encryption_algorithm"]
    if algorithm["algorithm"].native == "rsaes_pkcs1v15":
        return padding.PKCS1v15()
    assert algorithm["algorithm"].native == "rsaes_oaep"
    parameters = algorithm["parameters"]
    assert parameters["hash_algorithm"]["algorithm"].native == "sha256"
    assert parameters["mask_gen_algorithm"]["parameters"]["algorithm"].native == "sha256"
    return padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


@pytest.mark.parametrize("cipher", ContentCipher)
@pytest.mark.parametrize("transport", KeyTransport)
@pytest.mark.parametrize("kind", KINDS)
def test_every_key_transport_and_cipher(
    kind: str, transport: KeyTransport, cipher: ContentCipher
) -> None:
    who = person(kind)
    der = encrypt([CONTENT], who, cipher=cipher, transport=transport)
    assert opened(der, who) == CONTENT
    found = cms.ContentInfo.load(der)["content_type"].native
    assert found == CONTENT_TYPES[cipher.endswith("gcm")]


@pytest.mark.parametrize("cipher", [ContentCipher.AES_256_CBC, ContentCipher.AES_128_GCM])
@given(chunks=st.lists(st.binary(max_size=100), max_size=5))
def test_any_content_in_any_chunks(cipher: ContentCipher, chunks: list[bytes]) -> None:
    who = person("p256")
    assert opened(encrypt(chunks, who, cipher=cipher), who) == b"".join(chunks)


@pytest.mark.parametrize("cipher", [ContentCipher.AES_256_CBC, ContentCipher.AES_256_GCM])
@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5])
def test_large_content_goes_out_in_pieces(cipher: ContentCipher, size: int) -> None:
    who = person("p256")
    content = b"0123456789abcdef!" * (size // 17 + 1)
    content = content[:size]
    chunks = [content[:7], memoryview(content)[7:]]
    pieces = list(envelop(chunks, [who.certificate], cipher, KeyTransport.PKCS1))
    assert all(len(piece) <= PIECE + 4096 for piece in pieces)
    assert opened(b"".join(pieces), who) == content


def test_all_recipients_read_the_same() -> None:
    people = [person(kind) for kind in KINDS]
    der = encrypt([CONTENT], *people)
    assert [opened(der, who) for who in people] == [CONTENT] * len(KINDS)


def test_a_recipient_named_twice_is_there_once() -> None:
    who = person()
    same = Certificate(who.certificate.der)
    der = b"".join(
        envelop(
            [CONTENT],
            [who.certificate, same, who.certificate],
            ContentCipher.AES_256_CBC,
            KeyTransport.PKCS1,
        )
    )
    assert len(infos(der)) == 1


@pytest.mark.parametrize(
    ("kinds", "cipher", "version"),
    [
        (["rsa2048"], ContentCipher.AES_256_CBC, "v0"),
        (["p256"], ContentCipher.AES_256_CBC, "v2"),
        (["rsa2048", "p256"], ContentCipher.AES_256_CBC, "v2"),
        (["rsa2048"], ContentCipher.AES_256_GCM, "v0"),
        (["p256"], ContentCipher.AES_256_GCM, "v0"),
    ],
)
def test_version(kinds: list[str], cipher: ContentCipher, version: str) -> None:
    der = encrypt([CONTENT], *map(person, kinds), cipher=cipher)
    assert cms.ContentInfo.load(der)["content"]["version"].native == version


@pytest.mark.parametrize("cipher", [ContentCipher.AES_256_CBC, ContentCipher.AES_256_GCM])
def test_is_der(cipher: ContentCipher) -> None:
    der = encrypt([CONTENT], person(), person("p256"), cipher=cipher)
    assert cms.ContentInfo.load(der).dump(force=True) == der


def test_nothing_random_is_used_twice() -> None:
    who = person("p256")
    first, second = (cms.ContentInfo.load(encrypt([CONTENT], who))["content"] for _ in "ab")

    def drawn(body: Any) -> list[bytes]:
        part = body["encrypted_content_info"]
        (info,) = (one.chosen for one in body["recipient_infos"])
        return [
            part["content_encryption_algorithm"]["parameters"].native,
            part["encrypted_content"].native,
            info["originator"].chosen["public_key"].dump(),
            info["recipient_encrypted_keys"].dump(),
        ]

    assert all(a != b for a, b in zip(drawn(first), drawn(second), strict=True))


def test_recipients_are_named_by_the_bytes_of_their_certificates() -> None:
    der = encrypt([CONTENT], person())
    (info,) = infos(der)
    assert info["rid"].name == "issuer_and_serial_number"
    assert info["rid"].chosen["issuer"].dump() == SUB.certificate.subject_der


def test_templates_are_kept() -> None:
    who = person()
    first = recipient_of(who.certificate, KeyTransport.PKCS1)
    assert recipient_of(Certificate(who.certificate.der), KeyTransport.PKCS1) is first
    assert recipient_of(who.certificate, KeyTransport.OAEP) is not first


# what does not encrypt


@pytest.mark.parametrize(
    "kind", ["ed25519", "x448", ec.generate_private_key(ec.BrainpoolP256R1())]
)
def test_a_key_that_does_not_encrypt_is_never_passed_over(kind: Any) -> None:
    good, bad = person(), SUB.issue("Bad", mail="bob@example.org", key=kind)
    with pytest.raises(CannotEncrypt, match=bad.thumbprint[:16]):
        envelop(
            [CONTENT],
            [good.certificate, bad.certificate],
            ContentCipher.AES_256_CBC,
            KeyTransport.PKCS1,
        )


@pytest.mark.parametrize("transport", list(KeyTransport))
@pytest.mark.parametrize("kind", ["rsa1024", *KINDS, "ed25519", "ed448", "x448"])
def test_what_usage_calls_fit_can_be_used(kind: str, transport: KeyTransport) -> None:
    certificate = person(kind).certificate
    if for_encryption(certificate):
        with pytest.raises(CannotEncrypt):
            recipient_of(certificate, transport)
    else:
        assert recipient_of(certificate, transport).info(bytes(32))


def test_no_recipient_is_an_error() -> None:
    with pytest.raises(CannotEncrypt):
        envelop([CONTENT], [], ContentCipher.AES_256_CBC, KeyTransport.PKCS1)


def test_a_broken_certificate_is_an_error() -> None:
    with pytest.raises(CannotEncrypt):
        envelop(
            [CONTENT],
            [Certificate(b"\x30\x03\x02\x01\x01")],
            ContentCipher.AES_256_CBC,
            KeyTransport.PKCS1,
        )
