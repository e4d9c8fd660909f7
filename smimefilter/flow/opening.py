"""Opening a mail: its S/MIME layers taken off one after the other, each one told of.

Only what is the whole of a mail is opened. A decrypted part never stands beside parts that
came from elsewhere (EFAIL), and a signed part within an unsigned mail signs nothing. What is
inside replaces the MIME fields and the body, and nothing else of the mail: no header field
comes out of a layer.

The work has limits: layers, octets, signers, private key operations.

Whoever sends a mail must not learn from what becomes of it what a private key has opened:
deciphering without authentication (CBC) yields whatever an attacker made of somebody's mail,
and each difference that he sees tells of its text. So once a layer was decrypted nothing in it
is a reason to refuse or defer the mail: trouble within is the layer's, which stays as it came,
like one that cannot be decrypted.

CPU only; the clock is in the moment. What a signature is worth is `signers.py`'s; what a mail
becomes for whom is `plan/inbound.py`'s. RFC 8551 §3 and §6, RFC 5652. Raises `KeyTrouble` (a
key that is there and cannot be had: the mail waits) and `HeaderTooLarge`, for the layers that
stand in clear.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import takewhile
from typing import Final

from smimefilter.base.errors import KeyTrouble
from smimefilter.cms.ber import BadCms, Effort
from smimefilter.cms.compressed import TooLarge, decompress
from smimefilter.cms.decrypt import (
    CannotDecrypt,
    NoKey,
    Opened,
    TooMuch,
    Unsupported,
    decrypt,
)
from smimefilter.cms.enveloped import read_enveloped
from smimefilter.cms.recognise import Content, content_of
from smimefilter.cms.signed import SignedData, read_signed
from smimefilter.message.clear import NotClearable, cleared
from smimefilter.message.entity import Entity, canonical, outer
from smimefilter.message.lines import crlf, is_canonical
from smimefilter.message.mime import (
    ClearSigned,
    Protected,
    clear_signed,
    is_pkcs7_mime,
    is_said_protected,
    is_said_signed,
    pkcs7_body,
)
from smimefilter.message.protect import (
    Within,
    differing,
    is_another_author,
    restored,
    within,
)
from smimefilter.message.wire import Message, hides, is_clean
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
    SignerReport,
)
from smimefilter.plan.snapshot import Moment
from smimefilter.trust.verdict import Verdict

from .keyfinder import KeyFinder
from .signers import SignerJudge

MOST_OCTETS: Final = 167_772_160  # that are deciphered, unpacked and hashed for one mail
UNPACKED: Final = 3  # what is compressed may come to one in so many of these
MOST_SIGNERS: Final = 16  # of all layers of a mail together

TIMES: Final = 3  # so much of it by all openings of a mail, by different rules, together

BRIEF_OCTETS: Final = 65_536  # of a mail that may be opened at once
_BRIEF_LAYERS: Final = 4
_BRIEF_SIGNERS: Final = 2

_LOOKED_AT: Final = 100  # recipients whose keys may be kept back
_TOLD: Final = 5  # recipients of a mail that nobody here can open
_Inner = Callable[[], Message]


Allowed = frozenset[str] | None  # thumbprints: whose keys may be tried; None: all


class TakesLong(Exception):
    """A mail takes more work than others should have to wait for: to be opened in a thread."""


class Decrypted:
    """What the encrypted layers of one mail held, by how deep they stand and whose keys were
    tried: a mail may be opened again, by other rules or when more is known. And how many octets
    all of that has taken so far."""

    def __init__(self) -> None:
        self._known: Final[dict[tuple[int, Allowed], Opened | Exception]] = {}
        self.octets = 0

    def get(self, depth: int, allowed: Allowed, decrypting: Callable[[], Opened]) -> Opened:
        """Decrypt, or do not again. Raises what decrypting does."""
        found = self._known.get((depth, allowed))
        if found is None:
            try:
                found = decrypting()
            except (BadCms, CannotDecrypt, KeyTrouble) as error:
                found = error
            self._known[depth, allowed] = found
        if isinstance(found, Exception):
            raise found
        return found


def open_mail(
    mail: Mail,
    rules: OpeningRules,
    keys: KeyFinder,
    moment: Moment,
    most_octets: int = MOST_OCTETS,
    decrypted: Decrypted | None = None,
) -> Opening:
    """What is in a mail. The layers are taken off as far as `rules` go, and as long as no more
    than so many octets have been worked on, by all openings of the mail together than
    `TIMES` as many. `decrypted`: of the same mail, opened before."""
    return _Opener(mail, rules, keys, moment, most_octets, decrypted or Decrypted()).opened()


class MailReader:
    """`plan.inbound.Reader` of one mail: opens it once for each set of rules."""

    def __init__(
        self,
        mail: Mail,
        keys: KeyFinder,
        moment: Moment,
        authserv_id: str,
        most_octets: int = MOST_OCTETS,
        decrypted: Decrypted | None = None,
        *,
        brief: bool = False,
    ) -> None:
        """`brief`: what takes long is left, by `TakesLong`."""
        self.authserv_id: Final = authserv_id
        self.brief = brief
        self._most_octets: Final = most_octets
        self._mail: Final = mail
        self._keys: Final = keys
        self._moment: Final = moment
        self._decrypted: Final = decrypted or Decrypted()
        self._openings: Final[dict[tuple[OpeningRules, Allowed], Opening]] = {}
        self._keyless: Final[dict[OpeningRules, Opening]] = {}  # no key was asked for

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Those on the signers found so far. None from within unauthenticated encryption: a
        mail that waits for what a verdict misses would tell that it could be opened."""
        return tuple(
            signer.verdict
            for opening in self._openings.values()
            for layer in takewhile(_is_open_to_all, opening.layers)
            if isinstance(layer, SignedLayer)
            for signer in layer.signers
            if signer.verdict is not None
        )

    def opening(self, rules: OpeningRules) -> Opening:
        """What is in the mail: one opening for all to whom the same keys are allowed, and for
        all where none is asked for. Raises `KeyTrouble`, and `TakesLong` if it is brief."""
        alike = replace(rules, keys_for=())
        which = alike, self._keys.allowed(rules.keys_for)
        found = self._openings.get(which) or self._keyless.get(alike)
        if found is None:
            most, known = self._most_octets, self._decrypted
            opener = _Opener(
                self._mail, rules, self._keys, self._moment, most, known, brief=self.brief
            )
            found = self._openings[which] = opener.opened()
            if not opener.asked_for_keys:
                self._keyless[alike] = found
        return found


class _Opener:
    def __init__(
        self,
        mail: Mail,
        rules: OpeningRules,
        keys: KeyFinder,
        moment: Moment,
        most_octets: int,
        decrypted: Decrypted,
        *,
        brief: bool = False,
    ) -> None:
        self._mail = mail
        self._brief = brief
        self._decrypted = decrypted
        self._rules = rules
        self._keys = keys
        self._effort = Effort()
        self._allowed = keys.allowed(rules.keys_for)
        self.asked_for_keys = False
        self._octets = min(most_octets, TIMES * most_octets - decrypted.octets)
        self._unpacked = most_octets // UNPACKED
        self._signers_left = MOST_SIGNERS
        self._judge = SignerJudge(mail, moment)
        self._layers: list[Layer] = []
        self._fields: Within | None = None  # header fields that were protected
        self._kept: Message | None = None
        self._stripped: Message | None = None

    def opened(self) -> Opening:
        try:
            return self._opened()
        except TakesLong:
            raise
        except Exception:
            failed = Opening(tuple(self._layers)).as_if_failed
            if failed is None:
                raise
            return failed

    def _opened(self) -> Opening:
        message, cut_short, vouched = self._mail.message, False, True
        while (inside := self._next(message)) is not None:
            if len(self._layers) == self._rules.depth:
                cut_short = True
                break
            layer, inner = inside
            self._layers.append(layer)
            self._not_long(layers=len(self._layers))
            if inner is None:
                break
            found = message = inner()
            if not isinstance(layer, SignedLayer):
                self._kept = self._stripped = found
                continue
            vouched = vouched and _is_good(layer)
            if vouched:  # a signature that is not good stays, with all that it is around
                self._stripped = found
        if self._kept is not None and self._fields is not None:
            self._kept = restored(self._kept, self._fields)
        parts = Protected.NOTHING if self._layers else self._mail.protected_parts
        return Opening(
            tuple(self._layers), self._kept, self._stripped,
            partly_signed=Protected.SIGNED in parts,
            partly_encrypted=Protected.ENCRYPTED in parts, cut_short=cut_short,
        )  # fmt: skip

    def _next(self, message: Message) -> tuple[Layer, _Inner | None] | None:
        """The outermost layer of what is left, and what is in it, where it can be opened."""
        if not is_said_protected(message):
            return None
        signed = clear_signed(message)
        if signed is not None:
            return self._clear_signed(message, signed)
        body = pkcs7_body(message)
        if body is None and is_said_signed(message):  # and is not, in form
            return SignedLayer(clear=True, signers=(), malformed=True), None
        if body is None:
            broken = EncryptedLayer(Outcome.MALFORMED)
            return (broken, None) if is_pkcs7_mime(message) else None
        match content_of(body):
            case Content.ENCRYPTED:
                return self._encrypted(message, body)
            case Content.SIGNED:
                return self._opaque(message, body)
            case Content.COMPRESSED:
                return self._compressed(message, body)
            case None:
                return EncryptedLayer(Outcome.MALFORMED), None

    # layers

    def _encrypted(
        self, message: Message, body: memoryview
    ) -> tuple[EncryptedLayer, _Inner | None]:
        if not self._rules.decrypt:
            return EncryptedLayer(Outcome.NOT_ASKED), None
        self._not_long(encrypted=True)
        self.asked_for_keys = True

        def decrypting() -> Opened:
            find = partial(self._keys.find, allowed=self._allowed)
            return decrypt(read_enveloped(body, self._effort), find, self._may_spend)

        try:
            found = self._decrypted.get(len(self._layers), self._allowed, decrypting)
        except BadCms:
            return EncryptedLayer(Outcome.MALFORMED), None
        except TooMuch:
            return EncryptedLayer(Outcome.TOO_MUCH), None
        except NoKey:
            return self._without_a_key(body), None
        except Unsupported:
            return EncryptedLayer(Outcome.UNSUPPORTED), None
        except CannotDecrypt:
            self._work_as_if_opened(message, body)
            return EncryptedLayer(Outcome.FAILED), None
        layer = EncryptedLayer(
            Outcome.OPENED,
            found.cipher,
            found.transport,
            found.authenticated,
            found.certificate,
        )
        return layer, lambda: self._inside(message, within(found.content))

    def _without_a_key(self, body: memoryview) -> EncryptedLayer:
        """Whether a key is at hand that policy keeps back; else whom the mail names."""
        named = [one.recipient for one in read_enveloped(body, Effort()).recipients]
        if self._allowed is not None:
            for identifier in named[:_LOOKED_AT]:
                for certificate, _ in self._keys.find(identifier):
                    return EncryptedLayer(Outcome.KEY_WITHHELD, certificate=certificate)
        return EncryptedLayer(Outcome.NO_KEY, recipients=tuple(map(str, named[:_TOLD])))

    def _work_as_if_opened(self, message: Message, body: memoryview) -> None:
        """About what a content takes once it is open, for nothing: who sends a mail could else
        tell by the time, with a content that takes long, whether it was opened."""
        with suppress(Exception):
            content = b"".join(read_enveloped(body, Effort()).content)
            _around(message, within(content).entity)

    def _compressed(
        self, message: Message, body: memoryview
    ) -> tuple[CompressedLayer, _Inner | None]:
        self._not_long(compressed=True)
        try:
            most = max(min(self._octets, self._unpacked), 0)
            content = decompress(body, self._effort, most)
        except TooLarge:
            return CompressedLayer(Outcome.TOO_MUCH), None
        except BadCms:
            return CompressedLayer(Outcome.MALFORMED), None
        self._may_spend(len(content))
        inner = self._inside(message, within(content))
        return CompressedLayer(Outcome.OPENED), lambda: inner

    def _opaque(
        self, message: Message, body: memoryview
    ) -> tuple[SignedLayer, _Inner | None] | None:
        try:
            data = read_signed(body, self._effort)
        except BadCms:
            return SignedLayer(clear=False, signers=(), malformed=True), None
        if not data.signers:
            return None  # certificates alone: nobody signed
        if data.content is None:  # a signature of something elsewhere
            return SignedLayer(clear=False, signers=(), malformed=True), None
        content = b"".join(data.content)
        found = within(content)
        layer = self._signed(data, [content], found, clear=False)
        inner = self._inside(message, found)
        return layer, lambda: inner

    def _clear_signed(
        self, message: Message, signed: ClearSigned
    ) -> tuple[SignedLayer, _Inner | None]:
        content = bytes(signed.content)
        found = within(content)
        entity = self._inside(message, found)

        def inner() -> Message:
            return entity

        try:
            data = read_signed(signed.signature, self._effort)
        except BadCms:
            return SignedLayer(clear=True, signers=(), malformed=True), inner
        if data.content is not None:  # which one would be shown, and which one was signed?
            return SignedLayer(clear=True, signers=(), malformed=True), inner
        forms = [content]
        if not is_canonical(content):
            forms.append(crlf(content))
        elif self._layers:  # canonical since it was taken out; it may have been signed before
            forms.append(content.replace(b"\r\n", b"\n"))
        return self._signed(data, forms, found, clear=True), inner

    def _inside(self, message: Message, found: Within) -> Message:
        """The mail with an entity in the place of what it was in, and with the header fields
        that were protected by it."""
        inner = _around(message, found.entity)
        if not found.fields:
            return inner
        self._fields = found
        return restored(inner, found)

    # signers

    def _signed(
        self, data: SignedData, forms: list[bytes], found: Within, *, clear: bool
    ) -> SignedLayer:
        mail, signers = self._mail.message, self._signers(data, forms)
        if is_another_author(mail, found) or hides(mail, b"from"):
            signers = tuple(map(_not_the_authors, signers))
        hidden = any(isinstance(layer, EncryptedLayer) for layer in self._layers)
        changed = () if hidden else differing(mail, found)
        return SignedLayer(clear, signers, changed=changed)

    def _signers(self, data: SignedData, forms: list[bytes]) -> tuple[SignerReport, ...]:
        if not self._rules.verify:
            return tuple(SignerReport(Signature.NOT_ASKED) for _ in data.signers)
        self._not_long(signers=len(data.signers))
        self._signers_left -= len(data.signers)
        digests = len({info.digest.oid for info in data.signers})
        if self._signers_left < 0 or not self._may_spend(sum(map(len, forms)) * digests):
            return tuple(SignerReport(Signature.UNREAD) for _ in data.signers)
        return self._judge.reports(data, forms)

    def _not_long(
        self, *, layers: int = 0, signers: int = 0, compressed: bool = False,
        encrypted: bool = False,
    ) -> None:  # fmt: skip
        """Raises `TakesLong` where an opening that is to be brief is not: before a private key
        is used, since the way of a mail must not depend on what one has opened."""
        many = layers > _BRIEF_LAYERS or signers > _BRIEF_SIGNERS
        if self._brief and (compressed or encrypted or many):
            raise TakesLong

    def _may_spend(self, octets: int) -> bool:
        self._octets -= octets
        self._decrypted.octets += octets
        return self._octets >= 0


def _is_good(layer: SignedLayer) -> bool:
    """Whether all its signatures are good: another one is for people to see."""
    signatures = [one.signature for one in layer.signers]
    return bool(signatures) and all(one is Signature.GOOD for one in signatures)


def _is_open_to_all(layer: Layer) -> bool:
    """Whether what is in it is known without a key, or came from whoever has one."""
    return not isinstance(layer, EncryptedLayer) or layer.authenticated


def _not_the_authors(signer: SignerReport) -> SignerReport:
    """The same where the signed content says to be somebody else's."""
    if signer.signature is not Signature.GOOD:
        return signer
    return replace(signer, signature=Signature.MISMATCH, along=(), new_key=False)


def _around(message: Message, entity: Message) -> Message:
    """The mail with a MIME entity in the place of what it was in. Where that is not fit to be
    sent as it is, it is encoded anew, as far as nothing in it is signed."""
    try:
        made = cleared(entity)
    except NotClearable:
        made = canonical(entity)
    header = Message(made.header).without("MIME-Version")  # the mail has one of its own
    fit = Entity(b"".join(line for line in header.lines if is_clean(line)), made.body)
    return Message(b"".join(outer(message).around(fit)))
