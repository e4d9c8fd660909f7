"""What is taken for a report of ours, and what it may cost to find out."""

from __future__ import annotations

import pytest

from smimefilter.message import report
from smimefilter.message.report import MOST_READ, cleaned
from smimefilter.message.wire import Message

HOST = "gw.in.test"


def kept(*values: bytes) -> list[bytes]:
    fields = b"".join(b"Authentication-Results: %b\r\n" % value for value in values)
    clean = cleaned(Message(fields + b"\r\nx"), "X-Ours-", HOST, ())
    return clean.all("Authentication-Results")


@pytest.mark.parametrize(
    ("value", "is_ours"),
    [
        (b"gw.in.test; smime=pass", True),
        (b"GW.in.test.; (x) SMIME (y) = pass", True),
        (b'"gw.in.test; s\\mime=pass"', True),
        (b"gw.in.test; dkim=pass", False),
        (b"gw.in.test; dkim=pass (smime=pass)", False),
        (b"other.test; smime=pass", False),
        (b"other.test; smime=pass (", True),
    ],
)
def test_results_of_smime_under_our_name_go(value: bytes, is_ours: bool) -> None:
    assert kept(value) == ([] if is_ours else [value])


def test_of_many_results_only_so_much_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []

    def counting(value: bytes) -> bytes | None:
        lengths.append(len(value))
        return known(value)

    known = report.without_comments
    monkeypatch.setattr(report, "without_comments", counting)
    plain, long = b"other.test; dkim=pass", b"other.test; smime=pass" + b"()" * 10_000
    left = kept(*[plain, long] * 10)
    assert sum(lengths) <= MOST_READ
    assert left.count(plain) == 10
    assert left.count(long) == MOST_READ // len(long)
