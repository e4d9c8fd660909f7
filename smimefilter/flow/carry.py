"""Carrying a copy out: from the plan's words to bytes. CPU only, no I/O.

Signs, encrypts and wraps, in that order. Where the plan changes nothing, the bytes are those
that came. A clear signature needs 7-bit data; an entity that cannot be brought into that form
is signed opaquely instead, which every S/MIME reader reads as well.

Leaves what to do to `plan/`, CMS to `cms/`, MIME to `message/`. RFC 8551 §3.
Raises `KeyTrouble`, `CannotSign`, `CannotEncrypt` (4xx): a copy is made as planned, or not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

from smimefilter.base.algorithms import SignatureAlgorithm
from smimefilter.cms.algorithms import CONTENT
from smimefilter.cms.envelope import envelop
from smimefilter.cms.sign import Signer, SignerTemplate, detached, encapsulated
from smimefilter.cms.templates import recipient_of
from smimefilter.message.clear import NotClearable, cleared
from smimefilter.message.entity import Entity, Outer, canonical, outer
from smimefilter.message.headers import cut_subject
from smimefilter.message.protect import Hp, protected, veiled
from smimefilter.message.wire import Message
from smimefilter.message.wrap import SmimeType, multipart_signed, pkcs7_mime
from smimefilter.pki.certificate import Certificate
from smimefilter.plan.facts import Mail
from smimefilter.plan.inbound import Reader
from smimefilter.plan.plan import Copy, Encryption, Signing
from smimefilter.plan.snapshot import Moment
from smimefilter.policy.preferences import SignFormat
from smimefilter.ports.keys import KeyRing

from .keyfinder import KeyFinder
from .opening import MOST_OCTETS, Decrypted, MailReader
from .report import told

# What copies can have in common: who signs, what is cut, how header fields are protected.
_Kind = tuple[Signing | None, tuple[re.Pattern[str], ...], Hp | None]
KEPT: Final = 1024  # signer templates


class Carrier:
    """Makes copies with the private keys of one key ring; keeps templates of its signers."""

    def __init__(self, keys: KeyRing, most_octets: int = MOST_OCTETS) -> None:
        """`most_octets`: that one mail may take to be opened."""
        self._keys = keys
        self._most_octets = most_octets
        self._template = lru_cache(maxsize=KEPT)(self._make_template)
        self._finder: KeyFinder | None = None

    def reader(
        self,
        mail: Mail,
        moment: Moment,
        authserv_id: str,
        decrypted: Decrypted | None = None,
        *,
        brief: bool = False,
    ) -> MailReader:
        """Opens a mail with the keys of this key ring, whose certificates are in the moment.
        `decrypted`: of the same mail, opened before; `brief`: only where that is soon done."""
        if self._finder is None:
            snapshot = moment.snapshot
            known = map(snapshot.certificates.by_thumbprint, snapshot.keys)
            self._finder = KeyFinder((one for one in known if one is not None), self._keys)
        most = self._most_octets
        return MailReader(mail, self._finder, moment, authserv_id, most, decrypted, brief=brief)

    def asks_the_token(self, copies: Sequence[Copy]) -> bool:
        """Whether one is signed with a key in the token, which takes its time."""
        signers = {copy.signing.certificate.thumbprint for copy in copies if copy.signing}
        return any(map(self._keys.in_token, signers))

    def prepare(
        self,
        copies: Sequence[Copy],
        message: Message,
        now: datetime,
        token: str,
        reader: Reader,
    ) -> Prepared:
        """Everything that can fail, done: signatures made, once for all copies that differ in
        encryption alone, and recipients' keys tried. `token`: 22 or more random letters and
        digits."""
        inner: dict[_Kind, tuple[Outer, Entity]] = {}
        for copy in copies:
            kind = (copy.signing, copy.cuts, copy.protect)
            if not copy.is_untouched and copy.reading is None and kind not in inner:
                inner[kind] = self._inner(copy, message, now, token)
            if copy.encryption:
                for certificate in copy.encryption.certificates:
                    recipient_of(certificate, copy.encryption.transport)
        return Prepared(message, inner, reader)

    def _inner(
        self, copy: Copy, message: Message, now: datetime, token: str
    ) -> tuple[Outer, Entity]:
        """What stays outside, and the entity to be encrypted, signed where that is planned."""
        for pattern in copy.cuts:
            message = cut_subject(message, pattern)
        around = outer(veiled(message) if copy.protect is Hp.CIPHER else message)
        if copy.signing:
            return around, self._signed(message, copy.signing, copy.protect, now, token)
        return around, _whole(canonical(message), message, copy.protect)

    def _signed(
        self, message: Message, signing: Signing, hp: Hp | None, now: datetime, token: str
    ) -> Entity:
        template = self._template(signing.certificate, signing.chain, signing.algorithm)
        if signing.format is SignFormat.CLEAR:
            try:
                entity = _whole(cleared(message), message, hp)
                signature = detached(entity.chunks, template, now)
                return multipart_signed(entity, signature, template.micalg, token)
            except NotClearable:
                pass  # opaque carries any bytes
        entity = _whole(canonical(message), message, hp)
        return pkcs7_mime(SmimeType.SIGNED, encapsulated(entity.chunks, template, now))

    def _make_template(
        self,
        certificate: Certificate,
        chain: tuple[Certificate, ...],
        algorithm: SignatureAlgorithm,
    ) -> SignerTemplate:
        key = self._keys.private_key(certificate.thumbprint)
        return SignerTemplate.of(Signer(certificate, chain, key), algorithm)


class Prepared:
    """A mail whose copies are made one by one, when they are about to leave: the copies of a
    large mail to many are never in memory all at once."""

    def __init__(
        self, message: Message, inner: Mapping[_Kind, tuple[Outer, Entity]], reader: Reader
    ) -> None:
        self._message = message
        self._inner = inner
        self._reader = reader

    def chunks(self, copy: Copy) -> list[bytes]:
        """The bytes of a copy."""
        if copy.is_untouched:
            return self._message.chunks
        if copy.reading is not None:
            opening = self._reader.opening(copy.reading.rules)
            try:
                return told(self._message, opening, copy.reading).chunks
            except Exception:  # within what was decrypted it is no trouble of the mail's
                failed = self.as_if_failed(copy)
                if failed is None:
                    raise
                return failed
        around, entity = self._inner[copy.signing, copy.cuts, copy.protect]
        if copy.encryption:
            entity = _encrypted(entity, copy.encryption)
        return around.around(entity)

    def is_malleable(self, copy: Copy) -> bool:
        """Whether a copy holds what was decrypted and nothing authenticates."""
        if copy.reading is None:
            return False
        return self._reader.opening(copy.reading.rules).is_malleable

    def as_if_failed(self, copy: Copy) -> list[bytes] | None:
        """The bytes of a copy as they would be if it could not be decrypted; None where it
        was not."""
        if copy.reading is None:
            return None
        opening = self._reader.opening(copy.reading.rules).as_if_failed
        if opening is None:
            return None
        return told(self._message, opening, copy.reading).chunks


def _whole(entity: Entity, message: Message, hp: Hp | None) -> Entity:
    """The entity, with the header fields of the message where they are to be protected."""
    return entity if hp is None else protected(message, entity, hp)


def _encrypted(entity: Entity, encryption: Encryption) -> Entity:
    authenticated = CONTENT[encryption.cipher].authenticated
    kind = SmimeType.AUTH_ENVELOPED if authenticated else SmimeType.ENVELOPED
    pieces = envelop(
        entity.chunks, encryption.certificates, encryption.cipher, encryption.transport
    )
    return pkcs7_mime(kind, pieces)
