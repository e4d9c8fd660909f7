"""LMTP: the same commands under another greeting, and after DATA one reply for each recipient.

RFC 2033. Everything else is `session.py`.
"""

# ruff: noqa: N802 - aiosmtpd finds commands by their names

from __future__ import annotations

from collections.abc import Sequence

from smimefilter.base.envelope import Fate
from smimefilter.flow.answer import reply

from .session import SmtpSession
from .syntax import Rejected


class LmtpSession(SmtpSession):
    """An LMTP client."""

    greeting = protocol = "LMTP"
    one_reply = False

    async def smtp_LHLO(self, argument: str) -> None:
        """Instead of EHLO."""
        await super().smtp_EHLO(argument)

    async def smtp_HELO(self, argument: str) -> None:  # noqa: ARG002 - refused whatever it is
        """Not in LMTP."""
        raise Rejected("500 5.5.1 this is LMTP: say LHLO")

    smtp_EHLO = smtp_HELO  # noqa: N815 - aiosmtpd finds commands by these names

    def _answers_to(self, fates: Sequence[Fate]) -> list[str]:
        if len(fates) != len(self.envelope.recipients):
            raise RuntimeError("not one fate for each recipient")
        utf8 = self.envelope.smtp_utf8
        return [reply(fate, utf8=utf8) for fate in fates]

    def _answers_alike(self, reply: str) -> list[str]:
        return [reply] * len(self.envelope.recipients)
