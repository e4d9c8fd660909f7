"""One client's connection: bytes in, commands obeyed one after the other, replies out.

Built on aiosmtpd's protocol class, whose life cycle, session and envelope objects and names
of commands (`smtp_*`) are kept. Replaced are reading (blocks instead of lines), writing
(replies are gathered and go out together when input runs dry, so that pipelining pays), the
idle timer, the TLS handshake (the event loop's own), and what an exception does: a defect is
logged and answered with `451 4.3.0`, its text is shown to nobody.

The task of a connection is never cancelled because the client went away: a delivery under way
ends as it would, and only the reply has nobody to read it. What commands mean is left to
`session.py`. RFC 5321 §3.8 and §4.2, RFC 2920, RFC 3207 §4.2, RFC 2034.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final, NoReturn, cast

from aiosmtpd.smtp import SMTP, Session

from smimefilter.base.errors import MailError
from smimefilter.ports.handover import Heard

from .admission import Ticket
from .deadline import Deadline
from .syntax import Rejected
from .terms import OpenSessions, Terms
from .wire import Incoming, LineTooLong

log = logging.getLogger(__name__)

LINE_LIMIT: Final = 2048  # octets of a command with CRLF: room for ORCPT and long addresses
ERROR_LIMIT: Final = 20  # refused commands, after which a client is sent away
SLACK: Final = 4096  # octets that a content may have beyond what was declared, uncounted
IDLE: Final = 3.0  # seconds without a word, after which a client goes when we retire
IDLE_LIMIT: Final = 10_000  # commands that lead nowhere; each one more counts as refused
LEAST_RATE: Final = 1024  # octets of content a second, on average, beyond the timeout
_TURN: Final = 100  # commands obeyed before others have their turn
_HANDSHAKE: Final = 30.0  # seconds
_FOREIGN: Final = frozenset({"GET", "POST", "PUT", "CONNECT", "OPTIONS"})  # a browser's
_TOO_MANY_ERRORS: Final = "421 4.7.0 too many errors"
_IDLE: Final = frozenset({"NOOP", "RSET", "VRFY", "HELP", "HELO", "EHLO", "LHLO", "XFORWARD"})
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

Command = Callable[[Any, str], Awaitable[None]]


class Gone(Exception):
    """The conversation is over."""


class Conversation(SMTP):
    """Moves commands and replies; a subclass has the `smtp_*` methods."""

    greeting = "ESMTP"
    commands: ClassVar[dict[str, Command]]
    session: Session  # there is one once connected
    transport: asyncio.Transport | None  # None: connection lost

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.commands = {
            name.removeprefix("smtp_"): getattr(cls, name)
            for name in dir(cls)
            if name.startswith("smtp_")
        }

    def __init__(
        self, terms: Terms, sessions: OpenSessions, loop: asyncio.AbstractEventLoop
    ) -> None:
        # Not aiosmtpd's own constructor: it looks all its commands and hooks up by name again,
        # which takes longer than a mail does.
        asyncio.StreamReaderProtocol.__init__(
            self, asyncio.StreamReader(LINE_LIMIT, loop), self._cb_client_connected, loop
        )
        self.loop = loop
        self.hostname = terms.hostname
        self.transport = self._original_transport = self._handler_coroutine = None
        self.terms = terms
        self.peer = ""  # address of the client
        self.over_tls = False
        self._sessions = sessions
        self._incoming = Incoming(LINE_LIMIT, terms.max_message_size)
        self._replies: list[str] = []
        self._errors = 0
        self._idle = 0  # commands since the last mail that lead nowhere
        self._obeyed = 0  # commands since others had their turn
        self._content_since = 0.0  # loop time; 0: no content is being received
        self._content_octets = 0
        self._waiter: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._reading = True
        self._ended = False  # nothing more will be received
        self._ticket: Ticket | None = None  # of the mail that has a place
        self._unheard = ""  # id of the mail whose one reply the client may not know
        self._answered = False  # and that reply is among the gathered ones, or sent
        self._heard = Heard.NO
        self._said_quit = False
        self._deadline = Deadline(loop, self._timeout_cb)

    # what the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the conversation, or turn the client away when there are too many."""
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if isinstance(peer, tuple) else ""
        limited = self.peer not in self.terms.xforward_clients
        limit = self._sessions.admit(self, self.peer, limited=limited)
        if not limit:
            super().connection_made(transport)
            return
        self.terms.admission.meter.turned_away(limit)
        out = cast(asyncio.Transport, transport)  # uvloop's are no subclasses of it
        mine = b" from you" if limit == "connections of a client" else b""
        out.write(b"421 4.3.2 too many connections%s, try again later\r\n" % mine)
        out.close()

    def data_received(self, data: bytes) -> None:
        """Feed the buffer; wake the conversation only when there is something to take."""
        ready = self._incoming.feed(data)
        if self._heard is Heard.PERHAPS:
            self._heard = Heard.YES
        ticket, held = self._ticket, self._incoming.held
        if ticket is not None and held > ticket.octets + SLACK and not ticket.grow(held):
            self._incoming.swallow()
        if self._waiter is not None:
            if ready:
                self._wake()
            elif self._content_since:
                self._content_octets += len(data)
                self._deadline.within(self._patience())
        elif self._incoming.waiting > LINE_LIMIT and self.transport is not None:
            self._reading = False  # we are at work, the client has to wait
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """The client says no more, and may still be waiting for replies."""
        self._ended = True
        self._wake()
        return not self.over_tls

    def connection_lost(self, error: Exception | None) -> None:
        """Let the conversation find out by itself: it may be amid a delivery."""
        self._ended = True
        self.transport = None
        self._deadline.close()
        self._writable.set()
        self._wake()
        super(SMTP, self).connection_lost(error)  # aiosmtpd's own would cancel the task

    def pause_writing(self) -> None:
        """The client does not read what we write."""
        super().pause_writing()
        self._writable.clear()

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._writable.set()

    # what the listener asks

    def wind_down(self) -> None:
        """End after the transaction under way, or now when there is none; when we retire, as
        the client ends, or is idle."""
        self._wake()

    def abort(self) -> None:
        """End now."""
        if self._handler_coroutine is not None:
            self._handler_coroutine.cancel()
        if self.transport is not None:
            self.transport.abort()

    # the conversation

    async def _handle_client(self) -> None:
        try:
            self._say(f"220 {self.hostname} {self.greeting} smimefilter")
            while self._errors < ERROR_LIMIT:
                await self._obey(await self._line())
            self._part(_TOO_MANY_ERRORS)
        except Gone:
            pass
        finally:
            self._leave()

    async def _obey(self, line: bytes) -> None:
        try:
            text = line.decode()
            verb, _, argument = text.partition(" ")
            command = self.commands.get(verb.upper())
            if verb.upper() in _IDLE:
                self._lead_nowhere()
            if command is None or not text.isprintable():
                command = self._odd(verb.upper(), text)
            await command(self, argument.strip(" "))
        except Gone:
            raise
        except Rejected as rejection:
            # Arguments are not logged: they may be credentials.
            what = verb.upper() if verb.upper() in self.commands else "command"
            log.warning("%s rejected for %s: %s", what, self.peer, rejection.reply)
            self._say(rejection.reply)
            if rejection.reply[0] == "4":
                self._lead_nowhere()
        except UnicodeDecodeError:
            self._say("500 5.5.2 command is not UTF-8")
        except MailError as error:
            self._say(error.reply)
        except Exception:
            log.exception("defect in an SMTP session")
            self._say("451 4.3.0 try again later")

    def _odd(self, verb: str, text: str) -> Command:
        """The command of a line that is not plain and known. Raises `Rejected`, `Gone`."""
        if verb in _FOREIGN:
            self._part("421 4.7.0 this is a mail server")
        if _CONTROL.search(text):
            raise Rejected("500 5.5.2 control character in command")
        if verb not in self.commands:
            raise Rejected("500 5.5.1 command not recognized")
        return self.commands[verb]

    def _lead_nowhere(self) -> None:
        self._idle += 1
        if self._idle > IDLE_LIMIT:
            self._errors += 1

    async def _line(self) -> bytes:
        """The next line of the client, which has to be whole in time: a part of it makes no
        difference. Raises `Gone`."""
        self._obeyed += 1
        if self._obeyed > _TURN:
            self._obeyed = 0
            await asyncio.sleep(0)
        since = 0.0
        while True:
            if self._sessions.stopping and not self.in_transaction:
                self._part("421 4.3.2 service is shutting down")
            try:
                line = self._incoming.line()
            except LineTooLong:
                self._say("500 5.5.2 line too long")
                if self._errors >= ERROR_LIMIT:
                    self._part(_TOO_MANY_ERRORS)
                since = 0.0
                continue
            if line is not None:
                if self._heard is Heard.YES:
                    self._tell()
                return line
            since = since or self.loop.time()
            await self._more(max(since + self.terms.timeout - self.loop.time(), 0))

    async def _content(self) -> bytes:
        """The content that comes now. Raises `Gone`, `ContentTooLarge`, `ContentSwallowed`."""
        self._incoming.expect_content()
        self._content_since, self._content_octets = self.loop.time(), 0
        try:
            while (content := self._incoming.content()) is None:
                await self._more(self._patience())
        finally:
            self._content_since = 0.0
        return content

    def _patience(self) -> float:
        """Seconds that more of the content may take: a pause may be as long as the timeout, but
        all pauses together do not last."""
        lasting = self.loop.time() - self._content_since
        grace = self._content_octets / LEAST_RATE
        return min(self.terms.timeout, max(self.terms.timeout + grace - lasting, 0))

    async def _more(self, seconds: float) -> None:
        """Send what was gathered, then wait so long for input, or for the client to read what
        was sent: then there may be input already. Raises `Gone`."""
        self._send()
        idle = self._sessions.retiring and not self.in_transaction
        self._deadline.within(min(IDLE, seconds) if idle else seconds)
        if not self._writable.is_set():
            await self._writable.wait()
            return
        if self._ended or self.transport is None:
            raise Gone
        if not self._reading:
            self._reading = True
            self.transport.resume_reading()
        self._waiter = self.loop.create_future()
        await self._waiter

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    @property
    def in_transaction(self) -> bool:
        """Whether a mail is under way."""
        raise NotImplementedError

    def _give_place_back(self) -> None:
        """The mail is done with."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.leave()

    # replies

    def _say(self, reply: str) -> None:
        self._replies.append(reply)
        if reply[0] == "5":
            self._errors += 1

    def _part(self, reply: str) -> NoReturn:
        """Say a last word. Raises `Gone`."""
        self._say(reply)
        raise Gone

    def _send(self) -> None:
        if self._replies:
            if self.transport is None:
                raise Gone
            self._replies.append("")
            self.transport.write("\r\n".join(self._replies).encode())
            self._replies.clear()
            if self._answered and self._heard is Heard.NO:
                parting = self._said_quit and not self._ended
                self._heard = Heard.YES if parting else Heard.PERHAPS

    def _tell(self) -> None:
        """Say what became of the reply to the last mail."""
        identifier, heard = self._unheard, self._heard
        self._unheard, self._answered, self._heard = "", False, Heard.NO
        if identifier:
            self.terms.told(identifier, heard)

    # ends and beginnings

    def _leave(self) -> None:
        self._deadline.close()
        self._give_place_back()
        if self.transport is not None:
            self._send()
            self.transport.close()
        self._tell()
        self._sessions.leave(self)

    def _reset_timeout(self, duration: float | None = None) -> None:
        self._deadline.within(duration or self.terms.timeout)

    def _timeout_cb(self) -> None:
        if self._waiter is not None:
            retiring = self._sessions.retiring and not self.in_transaction
            self._say("421 4.3.2 restarting" if retiring else "421 4.4.2 timeout")
            self._ended = True
            self._wake()
        elif self.transport is not None and not self._writable.is_set():
            self.transport.abort()  # it does not even read

    async def _start_tls(self) -> None:
        """Handshake; nothing that came before it is heard afterwards. Raises `Gone`."""
        self._send()
        if self.transport is None or self.terms.tls is None:
            raise Gone
        self._incoming.drop()
        try:
            transport = await self.loop.start_tls(
                self.transport,
                self,
                self.terms.tls,
                server_side=True,
                ssl_handshake_timeout=min(_HANDSHAKE, self.terms.timeout),
            )
        except OSError:  # ssl.SSLError and every lost connection are among them
            raise Gone from None
        if transport is None:
            raise Gone
        self.transport = transport
        self.over_tls = True
        self.session = self._create_session()
