"""The PKCS#11 token that private keys are kept in: asked by one thread, with a deadline.

The session is opened at the first use and opened again when it is lost; what was asked for is
then asked once more. The PIN is read from its file for each login and not kept. A PIN that the
token refused is not tried again before another one is in the file: a few tries lock a token.

Leaves what the token is asked to `module.py`, the keys that the rest works with to
`tokenkeys.py`. python-pkcs11 comes with the extra `hsm` and is loaded where there is a token.
Raises `KeyTrouble`, whatever keeps the token from doing it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from smimefilter.base.errors import AdminError, KeyTrouble
from smimefilter.ports.keys import HeldKey, TokenKey

from .secretfile import read_secret
from .trouble import PinRefused, TokenTrouble
from .worker import NoAnswer, Worker

if TYPE_CHECKING:
    from .module import Session

T = TypeVar("T")

KINDS: Final = ("rsa2048", "rsa3072", "rsa4096", "p256", "p384", "p521")
_LIST: Final = ", ".join(KINDS)
PIN_CREDENTIAL: Final = "token-pin"
MAKING: Final = 120.0  # seconds that a new key may take
CLOSING: Final = 2.0
Connect = Callable[[Callable[[], str]], "Session"]


class Token:
    """A token, and the one thread that speaks with it."""

    def __init__(
        self, label: str, connect: Connect, pin: Callable[[], str], timeout: float
    ) -> None:
        """`connect` opens a session with the PIN that it asks for; `pin` reads it; `timeout`:
        seconds that a caller waits at the longest."""
        self.label: Final = label
        self._connect: Final = connect
        self._pin: Final = pin
        self._timeout: Final = timeout
        self._worker: Final = Worker("pkcs11")
        self._session: Session | None = None
        self._pid = 0  # whose the session is
        self._refused: str | None = None  # a PIN that was wrong

    def __repr__(self) -> str:
        return f"<Token {self.label}>"

    def ask(self, question: Callable[[Session], T]) -> T:
        """What a session answers; asked again on another one where it is lost. Raises
        `KeyTrouble`, and what `question` raises for itself."""
        return self._run(lambda: self._asked(question), self._timeout)

    def inventory(self) -> list[HeldKey]:
        """All private keys in it."""
        return self.ask(lambda session: session.inventory())

    def state(self) -> str:
        """What it is and how many keys it holds, in a line."""
        about, count = self.ask(lambda session: (session.about, len(session.inventory())))
        return f"{about}, {count} private keys"

    def generate(self, kind: str, label: str) -> TokenKey:
        """A new key in it of one of `KINDS`, which signs and cannot leave it. Raises
        `AdminError` for another kind."""
        if kind not in KINDS:
            raise AdminError(f"{kind} keys are not made in a token", mend=f"one of {_LIST}")
        return self._run(lambda: self._open().generate(kind, label), MAKING)

    def close(self) -> None:
        """Log out; a token that does not answer is left alone."""
        if self._session is not None and self._pid == os.getpid():
            with contextlib.suppress(NoAnswer):
                self._worker.run(self._drop, CLOSING)

    def _run(self, job: Callable[[], T], within: float) -> T:
        try:
            return self._worker.run(job, within)
        except NoAnswer:
            why = f"no answer within {within:g} s"
        except TokenTrouble as error:
            why = str(error)
        except AdminError as error:  # of the file with the PIN
            why = str(error)
        raise KeyTrouble(f"token '{self.label}': {why}") from None

    # in the thread

    def _asked(self, question: Callable[[Session], T]) -> T:
        try:
            return question(self._open())
        except PinRefused:
            raise
        except TokenTrouble:  # not every token says that a session is lost
            self._drop()
            return question(self._open())

    def _open(self) -> Session:
        if self._session is None or self._pid != os.getpid():
            tried = ""

            def pin() -> str:
                nonlocal tried
                tried = self._pin()
                if tried == self._refused:
                    raise PinRefused(
                        "the PIN was wrong before: put the right one into its file"
                    )
                return tried

            try:
                self._session = self._connect(pin)
            except PinRefused:
                self._refused = tried or self._refused
                raise
            self._pid, self._refused = os.getpid(), None
        return self._session

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(TokenTrouble):  # it was lost
                session.close()


def open_token(module: Path, label: str, pin: Callable[[], str], timeout: float) -> Token:
    """The token of a label; nothing is asked of it yet. Raises `AdminError` where
    python-pkcs11 is missing."""
    try:
        from .module import open_session  # noqa: PLC0415 - python-pkcs11 may be missing
    except ImportError:
        raise AdminError(
            "the PKCS#11 token needs python-pkcs11",
            where="token",
            mend="install it: pip install 'smimefilter[hsm]'",
        ) from None
    return Token(label, partial(open_session, module, label), pin, timeout)


def read_pin(path: Path | None, credentials: str | None) -> str:
    """The PIN: the first line of its file, or of the systemd credential `token-pin` where it
    is handed over or no file is named. Raises `AdminError`."""
    what, missing = "the token's PIN", "write it into this file, mode 600: docs/hsm.md"
    handed_over = Path(credentials) / PIN_CREDENTIAL if credentials else None
    if handed_over is not None and handed_over.exists():
        content = read_secret(handed_over, what, missing, private=False)
    elif path is not None:
        content = read_secret(path, what, missing)
    else:
        raise AdminError(
            "there is no PIN for the token",
            where="token",
            mend="name its file as `pin-file`, or start with LoadCredential=token-pin",
        )
    try:
        return content.split(b"\n")[0].rstrip(b"\r").decode()
    except UnicodeDecodeError:
        raise AdminError(
            "the token's PIN is not UTF-8", where=str(path), mend=missing
        ) from None
