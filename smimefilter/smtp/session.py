"""What SMTP commands mean here: an envelope is gathered, handed over with content, answered.

A mail goes to `Terms.accept` as one `Transaction`; what comes back decides the reply
(`flow/answer.py`). Parameters of MAIL and RCPT are passed as the client wrote them. A client
that is neither in an allowed network nor logged in is refused at MAIL: this is no open relay.

Leaves moving bytes to `conversation.py`, argument syntax to `syntax.py`, LMTP to `lmtp.py`.
RFC 5321 §4.1, RFC 1870 (SIZE), RFC 3461 (DSN), RFC 6152 (8BITMIME), RFC 6531 (SMTPUTF8),
RFC 2034 (enhanced codes), RFC 2920, RFC 3207, RFC 4954; XFORWARD as Postfix has it.
"""

# ruff: noqa: N802 - aiosmtpd finds commands by their names

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

import aiosmtpd.smtp

from smimefilter.base.envelope import NO_ATTRIBUTES, Client, Fate, Recipient, Transaction
from smimefilter.base.errors import MailError
from smimefilter.flow.answer import one_reply

from . import auth, xforward
from .conversation import Conversation, Gone
from .syntax import Rejected, declared_size, recipient_path, sender_path
from .wire import ContentSwallowed, ContentTooLarge

log = logging.getLogger(__name__)

_FULL: Final = "452 4.5.3 too many recipients"


class Envelope(aiosmtpd.smtp.Envelope):
    """The transaction so far; without a `mail_from` there is none."""

    def __init__(self) -> None:
        self.mail_from: str | None = None
        self.params: tuple[str, ...] = ()
        self.smtp_utf8 = False
        self.recipients: list[Recipient] = []
        self.overflowed = False  # there were more recipients than are taken


class SmtpSession(Conversation):
    """An SMTP client."""

    protocol = "ESMTP"
    one_reply = True
    envelope: Envelope  # there is one once connected
    _xforward: Mapping[str, str] | None = None  # None: nothing was forwarded
    _client: Client | None = None  # as it is told to the flow, once made
    _login = ""
    _trusted: bool | None = None  # whether the peer may send without a login

    def _create_envelope(self) -> Envelope:
        return Envelope()

    @property
    def in_transaction(self) -> bool:
        """Whether a mail is under way."""
        return self.envelope.mail_from is not None

    def _start_over(self) -> None:
        """Forget the transaction and what was forwarded for it."""
        self.envelope = Envelope()
        if self._xforward is not None:
            self._xforward = None
            self._client = None

    # hello

    async def smtp_HELO(self, argument: str) -> None:
        """SMTP without extensions."""
        self._hello(argument, extended=False)
        self._say(f"250 {self.hostname}")

    async def smtp_EHLO(self, argument: str) -> None:
        """SMTP with the extensions that this listener and the next hop have in common."""
        self._hello(argument, extended=True)
        lines = [self.hostname, *self._extensions()]
        self._replies.extend(f"250-{line}" for line in lines[:-1])
        self._say(f"250 {lines[-1]}")

    def _hello(self, name: str, *, extended: bool) -> None:
        if not name:
            raise Rejected("501 5.5.4 a host name is needed")
        self._start_over()
        self._client = None
        self.session.host_name = name
        self.session.extended_smtp = extended

    def _extensions(self) -> list[str]:
        next_hop = self.terms.abilities()
        lines = ["PIPELINING", f"SIZE {self.terms.max_message_size}", "ENHANCEDSTATUSCODES"]
        lines += [
            keyword
            for keyword in ("8BITMIME", "SMTPUTF8", "DSN")
            if next_hop is None or keyword in next_hop
        ]
        if self.terms.tls is not None and not self.over_tls:
            lines.append("STARTTLS")
        if self.terms.logins is not None and self.over_tls:
            lines.append(f"AUTH {' '.join(auth.MECHANISMS)}")
        if self.peer in self.terms.xforward_clients:
            lines.append(f"XFORWARD {' '.join(xforward.ATTRIBUTES)}")
        return lines

    async def smtp_STARTTLS(self, argument: str) -> None:
        """Go on over TLS, with nothing remembered."""
        if argument:
            raise Rejected("501 5.5.4 no argument, please")
        if self.terms.tls is None:
            raise Rejected("502 5.5.1 TLS is not offered")
        if self.over_tls:
            raise Rejected("503 5.5.1 already over TLS")
        self._say("220 2.0.0 ready to start TLS")
        await self._start_tls()
        self._start_over()
        self._client = None

    # logins

    async def smtp_AUTH(self, argument: str) -> None:
        """A login, over TLS only."""
        if self.terms.logins is None:
            raise Rejected("502 5.5.1 logins are not offered")
        if not self.over_tls:
            raise Rejected("538 5.7.11 STARTTLS first")
        if not self.session.extended_smtp or self.session.authenticated or self.in_transaction:
            raise Rejected("503 5.5.1 not now")
        claim = await self._claim(*argument.partition(" ")[::2])
        if not await self.terms.logins.verify(self.peer, claim):
            raise Rejected("535 5.7.8 wrong login or password")
        self.session.authenticated = True
        self._login = claim.login
        self._client = None
        self._say("235 2.7.0 logged in")

    async def _claim(self, mechanism: str, initial: str) -> auth.Credentials:
        match mechanism.upper():
            case "PLAIN":
                return auth.plain(initial or await self._ask("334 "))
            case "LOGIN":
                login = auth.decoded(initial or await self._ask(auth.ASK_LOGIN))
                password = auth.decoded(await self._ask(auth.ASK_PASSWORD))
                return auth.credentials(login, password)
            case _:
                raise Rejected("504 5.5.4 mechanism not recognized")

    async def _ask(self, challenge: str) -> str:
        self._say(challenge)
        return (await self._line()).decode("ascii", "replace")

    # the envelope

    async def smtp_XFORWARD(self, argument: str) -> None:
        """What the client knows of the upstream client of the next mail."""
        if self.peer not in self.terms.xforward_clients:
            raise Rejected("550 5.7.0 XFORWARD is not for you")
        if self.in_transaction:
            raise Rejected("503 5.5.1 transaction in progress")
        try:
            attributes = dict(self._xforward or {}) | xforward.decode(argument)
        except ValueError:
            raise Rejected("501 5.5.4 bad XFORWARD attribute") from None
        self._xforward = {name: value for name, value in attributes.items() if value}
        self._client = None
        self._say("250 2.0.0 Ok")

    async def smtp_MAIL(self, argument: str) -> None:
        """The sender; a transaction begins."""
        if not self.session.host_name:
            raise Rejected("503 5.5.1 say hello first")
        if self.in_transaction:
            raise Rejected("503 5.5.1 sender already given")
        if not self._may_send():
            raise Rejected("554 5.7.1 relay access denied")
        if argument[:5].upper() != "FROM:":
            raise Rejected("501 5.5.4 syntax: MAIL FROM:<address>")
        sender, params = sender_path(argument[5:], self.terms.max_message_size)
        self._only_extended(params)
        envelope = self.envelope
        envelope.mail_from, envelope.params = sender, params
        envelope.smtp_utf8 = any(param.upper() == "SMTPUTF8" for param in params)
        self._say("250 2.1.0 Ok")

    async def smtp_RCPT(self, argument: str) -> None:
        """A recipient."""
        envelope = self.envelope
        if envelope.mail_from is None:
            raise Rejected("503 5.5.1 sender first")
        if argument[:3].upper() != "TO:":
            raise Rejected("501 5.5.4 syntax: RCPT TO:<address>")
        if len(envelope.recipients) >= self.terms.max_recipients:
            self._one_too_many(envelope)
            return
        address, params = recipient_path(argument[3:], smtputf8=envelope.smtp_utf8)
        self._only_extended(params)
        envelope.recipients.append(Recipient(address, params))
        self._say("250 2.1.5 Ok")

    def _one_too_many(self, envelope: Envelope) -> None:
        """The client brings it again with the next mail. The log has it once a mail."""
        if not envelope.overflowed:
            envelope.overflowed = True
            raise Rejected(_FULL)
        self._say(_FULL)
        self._lead_nowhere()

    def _only_extended(self, params: tuple[str, ...]) -> None:
        if params and not self.session.extended_smtp:
            raise Rejected("555 5.5.4 parameters need EHLO")

    def _may_send(self) -> bool:
        if self._trusted is None:
            self._trusted = self.peer in self.terms.clients
        return self._trusted or bool(self.session.authenticated)

    # the content

    async def smtp_DATA(self, argument: str) -> None:
        """The content; the mail is handed over and answered."""
        if argument:
            self._refuse_data("501 5.5.4 no argument, please")
        if not self.envelope.recipients:
            self._refuse_data("503 5.5.1 no valid recipients")
        try:
            await self._find_place()
        except Rejected as rejection:
            self._refuse_data(rejection.reply)
        self._say("354 end with <CR><LF>.<CR><LF>")
        try:
            self._replies += await self._answers()
            self._answered = bool(self._unheard)
        finally:
            self._errors = self._idle = 0
            self._give_place_back()
            self._start_over()

    async def _find_place(self) -> None:
        """A place among the mails under way; those of one client count together, the first
        one that is known. Raises `Rejected`."""
        mail_server = self.peer in self.terms.xforward_clients
        first = self._xforward.get("ADDR", "") if self._xforward else ""
        if not mail_server or not first:
            first = self.peer
        octets = declared_size(self.envelope.params)
        admission = self.terms.admission
        self._ticket = await admission.enter(first, octets, limited=not mail_server)

    def _refuse_data(self, reply: str) -> NoReturn:
        """A client that did not wait for the answer has sent a content after it, which is never
        taken for commands. Raises `Rejected`, `Gone`."""
        if self._incoming.waiting:
            self._part(reply)
        raise Rejected(reply)

    async def smtp_BDAT(self, argument: str) -> None:  # noqa: ARG002 - not taken at any size
        """Not offered; its content comes along with it, and is never taken for commands."""
        self._part("502 5.5.1 BDAT is not offered")

    async def _answers(self) -> list[str]:
        try:
            content = await self._content()
            transaction = self._transaction(content)
            del content
            self._tell()  # a client that was ahead of our reply to the one before
            if self.one_reply:
                self._unheard = transaction.id
            return self._answers_to(await self.terms.accept(transaction))
        except Gone:
            raise
        except ContentTooLarge:
            reply = "552 5.3.4 message too big"
        except ContentSwallowed:
            reply = "452 4.3.1 too much mail at once, try again later"
        except MailError as error:
            reply = error.reply
        except Exception:
            log.exception("defect while a mail was worked on")
            reply = "451 4.3.0 try again later"
        log.warning("DATA rejected for %s: %s", self.peer, reply)
        return self._answers_alike(reply)

    def _transaction(self, content: bytes) -> Transaction:
        envelope = self.envelope
        return Transaction(
            id=secrets.token_hex(7),
            sender=envelope.mail_from or "",
            recipients=tuple(envelope.recipients),
            content=content,
            params=envelope.params,
            client=self._client or self._make_client(),
            one_reply=self.one_reply,
        )

    def _make_client(self) -> Client:
        secured = "S" if self.over_tls else ""
        logged_in = "A" if self.session.authenticated else ""
        self._client = Client(
            peer=self.peer,
            helo=self.session.host_name or "",
            protocol=f"{self.protocol}{secured}{logged_in}"
            if self.session.extended_smtp
            else "SMTP",
            login=self._login,
            originating=self.terms.originating or bool(self.session.authenticated),
            xforward=NO_ATTRIBUTES if self._xforward is None else self._xforward,
        )
        return self._client

    def _answers_to(self, fates: Sequence[Fate]) -> list[str]:
        if len(fates) != len(self.envelope.recipients):
            raise RuntimeError("not one fate for each recipient")
        return [one_reply(fates, utf8=self.envelope.smtp_utf8)]

    def _answers_alike(self, reply: str) -> list[str]:
        return [reply]

    # the rest

    async def smtp_RSET(self, argument: str) -> None:
        """Forget the transaction."""
        if argument:
            raise Rejected("501 5.5.4 no argument, please")
        self._start_over()
        self._say("250 2.0.0 Ok")

    async def smtp_NOOP(self, argument: str) -> None:  # noqa: ARG002 - it may have any
        """Nothing."""
        self._say("250 2.0.0 Ok")

    async def smtp_QUIT(self, argument: str) -> None:
        """Good-bye."""
        if argument:
            raise Rejected("501 5.5.4 no argument, please")
        self._said_quit = True
        self._part("221 2.0.0 bye")

    async def smtp_VRFY(self, argument: str) -> None:  # noqa: ARG002 - nothing is looked up
        """Not told."""
        self._say("252 2.5.0 send mail to find out")

    async def smtp_EXPN(self, argument: str) -> None:  # noqa: ARG002 - there are no lists
        """Not known."""
        raise Rejected("502 5.5.1 not implemented")

    async def smtp_HELP(self, argument: str) -> None:  # noqa: ARG002 - one answer fits all
        """Where to read more."""
        self._say("214 2.0.0 see RFC 5321")
