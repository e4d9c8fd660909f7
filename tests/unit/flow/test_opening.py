"""Opening mails: every order of layers, what keeps them closed, what signatures are worth."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asn1crypto import cms
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.base.algorithms import ContentCipher, SignatureAlgorithm
from smimefilter.cms.sign import Signer, SignerTemplate, encapsulated
from smimefilter.cms.verify import Flaw
from smimefilter.flow.keyfinder import KeyFinder
from smimefilter.flow.opening import (
    MOST_OCTETS,
    Decrypted,
    MailReader,
    TakesLong,
    open_mail,
)
from smimefilter.message import protect
from smimefilter.message.clear import NotClearable
from smimefilter.message.entity import canonical, outer
from smimefilter.message.protect import Hp
from smimefilter.message.wire import Message
from smimefilter.message.wrap import SmimeType, pkcs7_mime
from smimefilter.plan.facts import Mail
from smimefilter.plan.opened import (
    CompressedLayer,
    EncryptedLayer,
    Layer,
    Opening,
    OpeningRules,
    Outcome,
    Signature,
    SignedLayer,
    lesson,
)
from smimefilter.trust.verdict import Standing
from tests.support import mails
from tests.support.pki import NOW, Issued, root
from tests.support.plans import AUTHORITY, World
from tests.support.ring import Ring
from tests.support.smime import clear_signed, compressed, encrypted, encrypted_as, opaque_signed

ALICE, BOB = "alice@out.test", "bob@in.test"
WORLD = World()
AUTHOR = WORLD.person(ALICE)
US = WORLD.person(BOB, key=True)
FOREIGN = root("Foreign Root").issue("Foreign Sub", ca=True).issue("Alice", mail=ALICE)
BODY = "Grüße\r\n\r\n.\r\nand a last line\r\n".encode()
PLAIN = (
    b"Received: from there by here; Mon, 1 Jun 2026 12:00:00 +0000\r\n"
    b"From: Alice <alice@out.test>\r\nTo: bob@in.test\r\nSubject: hello\r\n"
    b"Message-ID: <1@out.test>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + BODY
)

RULES = OpeningRules()


def opened(
    mail: bytes,
    rules: OpeningRules = RULES,
    world: World = WORLD,
    most: int = MOST_OCTETS,
) -> Opening:
    moment = world.moment()
    known = map(moment.snapshot.certificates.by_thumbprint, moment.snapshot.keys)
    keys = KeyFinder([one for one in known if one], Ring(world))
    return open_mail(Mail(Message(mail)), rules, keys, moment, most)


def shape(opening: Opening) -> list[str]:
    return [type(layer).__name__.removesuffix("Layer").lower() for layer in opening.layers]


def signature(opening: Opening, at: int = 0) -> Signature:
    layer = opening.layers[at]
    assert isinstance(layer, SignedLayer)
    assert layer.best
    return layer.best.signature


def text_of(message: Message | None) -> str:
    """The text, as a mail program reads it."""
    import email
    import email.policy

    assert message is not None
    found = email.message_from_bytes(message.raw, policy=email.policy.default)
    body = found.get_body()
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


Wrap = Callable[[bytes], bytes]
WRAPS: dict[str, Wrap] = {
    "clear": lambda mail: clear_signed(mail, AUTHOR),
    "opaque": lambda mail: opaque_signed(mail, AUTHOR),
    "encrypt": lambda mail: encrypted(mail, US),
    "gcm": lambda mail: encrypted(mail, US, cipher=ContentCipher.AES_256_GCM),
    "compress": compressed,
}
KINDS = {"clear": "signed", "opaque": "signed", "encrypt": "encrypted", "gcm": "encrypted",
         "compress": "compressed"}  # fmt: skip


@given(st.lists(st.sampled_from(list(WRAPS)), min_size=1, max_size=5))
def test_every_order_of_layers_opens_to_the_same_text(order: list[str]) -> None:
    mail = PLAIN
    for name in reversed(order):
        mail = WRAPS[name](mail)
    found = opened(mail)
    assert shape(found) == [KINDS[name] for name in order]
    assert not found.cut_short
    assert found.closed is None
    assert text_of(found.stripped) == BODY.decode().replace("\r\n", "\n")
    for layer in found.layers:
        if isinstance(layer, SignedLayer):
            assert layer.best
            assert layer.best.signature is Signature.GOOD
        else:
            assert layer.outcome is Outcome.OPENED
    is_signed = any(name in {"clear", "opaque"} for name in order)
    assert (found.signed_by is not None) == is_signed
    assert found.was_decrypted == any(name in {"encrypt", "gcm"} for name in order)


@given(st.lists(st.sampled_from(list(WRAPS)), min_size=1, max_size=4))
def test_what_is_kept_are_the_signatures_within(order: list[str]) -> None:
    mail = PLAIN
    for name in reversed(order):
        mail = WRAPS[name](mail)
    found = opened(mail)
    within = re.split(r"encrypted|compressed", " ".join(KINDS[name] for name in order))[-1]
    if all(KINDS[name] == "signed" for name in order):
        assert found.kept is None
        return
    assert found.kept is not None
    again = opened(found.kept.raw)
    assert shape(again) == within.split()
    assert all(one is Signature.GOOD for one in again.signatures)


def test_the_header_of_the_mail_stays_and_its_mime_fields_are_those_within() -> None:
    found = opened(encrypted(clear_signed(PLAIN, AUTHOR), US))
    assert found.stripped is not None
    names = found.stripped.names
    for name in ("received", "from", "to", "subject", "message-id", "mime-version"):
        assert names.count(name.encode()) == 1
    assert found.stripped.get("Content-Type") == b"text/plain; charset=utf-8"


def test_fields_within_do_not_come_out() -> None:
    body = PLAIN.partition(b"\r\n\r\n")[2]
    within = b"X-Smimefilter-Signed-By: a@b.test\r\nSubject: forged\r\nBcc: x@y.test\r\n"
    found = opened(encrypted_as(PLAIN, within + b"Content-Type: text/plain\r\n\r\n" + body, US))
    assert found.kept is not None
    assert found.kept.all("Subject") == [b"hello"]
    assert found.kept.get("X-Smimefilter-Signed-By") is None
    assert found.kept.get("Bcc") is None


def test_a_layer_that_is_not_for_us() -> None:
    stranger = WORLD_OF_OTHERS.person("carol@else.test")
    found = opened(encrypted(PLAIN, stranger))
    (layer,) = found.layers
    assert isinstance(layer, EncryptedLayer)
    assert layer.outcome is Outcome.NO_KEY
    assert found.closed is layer
    assert found.kept is None
    assert found.stripped is None


WORLD_OF_OTHERS = World()


def test_an_expired_certificate_still_reads_old_mail() -> None:
    world = World()
    old = world.person(BOB, key=True, not_after=NOW - timedelta(days=1))
    assert not world.moment().verdict(old.certificate, _any(), world.moment().view(BOB)).usable
    found = opened(encrypted(PLAIN, old), world=world)
    assert found.was_decrypted


def _any() -> Any:
    from smimefilter.trust.verdict import Purpose

    return Purpose.ENCRYPT


def _broken(mail: bytes) -> bytes:
    head, _, body = mail.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n" + body[: len(body) // 2] + b"!!" + body[len(body) // 2 :]


def test_broken_cms_and_broken_base64_are_malformed() -> None:
    mail = encrypted(PLAIN, US)
    for broken in (_broken(mail), mail[: len(mail) // 2] + b"\r\n"):
        (layer,) = opened(broken).layers
        assert isinstance(layer, EncryptedLayer)
        assert layer.outcome in {Outcome.MALFORMED, Outcome.FAILED}


def test_policy_may_leave_encrypted_mail_closed() -> None:
    found = opened(encrypted(PLAIN, US), OpeningRules(decrypt=False))
    (layer,) = found.layers
    assert isinstance(layer, EncryptedLayer)
    assert layer.outcome is Outcome.NOT_ASKED
    assert found.closed is None


def test_policy_may_leave_signatures_unverified() -> None:
    found = opened(encrypted(clear_signed(PLAIN, AUTHOR), US), OpeningRules(verify=False))
    assert found.signatures == [Signature.NOT_ASKED]
    assert found.signed_by is None
    assert found.was_decrypted


def test_no_more_layers_than_policy_says() -> None:
    mail = PLAIN
    for _ in range(5):
        mail = encrypted(mail, US)
    found = opened(mail, OpeningRules(depth=3))
    assert len(found.layers) == 3
    assert found.cut_short
    assert shape(opened(found.stripped.raw if found.stripped else b"")) == ["encrypted"] * 2


# what a signature is worth


@pytest.mark.parametrize("wrap", ["clear", "opaque"])
def test_the_author_of_a_trusted_certificate(wrap: str) -> None:
    found = opened(WRAPS[wrap](PLAIN))
    assert found.signed_by
    assert found.signed_by.certificate == AUTHOR.certificate
    assert found.signed_by.standing is Standing.VALID
    assert found.kept is None


def test_somebody_elses_certificate() -> None:
    mallory = WORLD.person("mallory@out.test")
    found = opened(clear_signed(PLAIN, mallory))
    assert signature(found) is Signature.MISMATCH
    assert found.signed_by is None


def test_a_certificate_without_a_trusted_root() -> None:
    found = opened(clear_signed(PLAIN, FOREIGN, chain=True))
    assert signature(found) is Signature.UNTRUSTED


def test_the_chain_that_came_along_leads_to_the_root() -> None:
    from tests.support.plans import ROOT

    sub = ROOT.issue("Sub that nobody has", ca=True)
    author = sub.issue("Alice", mail=ALICE)
    assert signature(opened(clear_signed(PLAIN, author))) is Signature.UNTRUSTED
    assert signature(opened(clear_signed(PLAIN, author, chain=True))) is Signature.GOOD


def test_an_expired_certificate_whatever_time_the_signer_claims() -> None:
    world = World()
    old = world.person(ALICE, not_after=NOW - timedelta(days=1))
    mail = clear_signed(PLAIN, old, at=NOW - timedelta(days=30))
    found = opened(mail, world=world)
    assert signature(found) is Signature.UNTRUSTED
    (layer,) = found.layers
    assert isinstance(layer, SignedLayer)
    assert layer.best
    assert layer.best.standing is Standing.EXPIRED


@pytest.mark.parametrize("wrap", ["clear", "opaque"])
def test_changed_content(wrap: str) -> None:
    mail = WRAPS[wrap](PLAIN)
    if wrap == "clear":
        changed = mail.replace(b"last line", b"first line")
        assert changed != mail
    else:
        changed = _flipped_content(mail)
    found = opened(changed)
    assert signature(found) is Signature.BAD
    (layer,) = found.layers
    assert isinstance(layer, SignedLayer)
    assert layer.best
    assert layer.best.flaw is Flaw.CONTENT_CHANGED


def _flipped_content(mail: bytes) -> bytes:
    import base64

    head, _, body = mail.partition(b"\r\n\r\n")
    der = base64.b64decode(body)
    changed = der.replace(b"last line", b"best line")
    assert changed != der
    return head + b"\r\n\r\n" + base64.encodebytes(changed).replace(b"\n", b"\r\n")


def test_several_from_fields_or_authors_are_nobody() -> None:
    mail = clear_signed(PLAIN, AUTHOR)
    for line in (
        b"From: Alice <alice@out.test>\r\nFrom: boss@in.test\r\n",
        b"From: alice@out.test, boss@in.test\r\n",
        b"From: boss@in.test\r\n",
    ):
        twice = mail.replace(b"From: Alice <alice@out.test>\r\n", line)
        assert twice != mail
        assert signature(opened(twice)) is Signature.MISMATCH


def test_bare_line_feeds_are_verified_in_canonical_form() -> None:
    mail = clear_signed(PLAIN.replace("ü".encode(), b"ue"), AUTHOR)
    assert signature(opened(mail.replace(b"\r\n", b"\n"))) is Signature.GOOD


@given(st.data())
def test_mutations_end_in_a_report(data: st.DataObject) -> None:
    mail = bytearray(data.draw(st.sampled_from(MUTATED)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(mail) - 1))
        if data.draw(st.booleans()):
            mail[at] = data.draw(st.integers(0, 255))
        else:
            del mail[at : at + data.draw(st.integers(1, 40))]
    found = opened(bytes(mail))
    for layer in found.layers:
        assert isinstance(layer, Layer)


MUTATED = [
    WRAPS["clear"](PLAIN), WRAPS["opaque"](PLAIN), WRAPS["gcm"](WRAPS["clear"](PLAIN)),
    WRAPS["compress"](PLAIN), WRAPS["clear"](WRAPS["encrypt"](PLAIN)),
]  # fmt: skip


def test_pss_and_a_weak_digest() -> None:
    mail = clear_signed(PLAIN, FOREIGN_RSA, algorithm=SignatureAlgorithm.SHA384_PSS)
    assert signature(opened(mail, world=RSA_WORLD)) is Signature.GOOD


RSA_WORLD = World()
FOREIGN_RSA: Issued = RSA_WORLD.person(ALICE)


# header fields within


def protected_mail(hp: Hp, mail: bytes = PLAIN) -> bytes:
    """The mail with its fields within, unwrapped: to be signed or encrypted as it is."""
    message = Message(mail)
    return b"".join(map(bytes, protect.protected(message, canonical(message), hp).chunks))


def test_the_subject_of_an_encrypted_mail_comes_back() -> None:
    outside = protect.veiled(Message(PLAIN)).raw
    assert b"hello" not in outside.partition(b"\r\n\r\n")[0]
    mail = encrypted_as(outside, protected_mail(Hp.CIPHER), US)
    found = opened(mail)
    assert found.kept is not None
    assert found.kept.all("Subject") == [b"hello"]
    assert found.kept.get("HP-Outer") is None
    assert text_of(found.kept) == BODY.decode().replace("\r\n", "\n")


def test_also_from_within_a_signature_that_stays() -> None:
    outside = protect.veiled(Message(PLAIN)).raw
    signed = _signed_as(outside, protected_mail(Hp.CIPHER))
    found = opened(encrypted(signed, US))
    assert found.signed_by
    assert found.kept is not None
    assert found.kept.all("Subject") == [b"hello"]
    assert opened(found.kept.raw).signatures == [Signature.GOOD]


def test_a_subject_that_was_changed_outside_is_told_of() -> None:
    mail = _signed_as(PLAIN, protected_mail(Hp.CLEAR))
    (layer,) = opened(mail).layers
    assert isinstance(layer, SignedLayer)
    assert layer.changed == ()
    (layer,) = opened(mail.replace(b"Subject: hello", b"Subject: URGENT", 1)).layers
    assert isinstance(layer, SignedLayer)
    assert layer.changed == ("subject",)


def test_an_author_within_who_is_not_the_one_outside() -> None:
    within = protected_mail(Hp.CLEAR, PLAIN.replace(b"Alice <alice@out.test>", b"boss@in.test"))
    assert signature(opened(_signed_as(PLAIN, within))) is Signature.MISMATCH


def _signed_as(mail: bytes, content: bytes) -> bytes:
    template = SignerTemplate.of(
        Signer(AUTHOR.certificate, (), AUTHOR.key), SignatureAlgorithm.SHA256
    )
    pieces = encapsulated([content], template, NOW)
    wrapped = pkcs7_mime(SmimeType.SIGNED, pieces)
    return b"".join(outer(Message(mail)).around(wrapped))


# limits


def test_no_more_octets_are_worked_on_than_a_mail_may_cost() -> None:
    mail = encrypted(encrypted(PLAIN, US), US)
    found = opened(mail, most=int(len(mail) * 0.47))
    first, second = found.layers
    assert isinstance(first, EncryptedLayer)
    assert isinstance(second, EncryptedLayer)
    assert (first.outcome, second.outcome) == (Outcome.OPENED, Outcome.TOO_MUCH)
    assert found.closed is None  # nobody outside can tell


def test_what_unpacks_to_more_than_a_mail_may_cost_stays_packed() -> None:
    bomb = compressed(PLAIN + bytes(3_000_000))
    assert len(bomb) < 10_000
    found = opened(bomb, most=1_000_000)
    (layer,) = found.layers
    assert isinstance(layer, CompressedLayer)
    assert layer.outcome is Outcome.TOO_MUCH
    assert found.kept is None


def test_no_more_signers_are_verified_than_a_mail_may_have() -> None:
    mail = PLAIN
    for _ in range(5):
        mail = _signed_by_many(mail, 4)
    found = opened(mail)
    assert [one is Signature.UNREAD for one in found.signatures] == [False] * 4 + [True]
    assert found.signed_by is None or found.signatures[0] is Signature.GOOD


def _signed_by_many(mail: bytes, number: int) -> bytes:
    """Opaque, the same signer several times."""
    signed = opaque_signed(mail, AUTHOR)
    head, _, body = signed.partition(b"\r\n\r\n")
    info = cms.ContentInfo.load(base64.b64decode(body))
    one = info["content"]["signer_infos"][0]
    info["content"]["signer_infos"] = [one.copy() for _ in range(number)]
    der = bytes(info.dump(force=True))
    return head + b"\r\n\r\n" + base64.encodebytes(der).replace(b"\n", b"\r\n")


def test_recipients_beyond_measure_cost_no_more_than_a_look() -> None:
    """A mail stuffed with recipients that are all us: so many keys are tried, and no more."""
    mail = encrypted(PLAIN, US)
    head, _, body = mail.partition(b"\r\n\r\n")
    info = cms.ContentInfo.load(base64.b64decode(body))
    infos = info["content"]["recipient_infos"]
    one = infos[0]
    broken = one.copy()
    key = broken.chosen["recipient_encrypted_keys"][0]["encrypted_key"]
    broken.chosen["recipient_encrypted_keys"][0]["encrypted_key"] = bytes(len(key.native))
    info["content"]["recipient_infos"] = [broken.copy() for _ in range(500)]
    der = bytes(info.dump(force=True))
    stuffed = head + b"\r\n\r\n" + base64.encodebytes(der).replace(b"\n", b"\r\n")
    found = opened(stuffed)
    (layer,) = found.layers
    assert isinstance(layer, EncryptedLayer)
    assert layer.outcome is Outcome.FAILED


def test_what_a_signers_verdict_misses_is_asked_for() -> None:
    """The plan says what it needs, and is made again when that is there."""
    world = World().set("global", ocsp="yes").set("in.test", locality="internal")
    author = AUTHORITY.issue("Alice", mail=ALICE, key="p256", ocsp_urls=["http://ocsp.test/"])
    plan = world.plan(ALICE, BOB, mail=clear_signed(PLAIN, author), keys=Ring(world))
    (need,) = plan.needs
    assert need.urls == ("http://ocsp.test/",)
    assert not world.plan(ALICE, BOB, mail=PLAIN, keys=Ring(world)).needs


# whatever the mail


def leaves() -> st.SearchStrategy[bytes]:
    """Parts that are none of S/MIME, with any body."""
    kinds = st.sampled_from([
        b"", b"Content-Type: text/plain\r\n",
        b"Content-Type: text/html; charset=iso-8859-1\r\n",
        b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n",
        b'Content-Type: image/png; name="=?utf-8?q?=C3=BC?="\r\n',
        b"Content-Type: message/rfc822\r\n\r\nSubject: within\r\n",
        b"Content-Type: nonsense\r\nContent-Id: <x>\r\n",
    ])  # fmt: skip
    body = st.one_of(
        st.binary(max_size=300),
        st.text(max_size=200).map(str.encode),
        st.lists(st.sampled_from([b".", b"..", b"", b"From x", b"--b", b" ", b"a" * 1200]))
        .map(b"\r\n".join),
    )  # fmt: skip
    return st.builds(lambda kind, text: kind + b"\r\n" + text, kinds, body)


def multiparts(children: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    def made(parts: list[bytes], boundary: str) -> bytes:
        line = b"--" + boundary.encode()
        head = f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n'.encode()
        return (
            head + b"".join(line + b"\r\n" + one + b"\r\n" for one in parts) + line + b"--\r\n"
        )

    return st.builds(
        made, st.lists(children, max_size=3), st.sampled_from(["=_b1_=", "=_b 2_=", "=_x:y"])
    )


ENTITIES = st.recursive(leaves(), multiparts, max_leaves=6)


@given(ENTITIES, st.lists(st.sampled_from(list(WRAPS)), min_size=1, max_size=3))
def test_what_comes_out_is_what_went_in(entity: bytes, order: list[str]) -> None:
    """In the form that S/MIME itself asks for: canonical line ends, and 7-bit where that can
    be."""
    mail = b"From: Alice <alice@out.test>\r\nTo: bob@in.test\r\n" + entity
    wanted = _canonical_content(mail)
    for name in reversed(order):
        try:
            mail = WRAPS[name](mail)
        except NotClearable:
            mail = WRAPS["opaque"](mail)
    found = opened(mail)
    assert len(found.layers) == len(order)
    assert all(one is Signature.GOOD for one in found.signatures)
    assert found.stripped is not None
    assert _canonical_content(found.stripped.raw) == wanted


def _canonical_content(mail: bytes) -> list[tuple[str, bytes]]:
    """Types and contents of all leaves, decoded; text in lines, whatever ends them."""
    message = Message(mail)
    return mails.leaves(b"".join(map(bytes, canonical(message).chunks)))


def test_only_good_signatures_are_stripped() -> None:
    signed = clear_signed(PLAIN.replace(BODY, b"Hello\r\n"), AUTHOR)
    assert opened(signed).stripped is not None
    assert opened(signed.replace(b"Hello", b"Hallo")).stripped is None
    assert opened(signed, OpeningRules(verify=False)).stripped is None
    inside = encrypted(signed.replace(b"Hello", b"Hallo"), US)
    found = opened(inside)
    assert shape(found) == ["encrypted", "signed"]
    assert found.stripped is not None
    assert (found.stripped.get("Content-Type") or b"").startswith(b"multipart/signed")


def test_a_mail_that_is_opened_again_is_not_decrypted_again() -> None:
    class Counting(Ring):
        asked = 0

        def private_key(self, thumbprint: str) -> Any:
            self.asked += 1
            return super().private_key(thumbprint)

    ring, known, moment = Counting(WORLD), Decrypted(), WORLD.moment()
    mail, keys = Mail(Message(encrypted(PLAIN, US))), KeyFinder([US.certificate], ring)
    for rules in (OpeningRules(), OpeningRules(verify=False), OpeningRules()):
        assert open_mail(mail, rules, keys, moment, decrypted=known).was_decrypted
    assert ring.asked == 1
    others = OpeningRules(keys_for=("carol@in.test",))
    assert not open_mail(mail, others, keys, moment, decrypted=known).was_decrypted


def test_what_an_author_reads_is_learnt_from_trusted_signatures_alone() -> None:
    """With `harvest: any` anybody may speak in his name."""
    forged = lesson(opened(clear_signed(PLAIN, FOREIGN)), ALICE, trusted=False)
    assert forged is not None
    assert (forged.certificates[0], forged.capabilities) == (FOREIGN.certificate, None)
    true = lesson(opened(clear_signed(PLAIN, AUTHOR)), ALICE, trusted=False)
    assert true is not None
    assert true.capabilities is not None
    assert true.said == NOW


def brief(mail: bytes) -> Opening:
    moment = WORLD.moment()
    known = map(moment.snapshot.certificates.by_thumbprint, moment.snapshot.keys)
    keys = KeyFinder([one for one in known if one], Ring(WORLD))
    return MailReader(Mail(Message(mail)), keys, moment, "gw.test", brief=True).opening(RULES)


@pytest.mark.parametrize("order", [(), ("clear",), ("opaque",), ("opaque", "clear")])
def test_what_people_send_is_opened_at_once(order: tuple[str, ...]) -> None:
    mail = PLAIN
    for one in order:
        mail = WRAPS[one](mail)
    assert shape(brief(mail)) == shape(opened(mail))


@pytest.mark.parametrize(
    "order",
    [
        ("compress",),
        ("compress", "encrypt"),
        ("clear",) * 5,
        ("encrypt",),
        ("clear", "encrypt"),
    ],
)
def test_what_may_take_long_is_not_done_at_once(order: tuple[str, ...]) -> None:
    mail = PLAIN
    for one in order:
        mail = WRAPS[one](mail)
    with pytest.raises(TakesLong):
        brief(mail)
