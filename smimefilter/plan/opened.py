"""What was found when a mail was opened: its S/MIME layers, outermost first. Values only.

A layer is the whole of the mail it stands in; what protects only a part of a mail protects
nothing that a reader could tell apart, and is not opened. `flow/opening.py` makes these values,
`inbound.py` decides by them, `flow/report.py` tells of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final

from smimefilter.base.algorithms import Capabilities
from smimefilter.cms.verify import Flaw
from smimefilter.message.tags import tag_pattern
from smimefilter.message.wire import Message
from smimefilter.pki.certificate import Certificate
from smimefilter.trust.verdict import Standing, Verdict

SIGNER: Final = "{signer}"  # in a tag: the address of the signer


@dataclass(frozen=True, slots=True)
class OpeningRules:
    """What may be done to find out. Hashable: recipients of equal rules share an opening."""

    decrypt: bool = True
    verify: bool = True
    depth: int = 8  # layers
    keys_for: tuple[str, ...] = ()  # private keys of these: a@b.c, @b.c, *.b.c; none: all


class Outcome(StrEnum):
    """What came of an encrypted or compressed layer."""

    OPENED = "opened"
    NO_KEY = "no-key"  # no private key at hand is among the recipients'
    KEY_WITHHELD = "key-withheld"  # one is, of other addresses than policy allows
    FAILED = "failed"  # and why is told to nobody
    UNSUPPORTED = "unsupported"
    MALFORMED = "malformed"
    TOO_MUCH = "too-much"  # it takes more work than a mail may
    NOT_ASKED = "not-asked"  # policy: do not decrypt


class Signature(StrEnum):
    """What a signature is worth, all in all."""

    GOOD = "good"  # made by the author's trusted certificate, over all that is shown
    MISMATCH = "mismatch"  # a trusted certificate's, but not the author's
    UNTRUSTED = "untrusted"  # the certificate is not to be trusted
    WEAK = "weak"  # with a digest that policy does not accept
    BAD = "bad"  # wrong, or of changed content
    UNREAD = "unread"  # it would take more work than a mail may
    NOT_ASKED = "not-asked"  # policy: do not verify


@dataclass(frozen=True, slots=True)
class SignerReport:
    """One signer of a layer."""

    signature: Signature
    certificate: Certificate | None = None
    addresses: tuple[str, ...] = ()  # of the certificate, as keys
    flaw: Flaw | None = None
    verdict: Verdict | None = None
    digest: str = ""
    signing_time: datetime | None = None  # what the signer says
    capabilities: Capabilities | None = None
    along: tuple[Certificate, ...] = ()  # the author's others, and those that lead to the root
    new_key: bool = False  # the store has certificates of the author, none with this key

    @property
    def standing(self) -> Standing | None:
        """What the certificate is worth; None where it was not asked for."""
        return self.verdict.standing if self.verdict else None


@dataclass(frozen=True, slots=True)
class SignedLayer:
    """A layer that is signed."""

    clear: bool  # multipart/signed; else the content is in the CMS
    signers: tuple[SignerReport, ...]
    malformed: bool = False
    changed: tuple[str, ...] = ()  # protected header fields that are other ones outside

    @property
    def best(self) -> SignerReport | None:
        """The signer that speaks for the layer."""
        ranks = list(Signature)
        return min(self.signers, key=lambda one: ranks.index(one.signature), default=None)


@dataclass(frozen=True, slots=True)
class EncryptedLayer:
    """A layer that is encrypted."""

    outcome: Outcome
    cipher: str = ""
    transport: str = ""
    authenticated: bool = False
    certificate: Certificate | None = None  # whose private key opened it, or would
    recipients: tuple[str, ...] = ()  # whom the mail names, where no key is at hand: a few


@dataclass(frozen=True, slots=True)
class CompressedLayer:
    """A layer that is compressed."""

    outcome: Outcome


Layer = SignedLayer | EncryptedLayer | CompressedLayer


@dataclass(frozen=True, slots=True, eq=False)
class Opening:
    """A mail, opened as far as its rules and the keys at hand go."""

    layers: tuple[Layer, ...] = ()
    kept: Message | None = None  # decrypted, signatures within left; None: nothing to change
    stripped: Message | None = None  # without the signatures as well
    partly_signed: bool = False  # a part of the mail is signed, which does not count
    partly_encrypted: bool = False  # a part of the mail is encrypted, and left alone
    cut_short: bool = False  # there are more layers than are opened

    @property
    def signed_by(self) -> SignerReport | None:
        """The signer that the whole mail is signed by: that of the outermost signed layer,
        where it is good and no layer is bad. None where there is none."""
        outermost = next(iter(self.signed_layers), None)
        if outermost is None or Signature.BAD in self.signatures:
            return None
        best = outermost.best
        return best if best is not None and best.signature is Signature.GOOD else None

    @property
    def signatures(self) -> list[Signature]:
        """What each signed layer is worth; a layer without a signer that can be read is bad."""
        return [
            layer.best.signature if layer.best else Signature.BAD
            for layer in self.signed_layers
        ]

    @property
    def signed_layers(self) -> list[SignedLayer]:
        """Those that are signed, outermost first."""
        return [layer for layer in self.layers if isinstance(layer, SignedLayer)]

    @property
    def partly(self) -> bool:
        """S/MIME stands in a part of the mail only."""
        return self.partly_signed or self.partly_encrypted

    @property
    def was_decrypted(self) -> bool:
        """Whether a layer was decrypted."""
        return self._decrypted is not None

    @property
    def _decrypted(self) -> EncryptedLayer | None:
        """The first layer that was decrypted."""
        for layer in self.layers:
            if isinstance(layer, EncryptedLayer) and layer.outcome is Outcome.OPENED:
                return layer
        return None

    @property
    def changed(self) -> tuple[str, ...]:
        """Protected header fields that are other ones outside."""
        names = (name for layer in self.signed_layers for name in layer.changed)
        return tuple(dict.fromkeys(names))

    @property
    def is_malleable(self) -> bool:
        """Whether what was decrypted may be anybody's: nothing authenticates it."""
        first = self._decrypted
        return first is not None and not first.authenticated

    @property
    def as_if_failed(self) -> Opening | None:
        """The mail as it would be if its first encrypted layer could not be decrypted, where
        that one was; None where none was."""
        first = self._decrypted
        if first is None:
            return None
        outside = self.layers[: self.layers.index(first)]
        return Opening((*outside, EncryptedLayer(Outcome.FAILED)))

    @property
    def closed(self) -> EncryptedLayer | CompressedLayer | None:
        """The layer that could not be opened, though it should have been, as anybody can see:
        what is wrong within another one that was decrypted concerns nobody outside."""
        last = self.layers[-1] if self.layers else None
        if last is None or isinstance(last, SignedLayer) or self.was_decrypted:
            return None
        return None if last.outcome in {Outcome.OPENED, Outcome.NOT_ASKED} else last


@dataclass(frozen=True, slots=True)
class Tags:
    """Tags for the subject."""

    decrypted: str
    signed: str
    invalid: str
    untrusted: str

    @property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """What looks like one of them."""
        return _patterns(self)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a copy for our own people is made. Equal readings, one copy."""

    rules: OpeningRules
    strip: bool
    inform: bool  # in header fields
    prefix: str
    authserv_id: str
    tags: Tags | None


@lru_cache(maxsize=256)
def _patterns(tags: Tags) -> tuple[re.Pattern[str], ...]:
    shown = (tags.decrypted, tags.signed, tags.invalid, tags.untrusted)
    return tuple(tag_pattern(tag, SIGNER) for tag in shown)


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a verified signature teaches: certificates of its author, and what it reads."""

    address: str  # key
    certificates: tuple[Certificate, ...]  # the signer's first
    capabilities: Capabilities | None = None  # what it said to read
    said: datetime | None = None  # when, by the signer's clock; None where he does not tell
    new_key: bool = False
    keep: bool = True  # False: policy says to learn nothing, but a new key is told of


def lesson(
    opening: Opening, author: str | None, *, trusted: bool, keep: bool = True
) -> Lesson | None:
    """What can be learnt; from certificates that are not trusted unless `trusted` is asked.
    What an author reads is learnt from a trusted signature alone: it decides how the next
    mail to him is encrypted."""
    if author is None:
        return None
    signer = opening.signed_by
    reads = signer.capabilities if signer else None
    if signer is None and not trusted:
        outermost = next(iter(opening.signed_layers), None)
        best = outermost.best if outermost else None
        if best is not None and best.signature is Signature.UNTRUSTED:
            signer = best if author in best.addresses else None
    if signer is None or signer.certificate is None:
        return None
    certificates = tuple(dict.fromkeys((signer.certificate, *signer.along)))
    return Lesson(author, certificates, reads, signer.signing_time, signer.new_key, keep)
