"""Printing the outcome: for each mail a table of what was decided and why, and the checks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from smimefilter.cli.show import out
from smimefilter.plan.explain import as_data

from .outcome import Case, Outcome
from .people import local_part

WIDEST: Final = 100  # columns that are read with ease
COLOURS: Final = {"refuse": "red", "untouched": "cyan"}
SOURCE: Final = r"\([^()\n]+\)(?=\n|$)"  # at the end of a reason: where its cause stands


def show(outcome: Outcome) -> None:
    """All mails, and a last line that says whether everything is as it should be."""
    for number, case in enumerate(outcome.cases, start=1):
        title = Text(f"{number}  {case.sent.mail.title}", "bold")
        _print(Rule(title, align="left", style="dim"))
        _show(case)
        out.print()
    checks = [check for case in outcome.cases for check in case.checks]
    bad = sum(not check.good for check in checks)
    verdict = f"{bad} of {len(checks)} checks failed" if bad else f"{len(checks)} checks passed"
    _print(Text(f"{verdict} in {outcome.seconds:.1f} s", "bold red" if bad else "bold green"))
    out.print(f"The results are in {outcome.folder}", markup=False)


def _show(case: Case) -> None:
    mail = case.sent.mail
    way = f"{mail.sender} \u2192 {', '.join(mail.expected)} by {mail.protocol.upper()}"
    _print(Text(way))
    _print(Text(mail.about, "dim"))
    if case.sent.plan:
        _print(_table(case, as_data(case.sent.plan)))
    _print(_checks(case))


def _table(case: Case, plan: dict[str, Any]) -> Table:
    """A row for each recipient, and one for the signing certificate."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in ("for", "decision"):
        table.add_column(name, no_wrap=True)
    table.add_column("why, and the answer")
    for recipient in plan["recipients"]:
        address, action = recipient["address"], recipient["action"]
        decision = Text(action, COLOURS.get(action, "green"))
        why = (_lines(_reasons(recipient)), *_certificates(recipient["certificates"]))
        answer = Text(case.sent.reply(address), "bold")
        table.add_row(local_part(address), decision, Group(*why, answer))
    if any(copy["signed-by"] for copy in plan["copies"]):
        signer = Group(*_certificates(plan["signing"]))
        table.add_row(local_part(case.sent.mail.sender), Text("signs", "green"), signer)
    return table


def _reasons(of: dict[str, Any]) -> list[str]:
    return [reason["text"] for reason in of["reasons"]]


def _certificates(candidates: Iterable[dict[str, Any]]) -> Iterable[RenderableType]:
    for one in candidates:
        used = "used" if one["used"] else "not used"
        yield _lines([f"certificate {one['thumbprint'][:12]} {used}:"])
        yield Padding(_lines(_reasons(one)), (0, 0, 0, 2))


def _lines(lines: Iterable[str]) -> Text:
    text = Text("\n".join(lines))
    text.highlight_regex(SOURCE, "dim")
    return text


def _checks(case: Case) -> Table:
    grid = Table.grid(padding=(0, 1))
    for check in case.checks:
        mark = Text("\u2713", "green") if check.good else Text("\u2717", "bold red")
        program = " (openssl)" if check.command else ""
        detail = f": {check.detail}" if check.detail else ""
        grid.add_row(mark, check.who, Text(f"{check.what}{program}{detail}"))
    return grid


def _print(what: RenderableType) -> None:
    out.print(what, soft_wrap=False, width=min(out.width, WIDEST))
