"""`smimefilter demo` as a process, and its checks on results that are not as they should be."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from smimefilter.base.errors import AdminError, Status
from smimefilter.base.reasons import Because, Reason
from smimefilter.cli.demo.checks import check
from smimefilter.cli.demo.mails import PHRASE, DemoMail, five_mails
from smimefilter.cli.demo.openssl import Openssl
from smimefilter.cli.demo.outcome import Arrived, Case, Sent
from smimefilter.cli.demo.people import ALICE, BOB, CAROL, DAVE, ERIN
from smimefilter.cli.demo.results import MARKER, Results
from smimefilter.plan.plan import Action, Decision, Plan, Refusal
from smimefilter.plan.selection import Candidate, Selection
from tests.support.needs import need
from tests.support.pki import NOW
from tests.support.program import COMMAND

RECEIVED = b"Received: from a.test ([127.0.0.1])\r\n\tby b.test; some day\r\n"
OK = "250 2.0.0 Ok: queued as SINK1"


def run_demo(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "demo", *arguments],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def performed(tmp_path_factory: pytest.TempPathFactory) -> Performed:
    """One demo for all tests that only look at its results."""
    need("openssl")
    home = tmp_path_factory.mktemp("demo")
    done = run_demo(home, "--json")
    return Performed(home, done)


class Performed:
    def __init__(self, home: Path, done: subprocess.CompletedProcess[str]) -> None:
        self.home = home
        self.done = done
        self.folder = home / "demo-results"
        self.outcome: dict[str, Any] = json.loads(done.stdout)

    def mail(self, name: str) -> dict[str, Any]:
        return next(mail for mail in self.outcome["mails"] if mail["name"] == name)


# as it should be


def test_everything_is_as_it_should_be(performed: Performed) -> None:
    assert performed.done.returncode == 0
    assert performed.done.stderr == ""
    assert performed.outcome["good"] is True
    assert performed.outcome["seconds"] < 20
    checks = [check for mail in performed.outcome["mails"] for check in mail["checks"]]
    assert all(check["good"] for check in checks)
    assert sum("openssl cms -verify" in check["command"] for check in checks) >= 3
    assert sum("openssl cms -decrypt" in check["command"] for check in checks) >= 3


def test_five_mails_and_their_outcomes(performed: Performed) -> None:
    actions = {
        mail["name"]: {one["address"]: one["action"] for one in mail["plan"]["recipients"]}
        for mail in performed.outcome["mails"]
    }
    assert actions == {
        "1-signed": {DAVE: "sign"},
        "2-encrypted": {BOB: "sign+encrypt", ERIN: "sign+encrypt"},
        "3-refused": {CAROL: "refuse"},
        "4-mixed": {BOB: "encrypt", CAROL: "refuse", DAVE: "untouched"},
        "5-untouched": {DAVE: "untouched"},
    }


def test_lmtp_gives_three_different_replies(performed: Performed) -> None:
    replies = performed.mail("4-mixed")["replies"]
    assert [reply[:9] for reply in replies] == ["250 2.0.0", "554 5.7.5", "250 2.0.0"]
    assert len(set(replies)) == 3


def test_what_was_refused_did_not_arrive(performed: Performed) -> None:
    assert performed.mail("3-refused")["arrived"] == []
    arrived = [file for mail in performed.outcome["mails"] for file in mail["arrived"]]
    assert arrived
    assert not any("carol" in file for file in arrived)


def test_the_folder_holds_the_results(performed: Performed) -> None:
    for mail in performed.outcome["mails"]:
        own = performed.folder / mail["name"]
        assert json.loads((own / "explain.json").read_text()) == mail["plan"]
        assert PHRASE in (own / "sent.eml").read_bytes()
        for file in mail["arrived"]:
            assert (performed.folder / file).read_bytes().startswith(b"Received: ")
    assert json.loads((performed.folder / "results.json").read_text()) == performed.outcome
    for name in ("policies/global.yaml", "people/root.pem", "people/bob.p12", "README.txt"):
        assert (performed.folder / name).stat().st_size
    log = (performed.folder / "filter.log").read_text().splitlines()
    assert sum(json.loads(line)["event"] == "mail" for line in log) == 5


def test_nothing_else_is_left(performed: Performed) -> None:
    assert [entry.name for entry in performed.home.iterdir()] == ["demo-results"]


def test_commands_in_the_readme_can_be_repeated(performed: Performed) -> None:
    lines = (performed.folder / "README.txt").read_text().splitlines()
    commands = [line.strip() for line in lines if "openssl cms" in line]
    assert len(commands) >= 8
    for command in commands:
        done = subprocess.run(
            ["/bin/bash", "-c", command],
            cwd=performed.folder,
            capture_output=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 0, command


def test_its_own_folder_is_replaced_and_the_tables_are_printed(tmp_path: Path) -> None:
    need("openssl")
    old = tmp_path / "out"
    (old / "6-old").mkdir(parents=True)
    (old / MARKER).touch()
    done = run_demo(tmp_path, "--output", "out")
    assert done.returncode == 0, done.stderr
    assert not (old / "6-old").exists()
    assert (old / "results.json").is_file()
    for word in ("sign+encrypt", "domains/partner.example.yaml:6", "554 5.7.5", "\u2713"):
        assert word in done.stdout
    assert "\u2717" not in done.stdout


# not as it should be


def stub(folder: Path, script: str) -> dict[str, str]:
    """An environment where `openssl` is this script."""
    programs = folder / "programs"
    programs.mkdir()
    (programs / "openssl").write_text(f"#!/bin/sh\n{script}\n")
    (programs / "openssl").chmod(0o755)
    return {"PATH": f"{programs}:{os.environ['PATH']}"}


def test_an_openssl_that_takes_everything_ends_it_non_zero(tmp_path: Path) -> None:
    done = run_demo(tmp_path, "--json", environment=stub(tmp_path, "exit 0"))
    assert done.returncode == 1
    outcome = json.loads(done.stdout)
    assert outcome["good"] is False
    bad = {
        mail["name"]: [check["what"] for check in mail["checks"] if not check["good"]]
        for mail in outcome["mails"]
    }
    assert bad["1-signed"]
    assert bad["2-encrypted"]
    assert bad["4-mixed"]
    assert bad["3-refused"] == bad["5-untouched"] == []  # openssl is not asked there


def test_an_openssl_that_takes_nothing_ends_it_non_zero(tmp_path: Path) -> None:
    environment = stub(tmp_path, "echo no such luck >&2; exit 1")
    done = run_demo(tmp_path, environment=environment)
    assert done.returncode == 1
    assert "\u2717" in done.stdout
    assert "no such luck" in done.stdout


def test_without_openssl_nothing_is_done(tmp_path: Path) -> None:
    done = run_demo(tmp_path, environment={"PATH": str(tmp_path)})
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "openssl" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_files_of_somebody_else_stay(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(AdminError):
        Results.prepare(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "precious"
    with pytest.raises(AdminError):
        Results.prepare(tmp_path / "thesis.tex")
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_link_in_an_old_folder_is_taken_away_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "file").touch()
    old = Results.prepare(tmp_path / "old")
    (old.folder / "link").symlink_to(tmp_path / "else")
    Results.prepare(tmp_path / "old")
    assert (tmp_path / "else" / "file").exists()
    assert not (old.folder / "link").exists()


# the checks, without a filter: they have to notice


def demo_mail(name: str) -> DemoMail:
    return next(mail for mail in five_mails(NOW) if mail.name == name)


def sent(mail: DemoMail, *replies: str, plan: Plan | None) -> Sent:
    return Sent(mail, list(replies), plan)


def planned(address: str, action: Action, because: Because = Because.EXPIRED) -> Plan:
    refusal = Refusal(Status(5, "7.5"), "told why") if action is Action.REFUSE else None
    candidate = Candidate("00", None, used=False, reasons=(Reason(because),))
    decision = Decision(address, action, (), Selection((candidate,)), refusal)
    return Plan((decision,), ())


async def checked(folder: Path, one: Sent, *arrived: Arrived) -> Case:
    results = Results.prepare(folder / "results")
    return await check(one, arrived, results, Openssl(Path("/bin/false"), results.folder))


UNTOUCHED = demo_mail("5-untouched")
AS_SENT = RECEIVED + UNTOUCHED.content


async def test_untouched_is_good(tmp_path: Path) -> None:
    one = sent(UNTOUCHED, OK, plan=planned(DAVE, Action.UNTOUCHED))
    assert (await checked(tmp_path, one, Arrived((DAVE,), AS_SENT))).is_good


@pytest.mark.parametrize(
    "content",
    [
        UNTOUCHED.content,
        RECEIVED + AS_SENT,
        AS_SENT + b"\r\n",
        AS_SENT.replace(b"  odd ", b" odd "),
        AS_SENT.replace(b"\r\n..dots", b"\r\n.dots"),
        RECEIVED + b"X-New: field\r\n" + UNTOUCHED.content,
    ],
    ids=["no Received", "two Received", "more", "a space less", "a dot less", "a field more"],
)
async def test_touched_is_noticed(tmp_path: Path, content: bytes) -> None:
    one = sent(UNTOUCHED, OK, plan=planned(DAVE, Action.UNTOUCHED))
    assert not (await checked(tmp_path, one, Arrived((DAVE,), content))).is_good


@pytest.mark.parametrize(
    "arrived",
    [
        (),
        (Arrived((DAVE,), AS_SENT), Arrived((DAVE,), AS_SENT)),
        (Arrived((DAVE, BOB), AS_SENT),),
    ],
    ids=["nothing", "twice", "to somebody else as well"],
)
async def test_other_arrivals_are_noticed(tmp_path: Path, arrived: tuple[Arrived]) -> None:
    one = sent(UNTOUCHED, OK, plan=planned(DAVE, Action.UNTOUCHED))
    assert not (await checked(tmp_path, one, *arrived)).is_good


@pytest.mark.parametrize(
    ("reply", "plan"),
    [
        ("451 4.3.0 later", planned(DAVE, Action.UNTOUCHED)),
        (OK, planned(DAVE, Action.SIGN)),
        (OK, None),
    ],
    ids=["not taken", "planned otherwise", "no plan"],
)
async def test_other_answers_are_noticed(tmp_path: Path, reply: str, plan: Plan | None) -> None:
    one = sent(UNTOUCHED, reply, plan=plan)
    assert not (await checked(tmp_path, one, Arrived((DAVE,), AS_SENT))).is_good


REFUSED = demo_mail("3-refused")
WHY = "554 5.7.5 told why"


async def test_refused_is_good(tmp_path: Path) -> None:
    one = sent(REFUSED, WHY, plan=planned(CAROL, Action.REFUSE))
    assert (await checked(tmp_path, one)).is_good


@pytest.mark.parametrize(
    ("reply", "because"),
    [
        ("554 5.7.5 not told", Because.EXPIRED),
        ("554 5.7.1 told why", Because.EXPIRED),
        (WHY, Because.NO_PATH),
    ],
)
async def test_another_refusal_is_noticed(tmp_path: Path, reply: str, because: Because) -> None:
    one = sent(REFUSED, reply, plan=planned(CAROL, Action.REFUSE, because))
    assert not (await checked(tmp_path, one)).is_good


async def test_a_refused_mail_that_arrived_is_noticed(tmp_path: Path) -> None:
    one = sent(REFUSED, WHY, plan=planned(CAROL, Action.REFUSE))
    leaks = [
        Arrived((CAROL,), RECEIVED + REFUSED.content),
        Arrived((CAROL,), b"Subject: under another Message-ID\r\n\r\n"),
    ]
    for leak in leaks:
        assert not (await checked(tmp_path, one, leak)).is_good


async def test_clear_text_and_other_header_fields_are_noticed(tmp_path: Path) -> None:
    mail = demo_mail("2-encrypted")
    one = sent(mail, OK, plan=planned(BOB, Action.SIGN_ENCRYPT))
    changed = mail.content.replace(ALICE.encode(), b"mallory@acme.example")
    case = await checked(tmp_path, one, Arrived((BOB, ERIN), RECEIVED + changed))
    bad = {made.what for made in case.checks if not made.good}
    assert "not readable without a key" in bad
    assert "From, To, Subject and the like as sent" in bad


# the life of certificates


def test_the_story_of_certificates(tmp_path: Path) -> None:
    need("openssl")
    done = run_demo(tmp_path, "--ca", "--json")
    assert done.returncode == 0, done.stdout
    story = json.loads(done.stdout)
    assert story["good"] is True
    assert story["seconds"] < 60
    assert len(story["chapters"]) == 7
    assert all(check["good"] for one in story["chapters"] for check in one["checks"])
    assert (
        sum("openssl" in check["what"] for one in story["chapters"] for check in one["checks"])
        > 5
    )
    assert list(tmp_path.iterdir()) == []


def test_a_story_that_goes_wrong_ends_non_zero_and_says_where(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    done = run_demo(home, "--ca", environment=stub(tmp_path, "echo no such luck >&2; exit 1"))
    assert done.returncode == 1
    assert "\u2717" in done.stdout
    assert "no such luck" in done.stdout
    assert done.stderr == ""
