"""A filter to measure: its own folder, a sink behind it, pinned to a core of its own."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench import load
from tests.support.people import People
from tests.support.program import COMMAND, Program

ALICE, BOB = "alice@in.test", "bob@out.test"
POLICY = """
preferences: {encrypt: mandatory, sign: always}
domains:
  - {domain: in.test, preferences: {locality: internal}}
  - {domain: clear.test, preferences: {encrypt: never}}
"""


class Installation:
    """A running filter and its sink."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._stack = ExitStack()
        self._program: Program

    def __enter__(self) -> Self:
        sink = self._stack.enter_context(load.sink())
        settings = {
            "hostname": "filter.test",
            "workers": 1,
            "listeners": [{"protocol": "smtp", "port": 0}],
            "next-hop": {"port": sink},
            "master-key": "master.key",
            "policies": "policies",
        }
        folder = self.home / "policies"  # of their own, as shipped: what is in it is watched
        folder.mkdir()
        (folder / "global.yaml").write_text(POLICY)
        command = ("taskset", "-c", load.FILTER_CORE, *COMMAND)
        self._program = Program(self.home, settings, command=command)
        self._fill()
        self._program.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._program.stop()
        self._stack.close()

    @property
    def port(self) -> int:
        return self._program.port("smtp")

    @property
    def pid(self) -> int:
        return self._program.pid

    def restart(self) -> None:
        self._program.stop()
        self._program.start()

    def _fill(self) -> None:
        people = People(self.home)
        people.add(ALICE)
        people.add(BOB)
        run = self._program.run
        run("init")
        run("root", "import", str(people.root_file))
        run("certificate", "import", str(people.authority_file), str(people.certificate(BOB)))
        password = ("--password-file", str(people.password_file))
        run("key", "import", str(people.identity(ALICE)), *password)
