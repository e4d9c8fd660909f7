"""The plan for one mail: what happens for each recipient, in which copies, and why.

Values only. All refusals stand in the plan before the first copy is relayed. The plan carries
its reasons; logs, bounces, `explain` and pages only print them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from smimefilter.base.algorithms import ContentCipher, KeyTransport, SignatureAlgorithm
from smimefilter.base.errors import Status
from smimefilter.base.reasons import Reason
from smimefilter.message.protect import Hp
from smimefilter.pki.certificate import Certificate
from smimefilter.policy.preferences import SignFormat
from smimefilter.trust.verdict import Need, Verdict

from .opened import Lesson, Reading, SignerReport
from .selection import Selection


class Action(StrEnum):
    """What happens to a mail for one recipient."""

    UNTOUCHED = "untouched"
    DECRYPT = "decrypt"  # and whatever is in it verified; all of these are told of in the mail
    VERIFY = "verify"  # its signatures
    UNDECRYPTABLE = "undecryptable"  # encrypted, or compressed, and it stays so
    OPEN = "open"  # unpacked, or looked into and left: nothing of the above
    CLEAN = "clean"  # what looked like a report of ours was removed, and nothing else
    TAKE = "take"  # it is for the gateway itself, and goes no further
    SIGN = "sign"
    ENCRYPT = "encrypt"
    SIGN_ENCRYPT = "sign+encrypt"
    REFUSE = "refuse"
    DEFER = "defer"


@dataclass(frozen=True, slots=True)
class Signing:
    """Sign with this certificate's key."""

    certificate: Certificate
    chain: tuple[Certificate, ...]  # intermediates to send along, nearest first
    format: SignFormat
    algorithm: SignatureAlgorithm


class Encryption(NamedTuple):
    """Encrypt to these certificates: the recipients' and the additional ones."""

    certificates: tuple[Certificate, ...]
    cipher: ContentCipher
    transport: KeyTransport


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reply to a recipient that does not get the mail (now)."""

    status: Status
    text: str


class Decision(NamedTuple):
    """One recipient's outcome."""

    address: str
    action: Action
    reasons: tuple[Reason, ...]
    certificates: Selection | None = None  # considered for encryption
    refusal: Refusal | None = None  # with REFUSE and DEFER
    lesson: Lesson | None = None  # what the mail's signature teaches, where policy wants it
    signers: tuple[SignerReport, ...] = ()  # of an incoming mail, outermost first


class Copy(NamedTuple):
    """One copy of the mail on its way out. Equal treatment, one copy."""

    recipients: tuple[int, ...]  # positions in the transaction's recipients
    signing: Signing | None = None
    encryption: Encryption | None = None
    cuts: tuple[re.Pattern[str], ...] = ()  # what is removed from the subject
    reading: Reading | None = None  # opened and told of, for our own people
    protect: Hp | None = None  # header fields go within

    @property
    def is_untouched(self) -> bool:
        """Nothing changes but for the Received line."""
        return not (self.signing or self.encryption or self.cuts or self.reading)


class Plan(NamedTuple):
    """Everything decided for one mail."""

    decisions: tuple[Decision, ...]  # one for each recipient, in order
    copies: tuple[Copy, ...]
    signer: Selection | None = None  # considered for signing
    additional: Selection | None = None  # considered as additional certificates
    signers: tuple[Verdict, ...] = ()  # on those who signed an incoming mail

    @property
    def needs(self) -> list[Need]:
        """What may be had elsewhere and change the plan."""
        selections = (self.signer, self.additional, *(d.certificates for d in self.decisions))
        found = [need for selection in selections if selection for need in selection.needs]
        return found + [need for verdict in self.signers for need in verdict.needs]
