"""What is installed is what was locked, and the bill of materials lists it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator

from tests.audit import PROJECT, Asked, answer, locked, locks, main, unpinned

HASH = f"--hash=sha256:{'0' * 64}"


def test_every_lock_is_pinned_by_hashes() -> None:
    assert len(locks()) >= 4
    for lock in locks():
        assert len([*locked(lock.read_text())]) > 0
        assert unpinned(lock.read_text()) == [], lock.name


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"a==1 \\\n    {HASH}\n    # via b\n", []),
        (f"a[x]==1 ; sys_platform == 'linux' \\\n    {HASH}\n", []),
        ("a==1\n", ["a"]),
        (f"a>=1 \\\n    {HASH}\n", ["a>=1"]),
        ("a==1 --hash=md5:00\n", ["a"]),
        (f"a==1 {HASH[:-1]}\n", ["a"]),
        ("git+https://x.test/a\n", ["git+https://x.test/a"]),
    ],
)
def test_what_is_not_pinned_is_found(text: str, found: list[str]) -> None:
    assert unpinned(text) == found


def test_what_was_not_audited_does_not_count_as_good() -> None:
    nothing = {"name": "a", "skip_reason": "not found"}
    good = {"name": "b", "version": "1", "vulns": []}
    bad = {"name": "c", "version": "2", "vulns": [{"id": "CVE-1"}]}
    told = json.dumps({"dependencies": [nothing, good, bad]})
    assert answer(told) == Asked(2, 1, ("c 2: CVE-1",))
    with pytest.raises(ValueError, match="Expecting value"):
        answer("")


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (None, 0, "NOT audited: no data"),
        (Asked(0, 1, ()), 0, "NOT audited: no data"),
        (Asked(1, 0, ()), 0, "1 packages audited, 0 flaws"),
        (Asked(1, 2, ()), 0, "2 packages NOT audited"),
        (Asked(1, 0, ("a 1: CVE-1",)), 1, "a 1: CVE-1"),
    ],
)
def test_which_of_both_was_done_is_said(
    asked: Asked | None,
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("tests.audit.ask", lambda _: asked)
    (tmp_path / "x.lock").write_text(f"a==1 {HASH}\n")
    assert main([tmp_path / "x.lock"]) == code
    out = capsys.readouterr().out
    assert said in out
    assert "all 1 packages are pinned by SHA-256" in out
    (tmp_path / "x.lock").write_text("a==1\n")
    assert main([tmp_path / "x.lock"]) == 1


def test_the_bill_of_materials_is_valid_and_lists_what_the_lock_lists(tmp_path: Path) -> None:
    recipe = (PROJECT / "Makefile").read_text()
    (arguments,) = re.findall(r"cyclonedx-py (requirements .*?) -o build/sbom\.json", recipe)
    file = tmp_path / "sbom.json"
    program = str(Path(sys.executable).with_name("cyclonedx-py"))
    command = [program, *arguments.split(), "-o", str(file)]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, timeout=120)
    found = json.loads(file.read_text())
    version = SchemaVersion.from_version(found["specVersion"])
    validator = make_schemabased_validator(OutputFormat.JSON, version)
    assert validator.validate_str(file.read_text()) is None
    assert validator.validate_str('{"bomFormat": "none"}') is not None
    listed = {(one["name"].lower(), one["version"]) for one in found["components"]}
    text = (PROJECT / "requirements.lock").read_text()
    assert listed == {(one.name, one.version) for one in locked(text)}
    assert found["metadata"]["component"]["name"] == "smimefilter"
    hashed = [
        reference["hashes"]
        for one in found["components"]
        for reference in one["externalReferences"]
        if reference["type"] == "distribution"
    ]
    assert len(hashed) == len(listed)
