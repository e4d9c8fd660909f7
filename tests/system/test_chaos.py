"""A short bad week: every trouble of `make chaos` comes, and no mail is lost or leaks."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.system


def test_no_mail_is_lost_or_leaks() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "200", "7", "6"],
        capture_output=True, text=True, check=False, timeout=420,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "200 mails" in done.stdout
