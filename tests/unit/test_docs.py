"""What the documentation lists is what the code has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PACKAGE = PROJECT / "smimefilter"
SPOKEN = re.compile(r'"[45]\d\d (\d\.\d+\.\d+) ')


def calls() -> Iterator[ast.Call]:
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                yield node


def events() -> set[str]:
    """First arguments of what goes to the journal."""
    found = set()
    for call in calls():
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if name in {"note", "warn", "trouble", "_failed"} and call.args:
            first = call.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                found.add(first.value)
    return found


def statuses() -> set[str]:
    """Every enhanced status that the code gives of itself."""
    found = {
        f"{kind.value}.{detail.value}"
        for call in calls()
        if isinstance(call.func, ast.Name) and call.func.id == "Status" and len(call.args) == 2
        for kind, detail in [call.args]
        if isinstance(kind, ast.Constant) and isinstance(detail, ast.Constant)
    }
    for file in (PACKAGE / "smtp").glob("*.py"):
        found |= set(SPOKEN.findall(file.read_text()))
    return found


def test_every_event_is_told() -> None:
    text = (PROJECT / "docs" / "log.md").read_text()
    assert len(events()) > 15
    assert {event for event in events() if f"`{event}`" not in text} == set()


def test_every_status_is_told() -> None:
    text = (PROJECT / "docs" / "replies.md").read_text()
    found = statuses()
    assert {"5.7.5", "4.3.0", "4.4.2"} <= found
    assert {status for status in found if status not in text} == set()
