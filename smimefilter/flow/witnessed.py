"""Journals around another one: whose mails have witnesses, and that tells of trouble alone."""

from __future__ import annotations

from collections.abc import Sequence

from smimefilter.ports.journal import Journal, MailRecord, Witness


class Witnessed:
    """A `ports.journal.Journal`: the one given, and witnesses of its mails."""

    def __init__(self, journal: Journal, witnesses: Sequence[Witness]) -> None:
        self._journal = journal
        self._witnesses = witnesses

    def mail(self, record: MailRecord) -> None:
        """Written, then witnessed."""
        self._journal.mail(record)
        for witness in self._witnesses:
            witness.mail(record)

    def trouble(self, what: str, error: BaseException, **about: object) -> None:
        """Passed on."""
        self._journal.trouble(what, error, **about)

    def warn(self, event: str, **about: object) -> None:
        """Passed on."""
        self._journal.warn(event, **about)

    def note(self, event: str, **about: object) -> None:
        """Passed on."""
        self._journal.note(event, **about)


class Quiet:
    """A `ports.journal.Journal` for a command, which says itself what it has done: trouble is
    passed on, and nothing else."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def mail(self, record: MailRecord) -> None:
        """Passed on."""
        self._journal.mail(record)

    def trouble(self, what: str, error: BaseException, **about: object) -> None:
        """Passed on."""
        self._journal.trouble(what, error, **about)

    def warn(self, event: str, **about: object) -> None:
        """Not told."""

    def note(self, event: str, **about: object) -> None:
        """Not told."""
