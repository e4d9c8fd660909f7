"""The command: set up, send, check, show. Ends with 1 when a check fails, or `AdminError`."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from smimefilter.app import now
from smimefilter.cli.show import Json, as_json, err

from .authority import as_data, is_good, perform, show_story
from .checks import check
from .installation import filtering
from .mails import five_mails
from .openssl import Openssl, find_openssl
from .outcome import Outcome, Sent
from .people import make_people, write_people
from .policies import write_policies
from .results import Results
from .show import show


def demo(
    output: Annotated[
        Path,
        typer.Option(help="The folder for the results; one of an earlier demo is replaced."),
    ] = Path("demo-results"),
    ca: Annotated[
        bool, typer.Option("--ca", help="The life of certificates instead; leaves nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Five mails through a running filter: each decision explained, each result checked.

    Everything is made for the occasion and taken away again, but for the folder of results.
    """
    if ca:
        _authority(json)
        return
    program = find_openssl()
    results = Results.prepare(output)
    with err.status("five mails are on their way"):
        outcome = uvloop.run(_perform(results, Openssl(program, results.folder)))
    if json:
        as_json(outcome.as_data())
    else:
        show(outcome)
    if not outcome.is_good:
        raise typer.Exit(1)


def _authority(json: bool) -> None:
    started = time.perf_counter()
    find_openssl()
    with err.status("certificates are made, used and revoked"):
        story = uvloop.run(perform())
    if json:
        as_json(as_data(story, time.perf_counter() - started))
    else:
        show_story(story, started)
    if not is_good(story):
        raise typer.Exit(1)


async def _perform(results: Results, openssl: Openssl) -> Outcome:
    started = time.perf_counter()
    people = make_people(now())
    write_people(people, results)
    write_policies(results)
    mails = five_mails(now())
    with tempfile.TemporaryDirectory(prefix="smimefilter-demo-") as home:
        async with filtering(Path(home), results) as filter_:
            sent = [Sent(mail, *await filter_.send(mail)) for mail in mails]
        arrived = filter_.arrived
    cases = [await check(one, arrived, results, openssl) for one in sent]
    outcome = Outcome(results.folder, cases, time.perf_counter() - started)
    results.conclude(outcome.as_data(), outcome.commands)
    return outcome
