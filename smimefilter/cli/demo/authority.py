"""`smimefilter demo --ca`: the life of certificates, from a new CA to the last revocation.

Everything is done by the commands that an administrator types, as processes of their own,
beside a filter that runs; what comes of it is checked with `openssl`. Nothing is left behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import smtplib
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from smimefilter.app import initialise, open_app, read_config
from smimefilter.cli.show import out
from smimefilter.daemon import Running, running

from .installation import HOST, TIMEOUT, Recorder, Sink, listening
from .openssl import find_openssl
from .show import WIDEST

SETTINGS: Final = """\
hostname: filter.acme.example
listeners: [{{protocol: smtp, port: 0}}]
next-hop: {{port: {port}}}
database: sqlite+aiosqlite:///smimefilter.db
master-key: master.key
policies: policies
publish: {{port: 0}}
fetch: {{crls: false}}
"""
POLICY: Final = """\
preferences: {sign: when-encrypting, encrypt: allow}
domains:
  - domain: acme.example
    preferences: {locality: internal}
"""
PEOPLE: Final = """\
EMAIL,COMMONNAME,ORGANISATION
alice@acme.example,Alice,ACME
bob@acme.example,Bob,ACME
carol@acme.example,Carol,"ACME, Inc."
"""
ALICE, DORA, HUGO = "alice@acme.example", "dora@acme.example", "hugo@partner.example"


@dataclass(frozen=True, slots=True)
class Checked:
    """One thing that has to be so."""

    what: str
    good: bool
    detail: str = ""


@dataclass(slots=True)
class Chapter:
    """One step of the story: what was typed, and what came of it."""

    title: str
    commands: list[str] = field(default_factory=list)
    checks: list[Checked] = field(default_factory=list)

    def check(self, what: str, good: bool, detail: str = "") -> None:
        """Note one."""
        self.checks.append(Checked(what, good, "" if good else detail))


class Story:
    """The story, as it goes."""

    def __init__(self, home: Path, at_work: Running, sink: Sink) -> None:
        self.chapters: list[Chapter] = []
        self._home = home
        self._at_work = at_work
        self._sink = sink
        self._openssl = find_openssl()

    async def tell(self) -> None:
        """All of it, as far as it goes: what does not end as it should is told, and what rests
        on it is left out."""
        try:
            await self._a_ca()
            await self._many_at_once()
            await self._another_ca()
            password = await self._a_key_by_mail()
            await self._mail_is_encrypted()
            await self._a_key_is_opened(password)
            await self._revoked()
        except (ValueError, LookupError, OSError) as error:
            self.chapters[-1].check("it goes on from here", False, str(error))

    async def _a_ca(self) -> None:
        chapter = self._chapter("A certificate authority")
        await self._run(chapter, "ca", "create", "ACME Mail CA", "--root", "ACME Root",
                        "--key", "p256")  # fmt: skip
        for name, value in (("key", "p256"), ("mail-sender", "ca@acme.example")):
            await self._run(chapter, "ca", "settings", name, value)
        root, sub = json.loads((await self._run(chapter, "ca", "list", "--json")).out)
        for name, one in (("root", root), ("sub", sub)):
            await self._run(chapter, "certificate", "export", one["thumbprint"][:16], "--to",
                            f"{name}.pem")  # fmt: skip
        done = await self._ask("verify", "-x509_strict", "-CAfile", "root.pem", "sub.pem")
        chapter.check("the intermediate is below the root (openssl)", done.good, done.out)

    async def _many_at_once(self) -> None:
        chapter = self._chapter("Certificates for three people, from a CSV file")
        (self._home / "people.csv").write_text(PEOPLE, encoding="ascii")
        done = await self._run(chapter, "bulk", "submit", "people.csv", "--json")
        states = [row["state"] for row in json.loads(done.out)]
        chapter.check("three are issued", states == ["issued"] * 3, str(states))
        again = await self._run(chapter, "bulk", "preview", "people.csv", "--json")
        skipped = [row["skipped"] for row in json.loads(again.out)]
        chapter.check("none is asked for twice", all(skipped), str(skipped))
        found = await self._run(chapter, "certificate", "list", "--address", ALICE, "--json")
        thumbprint = json.loads(found.out)[0]["thumbprint"]
        await self._run(chapter, "certificate", "export", thumbprint, "--to", "alice.pem")
        done = await self._ask("verify", "-x509_strict", "-purpose", "smimesign", "-CAfile",
                               "root.pem", "-untrusted", "sub.pem", "alice.pem")  # fmt: skip
        chapter.check("alice's is fit to sign with (openssl)", done.good, done.out)

    async def _another_ca(self) -> None:
        chapter = self._chapter("A request that people carry to another CA")
        await self._run(chapter, "certificate", "request", DORA, "--cn", "Dora", "--handler",
                        "csr")  # fmt: skip
        (row,) = json.loads((await self._run(chapter, "pending", "list", "--json")).out)
        chapter.check("it waits", row["state"] == "pending", str(row))
        await self._run(chapter, "pending", "download", row["id"], "--out", "dora.csr")
        await self._ask("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
                        "-keyout", "other.key", "-out", "other.pem", "-subj",
                        "/CN=Another CA")  # fmt: skip
        done = await self._ask("x509", "-req", "-in", "dora.csr", "-CA", "other.pem", "-CAkey",
                               "other.key", "-out", "dora.pem", "-days", "20",
                               "-copy_extensions", "copy")  # fmt: skip
        chapter.check("the other CA signs it (openssl)", done.good, done.out)
        wrong = await self._run(chapter, "pending", "upload", "alice.pem", good=False)
        chapter.check("a certificate for another key is refused", not wrong.good, wrong.out)
        done = await self._run(chapter, "pending", "upload", "dora.pem", "--json")
        (answer,) = json.loads(done.out)
        chapter.check("the right one is taken", answer["outcome"] == "issued", str(answer))

    async def _a_key_by_mail(self) -> str:
        chapter = self._chapter("A key for a partner, by mail")
        done = await self._run(chapter, "certificate", "request", HUGO, "--cn", "Hugo",
                               "--key", "rsa2048", "--send")  # fmt: skip
        password = done.out.partition("password of the key file: ")[2].strip()
        mails = [one for one in self._sink.arrived if HUGO in one.recipients]
        chapter.check("the mail has arrived", len(mails) == 1, done.out)
        if mails:
            message: Any = message_from_bytes(mails[0].content, policy=default)
            for part in message.iter_attachments():
                (self._home / "hugo.p12").write_bytes(part.get_content())
        hidden = password and password.encode() not in b"".join(
            one.content for one in self._sink.arrived
        )
        chapter.check("the password is not in it", bool(hidden))
        return password

    async def _mail_is_encrypted(self) -> None:
        chapter = self._chapter("Mail to him is encrypted")
        content = await self._mail("secret")
        (self._home / "to-hugo.eml").write_bytes(content)
        chapter.check("it is enveloped data", b"enveloped-data" in content)
        chapter.check("its text cannot be read", b"Grapefruit" not in content)

    async def _a_key_is_opened(self, password: str) -> None:
        chapter = self._chapter("He opens the key file, and reads the mail with it")
        (self._home / "password").write_text(password)
        done = await self._ask("pkcs12", "-in", "hugo.p12", "-passin", "file:password",
                               "-nodes", "-out", "hugo-all.pem")  # fmt: skip
        chapter.check("the file opens (openssl)", done.good, done.out)
        done = await self._ask("cms", "-decrypt", "-inform", "SMIME", "-in", "to-hugo.eml",
                               "-recip", "hugo-all.pem", "-out", "read.eml")  # fmt: skip
        read = self._home / "read.eml"
        text = read.read_bytes() if read.exists() else b""
        chapter.check("the mail opens (openssl)", done.good, done.out)
        chapter.check("it is what alice wrote", b"Grapefruit" in text)

    async def _revoked(self) -> None:
        chapter = self._chapter("He has lost his key")
        found = await self._run(chapter, "certificate", "list", "--address", HUGO, "--json")
        one = json.loads(found.out)[0]
        await self._run(chapter, "certificate", "revoke", one["thumbprint"][:16], "--reason",
                        "keyCompromise")  # fmt: skip
        _, sub = json.loads((await self._run(chapter, "ca", "list", "--json")).out)
        publisher = self._at_work.publisher
        assert publisher is not None
        url = f"http://{HOST}:{publisher.port}/{sub['id']}.crl"
        (self._home / "sub.crl").write_bytes(await asyncio.to_thread(_fetched, url))
        done = await self._ask("crl", "-inform", "DER", "-in", "sub.crl", "-noout", "-text",
                               "-CAfile", "sub.pem")  # fmt: skip
        chapter.check("the CRL is at its URL, and signed by the CA (openssl)",
                      "verify OK" in done.out, done.out)  # fmt: skip
        chapter.check("he is on it", "Key Compromise" in done.out, done.out)
        content = await self._mail("no secret")
        chapter.check("mail to him is not encrypted any more", b"Grapefruit" in content)

    # what it is told with

    def _chapter(self, title: str) -> Chapter:
        self.chapters.append(Chapter(title))
        return self.chapters[-1]

    async def _run(self, chapter: Chapter, *arguments: str, good: bool = True) -> Ran:
        """A command of ours, typed; when it ends the running filter knows what it changed."""
        chapter.commands.append(shlex.join(("smimefilter", *arguments)))
        command = [sys.executable, "-m", "smimefilter", *arguments]
        settings = {"SMIMEFILTER_CONFIG": str(self._home / "smimefilter.yaml")}
        done = await asyncio.to_thread(_ended, command, self._home, settings)
        if done.good is not good:
            chapter.check(chapter.commands[-1], False, done.out)
        await self._at_work.filter.snapshots.look()
        return done

    async def _ask(self, *arguments: str) -> Ran:
        return await asyncio.to_thread(_ended, [str(self._openssl), *arguments], self._home, {})

    async def _mail(self, subject: str) -> bytes:
        """A mail from alice to hugo, as it arrives."""
        before = len(self._sink.arrived)
        await asyncio.to_thread(_hand_over, self._at_work.listeners[0].port, subject)
        arrived = self._sink.arrived[before:]
        return arrived[0].content if arrived else b""


@dataclass(frozen=True, slots=True)
class Ran:
    """A program that has ended: whether well, and what it printed."""

    good: bool
    out: str


def _ended(command: Sequence[str], home: Path, settings: dict[str, str]) -> Ran:
    try:
        done = subprocess.run(
            command,
            cwd=home,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Ran(good=False, out=str(error))
    text = (done.stdout + done.stderr).decode(errors="replace")
    if done.returncode == 0 and "--json" in command:
        text = done.stdout.decode(errors="replace")
    return Ran(done.returncode == 0, text)


def _fetched(url: str) -> bytes:
    with urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310 - our own publisher
        return bytes(answer.read())


def _hand_over(port: int, subject: str) -> None:
    text = f"From: {ALICE}\r\nTo: {HUGO}\r\nSubject: {subject}\r\n\r\nGrapefruit at nine.\r\n"
    with smtplib.SMTP(HOST, port, "client.demo.example", timeout=TIMEOUT) as client:
        client.sendmail(ALICE, [HUGO], text)


@asynccontextmanager
async def _installed(home: Path) -> AsyncIterator[tuple[Running, Sink]]:
    """A new installation in an empty folder, started; stopped at the end."""
    (home / "policies").mkdir()
    (home / "policies" / "global.yaml").write_text(POLICY)
    settings = home / "smimefilter.yaml"
    async with listening() as (sink, port):
        settings.write_text(SETTINGS.format(port=port), encoding="utf-8")
        config = read_config(settings)
        await initialise(config)
        with (home / "filter.log").open("w", encoding="utf-8") as log:
            async with open_app(config, journal=Recorder(log)) as app, running(app) as at_work:
                yield at_work, sink


async def perform() -> Story:
    """The whole story in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="smimefilter-demo-") as folder:
        home = Path(folder)
        async with _installed(home) as (at_work, sink):
            story = Story(home, at_work, sink)
            await story.tell()
    return story


def as_data(story: Story, seconds: float) -> dict[str, Any]:
    """The story as JSON has it."""
    return {
        "good": is_good(story),
        "seconds": round(seconds, 1),
        "chapters": [asdict(chapter) for chapter in story.chapters],
    }


def is_good(story: Story) -> bool:
    """Whether everything is as it should be."""
    checks = [check for chapter in story.chapters for check in chapter.checks]
    return bool(checks) and all(check.good for check in checks)


def show_story(story: Story, started: float) -> None:
    """The chapters, what was typed and what came of it, and a last line."""
    width = min(out.width, WIDEST)
    for number, chapter in enumerate(story.chapters, start=1):
        title = Text(f"{number}  {chapter.title}", "bold")
        out.print(Rule(title, align="left", style="dim"), soft_wrap=False, width=width)
        for command in chapter.commands:
            out.print(Text(f"$ {command}", "dim"))
        grid = Table.grid(padding=(0, 1))
        for check in chapter.checks:
            mark = Text("\u2713", "green") if check.good else Text("\u2717", "bold red")
            detail = f": {check.detail}" if check.detail else ""
            grid.add_row(mark, Text(f"{check.what}{detail}"))
        out.print(grid)
        out.print()
    checks = [check for chapter in story.chapters for check in chapter.checks]
    bad = sum(not check.good for check in checks)
    verdict = f"{bad} of {len(checks)} checks failed" if bad else f"{len(checks)} checks passed"
    style = "bold red" if bad else "bold green"
    out.print(Text(f"{verdict} in {time.perf_counter() - started:.1f} s", style))
