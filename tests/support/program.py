"""The filter as administrators run it: `smimefilter serve` as a process on a folder of its own.

    program = Program(tmp_path, shipped_settings(tmp_path, port=0, next_hop=sink.port))
    program.run("init")
    with program:                       # started, and ready as it tells systemd
        program.port("lmtp")            # from its log line `listening`
        program.wait_for_event("mail")

Standard error is kept whole in `home/serve.log` and read as JSON lines. Raises `ProgramTrouble`
with the end of it when the program does not become ready, or ends when it should not.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.started import Started

SHIPPED: Final = Path(__file__).parents[2] / "config" / "smimefilter.yaml"
COMMAND: Final = (str(Path(sys.executable).with_name("smimefilter")),)
_numbers: Final = itertools.count()


def shipped_settings(
    home: Path, *, port: int, next_hop: int, protocol: str = "lmtp"
) -> dict[str, Any]:
    """`config/smimefilter.yaml` as shipped, with its folders moved to `home` and other ports.

    `port` is the listener's (0: any free one), `next_hop` the port where mail goes. One process
    does it all, so that what its log says holds for the whole filter.
    """
    text = SHIPPED.read_text()
    for folder in ("/etc/smimefilter", "/var/lib/smimefilter"):
        text = text.replace(folder, str(home))
    settings: dict[str, Any] = yaml.safe_load(text)
    settings["listeners"][0].update(port=port, protocol=protocol)
    settings["next-hop"]["port"] = next_hop
    settings["workers"] = 1
    return settings


class ProgramTrouble(AssertionError):
    """The program did not do what the test needs; the message ends with what it wrote."""


class _Manager:
    """What systemd is to the program: an address that takes its states while it runs."""

    def __init__(self) -> None:
        name = f"smimefilter-test-{os.getpid()}-{next(_numbers)}"
        self.address = f"@{name}"
        self.states: list[str] = []
        self._path = f"\0{name}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self._path)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while message := self._socket.recv(4096):
            self.states += message.decode().split("\n")

    def close(self) -> None:
        self._socket.sendto(b"", self._path)  # ends the thread
        self._thread.join()
        self._socket.close()


class Program(Started):
    """One installation: a configuration file, a folder for what it names, and a process."""

    def __init__(
        self,
        home: Path,
        settings: Mapping[str, Any],
        *,
        command: Sequence[str] = COMMAND,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Write the configuration.

        Args:
            home: An existing folder. Paths in `settings` are relative to it.
            settings: The content of the configuration file, names as in the file.
            command: What to run in place of the installed `smimefilter`.
            environment: More environment variables.
        """
        self.home = home
        self.config = home / "smimefilter.yaml"
        self.config.write_text(yaml.safe_dump(dict(settings), sort_keys=False))
        self._command = tuple(command)
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._manager: _Manager | None = None
        self._log = home / "serve.log"
        self._log.touch()
        self._since = 0  # where the log of this start begins

    # commands

    def run(
        self, *arguments: str, stdin: bytes = b"", fails: bool = False, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run `smimefilter ARGUMENTS --config FILE` to its end.

        Raises `ProgramTrouble` when it fails, or with `fails` when it does not.
        """
        done = subprocess.run(
            [*self._command, *arguments, "--config", str(self.config)],
            cwd=self.home,
            env=self._environment,
            input=stdin,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        out, err = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
        if (done.returncode != 0) is not fails:
            said = f"exit code {done.returncode}\n{out}\n{err}"
            raise ProgramTrouble(f"smimefilter {' '.join(arguments)}: {said}")
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    # the daemon

    def start(self, timeout: float = 30) -> None:
        """Start `serve` and return when it says that it is ready."""
        self._manager = _Manager()
        self._since = self._log.stat().st_size
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, "serve", "--config", str(self.config)],
                cwd=self.home,
                env={**self._environment, "NOTIFY_SOCKET": self._manager.address},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self.wait_until(lambda: "READY=1" in self.states, "it to be ready", timeout)
        except ProgramTrouble:
            self.kill()
            raise

    def stop(self, timeout: float = 30) -> int:
        """Ask it to end, as systemd does, and return its exit code."""
        process = self._running()
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ProgramTrouble(f"did not end within {timeout:g} s\n{self._tail()}") from None
        finally:
            self.kill()

    def kill(self) -> None:
        """End it at once, as a power cut would; nothing when it is not running."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        manager, self._manager = self._manager, None
        if manager is not None:
            manager.close()

    def reload(self) -> None:
        """Ask it to read its policies again."""
        self._running().send_signal(signal.SIGHUP)

    @property
    def states(self) -> list[str]:
        """What it has told systemd since it was started: `READY=1`, `RELOADING=1`, …"""
        return list(self._manager.states) if self._manager else []

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running().pid

    def port(self, protocol: str, *, index: int = 0) -> int:
        """The port of the `index`-th listener of this protocol ("lmtp" or "smtp")."""
        lines = [line for line in self.events("listening") if line["protocol"] == protocol]
        return int(lines[index]["port"])

    def __exit__(self, *error: object) -> None:
        if self._process is not None:  # a test may have ended it
            self.stop()

    # its log

    def log(self) -> str:
        """All that it wrote since it was started last."""
        with self._log.open("rb") as file:
            file.seek(self._since)
            return file.read().decode(errors="replace")

    def events(self, event: str = "") -> list[dict[str, Any]]:
        """The lines of the log that are JSON, all or those of one event."""
        lines = [_parsed(line) for line in self.log().splitlines()]
        return [line for line in lines if line and event in {"", line.get("event")}]

    def wait_for_event(
        self, event: str, *, number: int = 1, timeout: float = 15, **having: object
    ) -> list[dict[str, Any]]:
        """The lines of `event` with these values, as soon as there are `number` of them."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.events(event) if having.items() <= line.items()]

        self.wait_until(lambda: len(found()) >= number, f"{number} times {event!r}", timeout)
        return found()

    def wait_until(self, holds: Callable[[], bool], what: str, timeout: float = 15) -> None:
        """Return as soon as `holds()`, while the program runs."""
        end = time.monotonic() + timeout
        while not holds():
            code = self._running().poll()
            if code is not None:
                self.kill()
                raise ProgramTrouble(f"ended with {code}\n{self._tail()}")
            if time.monotonic() > end:
                raise ProgramTrouble(f"waited {timeout:g} s for {what}\n{self._tail()}")
            time.sleep(0.02)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ProgramTrouble("it is not running")
        return self._process

    def _tail(self) -> str:
        return "\n".join(self.log().splitlines()[-40:])


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
