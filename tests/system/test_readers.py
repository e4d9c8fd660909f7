"""What is written here is read by openssl, gpgsm and NSS: whole mails, every form."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from smimefilter.base.algorithms import ContentCipher, KeyTransport, SignatureAlgorithm
from smimefilter.cms.envelope import envelop
from smimefilter.cms.sign import Signer, SignerTemplate, detached, encapsulated
from smimefilter.message.clear import NotClearable, cleared
from smimefilter.message.entity import Entity, canonical, outer
from smimefilter.message.wire import Message
from smimefilter.message.wrap import SmimeType, multipart_signed, pkcs7_mime
from tests.support.pki import Issued
from tests.support.readers import (
    Gpgsm,
    Nss,
    Openssl,
    Unreadable,
    is_clear_signed,
    issue_now,
)

pytestmark = pytest.mark.system

HEAD: Final = (
    b"Return-Path: <alice@example.com>\r\n"
    b"From: Alice <alice@example.com>\r\n"
    b"To: bob@example.org\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
)
TEXT: Final = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
EIGHT_BIT: Final = b"Content-Transfer-Encoding: 8bit\r\n"
UMLAUTS: Final = "Grüße aus München,\r\ndas geht.\r\n".encode()
BASE64: Final = b"JVBERi0xLjQKJcOkw7zDtsOfCjIgMCBvYmoKPDwv\r\nTGVuZ3RoIDMgMCBSL0ZpbHRlci9G\r\n"
ATTACHMENT: Final = (
    b"--b1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
    b"\r\n" + UMLAUTS + b"\r\n--b1\r\nContent-Type: application/pdf; name=a.pdf\r\n"
    b"Content-Disposition: attachment; filename=a.pdf\r\nContent-Transfer-Encoding: base64\r\n"
    b"\r\n" + BASE64 + b"--b1--\r\n"
)
MIXED: Final = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b1\r\n"
ALTERNATIVE: Final = (
    b'MIME-Version: 1.0\r\nContent-Type: multipart/alternative;\r\n boundary="b 2"\r\n'
    b"Content-Transfer-Encoding: 8bit\r\n\r\npreamble\r\n--b 2\r\n\r\nplain\r\n--b 2\r\n"
    b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n<p>"
    + UMLAUTS + b"</p>\r\n--b 2--\r\nepilogue\r\n"
)  # fmt: skip
CALENDAR: Final = (
    b"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nSUMMARY:"
    + "Büro".encode()
    + b"\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)

MAILS: Final = {
    "plain": HEAD + TEXT + b"\r\nHello Bob.\r\n",
    "no MIME fields": HEAD + b"\r\nHello Bob.\r\n",
    "no MIME fields, latin-1": HEAD + b"\r\nGr\xfc\xdfe\r\n",
    "non-ASCII": HEAD + TEXT + EIGHT_BIT + b"\r\n" + UMLAUTS,
    "attachment": HEAD + MIXED + b"\r\n" + ATTACHMENT,
    "alternative": HEAD + ALTERNATIVE,
    "empty body": HEAD + TEXT + b"\r\n",
    "no body": HEAD + TEXT,
    "only fields outside": HEAD,
    "no line end": HEAD + TEXT + b"\r\nHello Bob.",
    "dots": HEAD + TEXT + b"\r\n.\r\n..\r\n.hidden\r\nend\r\n.\r\n",
    "From lines": HEAD + TEXT + b"\r\nFrom here\r\n>From there\r\n",
    "blanks at line ends": HEAD + TEXT + b"\r\none \r\ntwo\t\r\n\r\n \r\n",
    "long lines": HEAD + TEXT + b"\r\n" + b"long line " * 500 + b"\r\nshort\r\n",
    "bare LF": (HEAD + MIXED + b"\r\n" + ATTACHMENT).replace(b"\r\n", b"\n"),
    "bare CR": HEAD + TEXT + b"\r\none\rtwo\r\n",
    "binary attachment": (
        HEAD + MIXED + b"\r\n--b1\r\nContent-Type: image/x-test\r\n"
        b"Content-Transfer-Encoding: binary\r\n\r\n\x89\x00\r\x01\xff\r\n--b1--\r\n"
    ),
    "attached mail": (
        HEAD + MIXED + b"\r\n--b1\r\nContent-Type: message/rfc822\r\n\r\n"
        b"From: Carol <carol@example.net>\r\nSubject: inner\r\n"
        + MIXED.replace(b"b1", b"inner")
        + b"\r\n"
        + ATTACHMENT.replace(b"--b1", b"--inner")
        + b"\r\n--b1--\r\n"
    ),
    "invitation": (
        HEAD + TEXT.replace(b"text/plain", b"text/calendar; method=REQUEST") + EIGHT_BIT
        + b"\r\n" + CALENDAR
    ),
    "8-bit field in a part": (
        HEAD + MIXED + b'\r\n--b1\r\nContent-Type: text/plain; name="\xc3\xa9"\r\n\r\nx\r\n'
        b"--b1--\r\n"
    ),
}  # fmt: skip
NOT_CLEARABLE: Final = {"8-bit field in a part"}


class People(NamedTuple):
    root: Issued
    alice: Issued
    bob: Issued
    carol: Issued  # an EC key
    signers: dict[str, Issued]


@pytest.fixture(scope="module")
def people() -> People:
    top = issue_now(None, "Readers Root")
    ca = issue_now(top, "Readers CA", ca=True)
    alice = issue_now(ca, "Alice", mail="alice@example.com")
    signers = {
        kind: issue_now(ca, f"Alice {kind}", mail="alice@example.com", key=kind)
        for kind in ("rsa2048", "rsa3072", "p256", "p384", "p521")
    }
    bob = issue_now(ca, "Bob", mail="bob@example.org")
    carol = issue_now(ca, "Carol", mail="carol@example.org", key="p256")
    return People(top, alice, bob, carol, signers)


@pytest.fixture(scope="module")
def openssl(people: People, tmp_path_factory: pytest.TempPathFactory) -> Openssl:
    return Openssl(tmp_path_factory.mktemp("openssl"), people.root.certificate)


@pytest.fixture(scope="module")
def gpgsm(people: People) -> Iterator[Gpgsm]:
    with Gpgsm.running(people.root.certificate, [people.bob]) as reader:
        yield reader


@pytest.fixture(scope="module")
def nss(people: People, tmp_path_factory: pytest.TempPathFactory) -> Nss:
    folder: Path = tmp_path_factory.mktemp("nss")
    return Nss(folder, people.root.certificate, [people.bob])


def template(
    who: Issued, algorithm: SignatureAlgorithm = SignatureAlgorithm.SHA256
) -> SignerTemplate:
    return SignerTemplate.of(Signer(who.certificate, who.chain, who.key), algorithm)


def signed_clear(entity: Entity, signer: SignerTemplate) -> Entity:
    signature = detached(entity.chunks, signer, datetime.now(UTC))
    return multipart_signed(entity, signature, signer.micalg, "T0ken" * 5)


def signed_opaque(entity: Entity, signer: SignerTemplate) -> Entity:
    cms = encapsulated(entity.chunks, signer, datetime.now(UTC))
    return pkcs7_mime(SmimeType.SIGNED, cms)


def encrypted(
    entity: Entity,
    *recipients: Issued,
    cipher: ContentCipher = ContentCipher.AES_256_CBC,
    transport: KeyTransport = KeyTransport.PKCS1,
) -> Entity:
    certificates = [who.certificate for who in recipients]
    kind = SmimeType.AUTH_ENVELOPED if cipher.endswith("gcm") else SmimeType.ENVELOPED
    return pkcs7_mime(kind, envelop(entity.chunks, certificates, cipher, transport))


def written(raw: bytes, entity: Entity) -> bytes:
    return b"".join(outer(Message(raw)).around(entity))


def whole(entity: Entity) -> bytes:
    return b"".join(entity.chunks)


def leaves(mail: bytes) -> list[tuple[str, bytes]]:
    """Types and contents of all leaves, whatever their transfer encoding; line ends alike."""
    parsed = email.message_from_bytes(mail, policy=email.policy.compat32)
    return [
        (part.get_content_type(), _content(part).replace(b"\r\n", b"\n").rstrip(b"\n"))
        for part in parsed.walk()
        if not part.is_multipart()
    ]


def _content(part: email.message.Message) -> bytes:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


@pytest.fixture(params=["openssl", "gpgsm", "nss"])
def verify(request: pytest.FixtureRequest) -> Callable[[bytes], bytes]:
    reader: Openssl | Gpgsm | Nss = request.getfixturevalue(request.param)
    return reader.verify


@pytest.fixture(params=["openssl", "gpgsm", "nss"])
def decrypt(request: pytest.FixtureRequest, people: People) -> Callable[[bytes], bytes]:
    """Reads as Bob."""
    reader: Openssl | Gpgsm | Nss = request.getfixturevalue(request.param)
    if isinstance(reader, Openssl):
        return lambda mail: reader.decrypt(mail, people.bob)
    return reader.decrypt


# every kind of mail, in every form


@pytest.mark.parametrize("name", MAILS)
def test_clear_signed(name: str, people: People, verify: Callable[[bytes], bytes]) -> None:
    raw = MAILS[name]
    if name in NOT_CLEARABLE:
        with pytest.raises(NotClearable):
            cleared(Message(raw))
        return
    entity = cleared(Message(raw))
    content = verify(written(raw, signed_clear(entity, template(people.alice))))
    assert content == whole(entity)
    assert leaves(content) == leaves(raw)


@pytest.mark.parametrize("name", MAILS)
def test_opaque_signed(name: str, people: People, verify: Callable[[bytes], bytes]) -> None:
    entity = canonical(Message(MAILS[name]))
    content = verify(written(MAILS[name], signed_opaque(entity, template(people.alice))))
    assert content == whole(entity)
    assert leaves(content) == leaves(MAILS[name])


@pytest.mark.parametrize("name", MAILS)
def test_encrypted(name: str, people: People, decrypt: Callable[[bytes], bytes]) -> None:
    entity = canonical(Message(MAILS[name]))
    content = decrypt(written(MAILS[name], encrypted(entity, people.bob)))
    assert content == whole(entity)
    assert leaves(content) == leaves(MAILS[name])


@pytest.mark.parametrize("name", sorted(MAILS.keys() - NOT_CLEARABLE))
def test_signed_then_encrypted(name: str, people: People, openssl: Openssl) -> None:
    raw = MAILS[name]
    entity = cleared(Message(raw))
    inner = signed_clear(entity, template(people.alice))
    mail = written(raw, encrypted(inner, people.alice, people.bob))
    signed = openssl.decrypt(mail, people.bob)
    assert signed == whole(inner)
    assert is_clear_signed(signed)
    assert openssl.verify(signed) == whole(entity)


def test_signed_then_encrypted_is_read_by_all(
    people: People,
    decrypt: Callable[[bytes], bytes],
    verify: Callable[[bytes], bytes],
) -> None:
    raw = MAILS["attachment"]
    entity = cleared(Message(raw))
    inner = signed_clear(entity, template(people.alice))
    assert verify(decrypt(written(raw, encrypted(inner, people.bob)))) == whole(entity)


def test_the_header_outside_is_as_it_was(people: People) -> None:
    raw = MAILS["attachment"]
    mail = written(raw, encrypted(canonical(Message(raw)), people.bob))
    assert mail.startswith(HEAD + b"MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime")


# algorithms


@pytest.mark.parametrize("algorithm", SignatureAlgorithm)
@pytest.mark.parametrize("kind", ["rsa2048", "rsa3072", "p256", "p384"])
def test_signature_algorithms(
    kind: str,
    algorithm: SignatureAlgorithm,
    people: People,
    verify: Callable[[bytes], bytes],
) -> None:
    raw = MAILS["plain"]
    entity = cleared(Message(raw))
    signer = template(people.signers[kind], algorithm)
    assert verify(written(raw, signed_clear(entity, signer))) == whole(entity)


@pytest.mark.parametrize("reader", ["openssl", "nss"])  # gpgsm 2.2 does not know P-521
def test_signature_with_p521(
    reader: str, people: People, request: pytest.FixtureRequest
) -> None:
    program: Openssl | Nss = request.getfixturevalue(reader)
    raw = MAILS["plain"]
    entity = cleared(Message(raw))
    mail = written(raw, signed_clear(entity, template(people.signers["p521"])))
    assert program.verify(mail) == whole(entity)


@pytest.mark.parametrize("cipher", ContentCipher)
@pytest.mark.parametrize("transport", KeyTransport)
@pytest.mark.parametrize("kind", ["rsa2048", "rsa3072", "p256", "p384", "p521"])
def test_ciphers_and_keys(
    kind: str,
    transport: KeyTransport,
    cipher: ContentCipher,
    people: People,
    openssl: Openssl,
) -> None:
    raw = MAILS["attachment"]
    entity = canonical(Message(raw))
    who = people.signers[kind]
    mail = written(raw, encrypted(entity, who, cipher=cipher, transport=transport))
    assert openssl.decrypt(mail, who) == whole(entity)


@pytest.mark.parametrize(
    "cipher",
    [ContentCipher.AES_128_CBC, ContentCipher.AES_192_CBC, ContentCipher.AES_256_CBC],
)
def test_what_every_reader_decrypts(
    cipher: ContentCipher, people: People, decrypt: Callable[[bytes], bytes]
) -> None:
    raw = MAILS["attachment"]
    entity = canonical(Message(raw))
    mail = written(raw, encrypted(entity, people.alice, people.bob, cipher=cipher))
    assert decrypt(mail) == whole(entity)


def test_recipients_with_different_keys(people: People, openssl: Openssl, gpgsm: Gpgsm) -> None:
    raw = MAILS["plain"]
    entity = canonical(Message(raw))
    mail = written(raw, encrypted(entity, people.bob, people.carol))
    assert openssl.decrypt(mail, people.bob) == whole(entity)
    assert openssl.decrypt(mail, people.carol) == whole(entity)
    assert gpgsm.decrypt(mail) == whole(entity)
    with pytest.raises(Unreadable):
        openssl.decrypt(mail, people.alice)


# the readers do say no


def test_a_changed_mail_is_refused(people: People, verify: Callable[[bytes], bytes]) -> None:
    raw = MAILS["plain"]
    mail = written(raw, signed_clear(cleared(Message(raw)), template(people.alice)))
    with pytest.raises(Unreadable):
        verify(mail.replace(b"Hello Bob", b"Hello Eve"))


# size


def test_25_megabytes(people: People, openssl: Openssl) -> None:
    body = b"".join(b"%020d and some text to fill the line up\r\n" % n for n in range(400_000))
    raw = HEAD + TEXT + b"\r\n" + body
    entity = cleared(Message(raw))
    inner = signed_clear(entity, template(people.alice))
    mail = written(raw, encrypted(inner, people.bob))
    assert len(mail) > 25_000_000
    signed = openssl.decrypt(mail, people.bob)
    assert openssl.verify(signed) == whole(entity)
