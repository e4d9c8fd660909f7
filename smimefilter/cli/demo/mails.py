"""The five mails of the demo, and what should become of each for each recipient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

from smimefilter.config import Protocol
from smimefilter.plan.plan import Action

from .people import ALICE, BOB, CAROL, DAVE, ERIN, NEWSLETTER, SALES

PHRASE: Final = b"opening at nine"  # in every mail, and readable in no encrypted copy

TEXT: Final = """\
Hello,

the numbers for the opening at nine are below. Gr\u00fc\u00dfe aus K\u00f6ln!

.a line that begins with a dot stays as it is
"""

LETTER: Final = """\
DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=acme.example; s=news;
 h=from:to:subject:date; bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=dGhpcyBzaWduYXR1cmUgY292ZXJzIGV2ZXJ5IGJ5dGUgYmVsb3c=
From: =?utf-8?q?Die_Neuigkeiten?= <{sender}>
To: {to}
Subject:   News,  with   odd spaces
Date: {date}
Message-ID: <{identifier}>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

\u00dcber Nacht: the opening at nine is \u2013 wie angek\u00fcndigt \u2013 at nine.\x20\x20
.
..dots, and spaces at the end of a line\x20
"""


@dataclass(frozen=True, slots=True)
class DemoMail:
    """One mail: its envelope, its content, and the action planned for each recipient."""

    name: str  # of its folder
    title: str
    about: str  # why the policies treat it so
    sender: str
    expected: dict[str, Action]  # by recipient
    identifier: str  # its Message-ID, without angle brackets
    content: bytes
    protocol: Protocol = Protocol.SMTP


def five_mails(now: datetime) -> list[DemoMail]:
    """The mails, written now."""
    return [_signed(now), _encrypted(now), _refused(now), _mixed(now), _untouched(now)]


def _signed(now: datetime) -> DemoMail:
    return DemoMail(
        name="1-signed",
        title="signed",
        about="Alice's mail is always signed. Dave has no certificate, so it is not encrypted.",
        sender=ALICE,
        expected={DAVE: Action.SIGN},
        identifier="1@acme.example",
        content=_written("1@acme.example", ALICE, [DAVE], "Figures", now, attached=True),
    )


def _encrypted(now: datetime) -> DemoMail:
    return DemoMail(
        name="2-encrypted",
        title="signed and encrypted to two",
        about="Mail to the partner has to be encrypted. Bob has an RSA key, Erin an EC key.",
        sender=ALICE,
        expected={BOB: Action.SIGN_ENCRYPT, ERIN: Action.SIGN_ENCRYPT},
        identifier="2@acme.example",
        content=_written("2@acme.example", ALICE, [BOB, ERIN], "Figures", now, attached=True),
    )


def _refused(now: datetime) -> DemoMail:
    return DemoMail(
        name="3-refused",
        title="mandatory, without a usable certificate",
        about="Carol's certificate has expired. The mail is refused and never sent in clear.",
        sender=ALICE,
        expected={CAROL: Action.REFUSE},
        identifier="3@acme.example",
        content=_written("3@acme.example", ALICE, [CAROL], "Figures", now),
    )


def _mixed(now: datetime) -> DemoMail:
    return DemoMail(
        name="4-mixed",
        title="three recipients, three outcomes",
        about="LMTP answers for each recipient. The sender has no key, so nothing is signed.",
        sender=SALES,
        expected={BOB: Action.ENCRYPT, CAROL: Action.REFUSE, DAVE: Action.UNTOUCHED},
        identifier="4@acme.example",
        content=_written("4@acme.example", SALES, [BOB, CAROL, DAVE], "Offer", now),
        protocol=Protocol.LMTP,
    )


def _untouched(now: datetime) -> DemoMail:
    letter = LETTER.format(
        sender=NEWSLETTER, to=DAVE, date=format_datetime(now), identifier="5@acme.example"
    )
    return DemoMail(
        name="5-untouched",
        title="untouched",
        about="Policy says never: 8-bit text and DKIM signature arrive as they were sent.",
        sender=NEWSLETTER,
        expected={DAVE: Action.UNTOUCHED},
        identifier="5@acme.example",
        content=letter.replace("\n", "\r\n").encode(),
    )


def _written(
    identifier: str,
    sender: str,
    to: Sequence[str],
    subject: str,
    now: datetime,
    *,
    attached: bool = False,
) -> bytes:
    """A mail as a mail program writes it."""
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"], mail["Subject"] = sender, ", ".join(to), subject
    mail["Date"], mail["Message-ID"] = format_datetime(now), f"<{identifier}>"
    mail.set_content(TEXT, cte="quoted-printable")
    if attached:
        table = b"hour;guests\r\n9;120\r\n10;300\r\n"
        mail.add_attachment(table, maintype="text", subtype="csv", filename="figures.csv")
    return mail.as_bytes()
