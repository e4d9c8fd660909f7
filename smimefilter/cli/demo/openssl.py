"""The `openssl` program: reads S/MIME with none of our code.

It runs in the folder of results with relative names, so that everybody can repeat there what
it was asked.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from smimefilter.base.errors import AdminError

from .people import local_part

TIMEOUT: Final = 10  # seconds for one run
NOWHERE: Final = "/dev/null"


class Ran(NamedTuple):
    """One run: whether the program was content, what it said if not, and how to repeat it."""

    good: bool
    said: str
    command: str


def find_openssl() -> Path:
    """The program on the PATH. Raises `AdminError` when it is not installed."""
    program = shutil.which("openssl")
    if program is None:
        raise AdminError(
            "the openssl program is not installed, and it checks the results",
            mend="apt-get install openssl",
        )
    return Path(program).absolute()


class Openssl:
    """The program, run in the folder of results."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program = program
        self._folder = folder

    async def verify(self, mail: str, signer: str, content: str = NOWHERE) -> Ran:
        """Whether a mail is signed by `signer`, up to the root; its content goes to a file."""
        trust = ("-CAfile", "people/root.pem", "-purpose", "smimesign")
        return await self._cms("-verify", mail, content, *trust, "-verify_email", signer)

    async def decrypt(self, mail: str, recipient: str, content: str = NOWHERE) -> Ran:
        """Whether a recipient's key opens a mail; what was in it goes to a file."""
        name = local_part(recipient)
        key = ("-recip", f"people/{name}.pem", "-inkey", f"people/{name}-key.pem")
        password = ("-passin", "file:people/password")
        return await self._cms("-decrypt", mail, content, *key, *password)

    async def _cms(self, verb: str, mail: str, content: str, *arguments: str) -> Ran:
        files = ("-in", mail, "-out", content)
        return await self._run(["cms", verb, "-inform", "SMIME", *files, *arguments])

    async def _run(self, arguments: Sequence[str]) -> Ran:
        command = shlex.join(["openssl", *arguments])
        try:
            process = await asyncio.create_subprocess_exec(
                self._program,
                *arguments,
                cwd=self._folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            return Ran(good=False, said=str(error), command=command)
        return await _ended(process, command)


async def _ended(process: asyncio.subprocess.Process, command: str) -> Ran:
    try:
        async with asyncio.timeout(TIMEOUT):
            _, said = await process.communicate()
    except TimeoutError:
        return Ran(good=False, said=f"no end after {TIMEOUT} s", command=command)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = said.decode(errors="replace").strip().splitlines()
    last = lines[-1] if lines else f"exit code {process.returncode}"
    return Ran(process.returncode == 0, last, command)
