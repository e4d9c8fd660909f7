"""The log: structured lines to standard error, one for each mail, nothing secret.

`json` writes one JSON object a line; `text` writes the same for eyes. A mail's line names ids,
queue ids in and out, what was decided for each recipient by codes, and milliseconds. Addresses
are logged, contents, subjects and keys never are. structlog writes the text for eyes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import structlog

from smimefilter.base.envelope import Deferred, Delivered, Fate, Notified, Refused
from smimefilter.base.errors import AdminError, MailError
from smimefilter.base.reasons import Because, Reason
from smimefilter.plan.opened import SignerReport
from smimefilter.plan.plan import Decision
from smimefilter.plan.selection import Candidate
from smimefilter.ports.journal import MailRecord

_ENCODER: Final = json.JSONEncoder(default=str, ensure_ascii=False)
MOST_UNUSED: Final = 5  # certificates of a recipient that a mail's line tells of
MOST_SIGNERS: Final = 5  # of an incoming mail
_LONGEST_WHY: Final = 500
LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Log:
    """Writes lines of one form, from one level on. Each goes out at once and whole, with one
    system call: several threads and processes may write to the same place."""

    def __init__(
        self, render: Callable[[dict[str, Any]], str], level: str, out: TextIO
    ) -> None:
        out.flush()
        self._stream = out  # kept: with it goes its descriptor
        self._descriptor = out.fileno()
        self._render = render
        self._least = LEVELS[level]

    def write(self, level: str, event: str, **fields: object) -> None:
        """One line."""
        if LEVELS[level] >= self._least:
            time = datetime.now(UTC).isoformat(timespec="milliseconds")
            line = self._render({"time": time, "level": level, "event": event, **fields})
            os.write(self._descriptor, f"{line}\n".encode("utf-8", "backslashreplace"))


def make_log(form: str, level: str, out: TextIO | None = None) -> Log:
    """A log that writes lines of this form from this level on."""
    stream = out or sys.stderr
    if form == "json":
        return Log(_ENCODER.encode, level, stream)
    text = structlog.dev.ConsoleRenderer(colors=stream.isatty(), timestamp_key="time")
    return Log(lambda fields: str(text(None, "", fields)), level, stream)


class _Forward(logging.Handler):
    """Hands what libraries and the SMTP client say through `logging` to the log."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """One line; a traceback is cut down to its places."""
        level = "error" if record.levelno >= logging.ERROR else "warning"
        extra = {}
        if record.exc_info and record.exc_info[1]:
            error = record.exc_info[1]
            extra = {"error": type(error).__name__, "traceback": _where(error)}
        said = record.getMessage()
        if record.name == "asyncio":  # what follows shows values: of tasks, of what was raised
            said = said.partition("\n")[0]
        self._log.write(level, said, logger=record.name, **extra)


def forward_library_logs(journal: LogJournal) -> None:
    """From now on warnings and errors of `logging` go to the log, and nowhere else."""
    logging.basicConfig(handlers=[_Forward(journal.log)], level=logging.WARNING, force=True)


class LogJournal:
    """`ports.journal.Journal`, written to the log."""

    def __init__(self, log: Log) -> None:
        self.log = log

    def mail(self, record: MailRecord) -> None:
        """One line for one mail."""
        transaction = record.transaction
        self._write(
            "warning" if _is_trouble(record) else "info",
            "mail",
            id=transaction.id,
            sender=transaction.sender,
            message_id=record.message_id,
            queue_in=transaction.client.ident,
            client=transaction.client.xforward.get("ADDR") or transaction.client.peer,
            login=transaction.client.login,
            size=len(transaction.content),
            revision=record.revision,
            recipients=_recipients(record),
            ms=round(record.milliseconds, 2),
        )

    def trouble(self, what: str, error: BaseException, **about: object) -> None:
        """Expected kinds of trouble get a line, a defect gets its traceback too."""
        if isinstance(error, MailError | AdminError):
            said = str(error) or type(error).__name__
            self._write("warning", what, error=said, **about)
        else:
            name, places = type(error).__name__, _where(error)
            self._write("error", what, error=name, traceback=places, **about)

    def warn(self, event: str, **about: object) -> None:
        """A line of its own that stands out."""
        self._write("warning", event, **about)

    def note(self, event: str, **about: object) -> None:
        """A line of its own."""
        self._write("info", event, **about)

    def _write(self, level: str, event: str, **fields: object) -> None:
        """A full disk under the log is no reason to answer for a mail otherwise."""
        with contextlib.suppress(OSError, ValueError):
            self.log.write(level, event, **fields)


def _is_trouble(record: MailRecord) -> bool:
    """Whether somebody has to do something: a private key that cannot be used."""
    decisions = record.plan.decisions if record.plan else ()
    return any(r.because is Because.KEY_TROUBLE for d in decisions for r in d.reasons)


def _recipients(record: MailRecord) -> list[dict[str, Any]]:
    decisions: tuple[Decision | None, ...] = (
        record.plan.decisions if record.plan else (None,) * len(record.fates)
    )
    pairs = zip(record.transaction.recipients, decisions, record.fates, strict=True)
    return [
        _recipient(recipient.address, decision, fate) for recipient, decision, fate in pairs
    ]


def _recipient(address: str, decision: Decision | None, fate: Fate) -> dict[str, Any]:
    line: dict[str, Any] = {"to": address}
    if decision:
        line["action"] = decision.action.value
        line["because"] = [reason.because.value for reason in decision.reasons]
        unused = decision.certificates.unusable if decision.certificates else ()
        if unused:
            line["unused"] = [_unused(candidate) for candidate in unused[:MOST_UNUSED]]
        why = [_why(reason) for reason in decision.reasons if reason.because in _TOLD]
        if why:
            line["why"] = why
        if decision.signers:
            line["signatures"] = [_signature(one) for one in decision.signers[:MOST_SIGNERS]]
    match fate:
        case Delivered(queue_id=queue_id):
            line["fate"], line["queue_out"] = "delivered", queue_id
        case Deferred(status=status, text=text):
            line["fate"], line["status"], line["text"] = "deferred", str(status), text
        case Refused(status=status, text=text):
            line["fate"], line["status"], line["text"] = "refused", str(status), text
        case Notified(refusal=refusal):
            line["fate"], line["status"] = "refused, sender notified", str(refusal.status)
            line["text"] = refusal.text
    return line


_TOLD: Final = frozenset(  # whose details somebody has to know who mends it
    {
        Because.KEY_TROUBLE,
        Because.KEY_WITHHELD,
        Because.NO_DECRYPTION_KEY,
        Because.NOT_DECRYPTED,
        Because.NOT_UNPACKED,
    }
)


def _why(reason: Reason) -> str:
    said = reason.detail or reason.about[:16]
    return f"{reason.because.value}: {said}"[:_LONGEST_WHY]


def _unused(candidate: Candidate) -> dict[str, Any]:
    """A certificate that was considered, and why it was not used."""
    causes = dict.fromkeys(reason.because.value for reason in candidate.reasons)
    return {"certificate": candidate.thumbprint[:16], "because": list(causes)}


def _signature(signer: SignerReport) -> dict[str, str]:
    """What a signature of an incoming mail is worth, whose it is, and why."""
    certificate = signer.certificate
    said = {
        "signature": signer.signature.value,
        "address": signer.addresses[0] if signer.addresses else "",
        "certificate": certificate.thumbprint[:16] if certificate else "",
        "standing": signer.standing.value if signer.standing else "",
        "flaw": signer.flaw.value if signer.flaw else "",
    }
    return {name: value for name, value in said.items() if value}


def _where(error: BaseException) -> list[str]:
    """Where it happened, without values: a traceback's source lines can hold no secret."""
    places = []
    trace = error.__traceback__
    while trace:
        code = trace.tb_frame.f_code
        places.append(
            f"{code.co_filename.rpartition('smimefilter/')[2]}:{trace.tb_lineno} {code.co_name}"
        )
        trace = trace.tb_next
    return places
