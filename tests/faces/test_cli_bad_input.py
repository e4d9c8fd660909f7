"""What administrators get wrong: one line that says what to do, and nothing is changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.support.postoffice import ALICE, BOB, Installation
from tests.support.sink import Sink

Complaint = Callable[..., str]
ANOTHER_KEY: Final = "ab" * 32 + "\n"


@pytest.fixture
def complaint(installation: Installation) -> Complaint:
    """Runs a command that fails, sees that it changes nothing, gives the one line it says."""

    def complain(*arguments: str, stdin: str = "") -> str:
        before = installation.state()
        line = installation.command.complaint(*arguments, stdin=stdin)
        assert installation.state() == before
        return line.replace(f"{installation.home}/", "")

    return complain


@pytest.fixture
def garbage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file: Path = tmp_path_factory.mktemp("papers") / "garbage.pem"
    file.write_bytes(b"\x30\x82\x00\xffgarbage" * 20)
    return file


# policies


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("preferences: [\n", r"global.yaml:2:1: not YAML: "),
        ("preferences: {encrypt: 'never\n", r"global.yaml:\d:\d+: not YAML: "),
        (
            "preferences:\n  encypt: never\n",
            r"global.yaml:2:3: unknown preference 'encypt' \(did you mean 'encrypt'\?\)",
        ),
        (
            "preferences:\n  encrypt: nevr\n",
            r"global.yaml:2:12: encrypt: takes .* not 'nevr' \(did you mean 'never'\?\)",
        ),
        (
            "preferencs: {}\n",
            r"global.yaml:1:1: unknown key 'preferencs' \(did you mean 'preferences'\?\)",
        ),
        ("users: {alice: {sign: never}}\n", r"global.yaml:1:9: .*alice"),
        ("preferences:\n  sign:\n", r"global.yaml:2:\d+: .*sign"),
        ("preferences: {pkcs12-password: secret}\n", r"global.yaml:1:\d+: .*pkcs12-password"),
        ("- a list\n", r"global.yaml:1:1: "),
    ],
)
def test_a_wrong_policy_file(
    text: str, says: str, installation: Installation, complaint: Complaint
) -> None:
    installation.settings(text)
    assert re.fullmatch(f"policies/{says}.*", complaint("policy", "check"))
    assert complaint("policy", "check") == complaint("serve")
    assert complaint("policy", "check") == complaint("certificate", "list")


def test_all_mistakes_of_all_files_are_told_at_once(installation: Installation) -> None:
    installation.settings("preferences:\n  encypt: never\n  sign: allways\n")
    installation.settings("users: {a@b.test: {sing: never}}\n", "more.yaml")
    lines = installation.command("policy", "check", code=1).err.splitlines()
    assert [line.rpartition("/")[2].split(": ")[0] for line in lines] == [
        "global.yaml:2:3",
        "global.yaml:3:9",
        "more.yaml:1:20",
    ]


# settings


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("listeners: [\n", r"smimefilter.yaml:2:1: not YAML: "),
        (
            "listeneers: []\n",
            r"smimefilter.yaml:1:1: .* 'listeneers' \(did you mean 'listeners'\?\)",
        ),
        ("listeners: [{port: x}]\n", r"smimefilter.yaml:1:20: 'listeners.0.port'"),
        ("listeners: [{port: 70000}]\n", r"smimefilter.yaml:1:20: 'listeners.0.port'"),
        (
            "next-hop: {tls: verfy}\n",
            r"smimefilter.yaml:1:17: 'next-hop.tls': .*\(did you mean 'verify'\?\)",
        ),
        (
            "{database: mysql://root@localhost/x, master-key: master.key, workers: 1}\n",
            r"database: .*write sqlite\+aiosqlite",
        ),
        ("{workers: 1}\n", r"master-key: there is no master key \(name its file"),
    ],
)
def test_wrong_settings(
    text: str, says: str, installation: Installation, complaint: Complaint
) -> None:
    installation.program.config.write_text(text)
    assert re.match(says, complaint("serve"))
    assert complaint("serve") == complaint("account", "list")


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("routes: {a.test: nowhere}", r"routes: route 'a.test' leads to 'nowhere'"),
        ("own-clients: [all]", r"`own-clients`: 'all' does not appear"),
        ("listeners: [{clients: [x]}]", r"listener 127.0.0.1:10025: `clients`: 'x'"),
        (
            "listeners: [{tls: {certificate: no.pem, key: no.key}}]",
            r"no.pem, no.key: cannot be read: No such file",
        ),
    ],
)
def test_settings_that_cannot_work_are_told_by_serve_and_by_doctor(
    setting: str, says: str, installation: Installation, complaint: Complaint
) -> None:
    installation.program.config.write_text(
        f"{setting}\nmaster-key: master.key\npolicies: policies\nworkers: 1\n"
    )
    assert re.match(says, complaint("serve"))
    findings = installation.command("doctor", "--json", code=1).json
    told = [f"{f['about']}: {f['what']}" for f in findings if f["grade"] == "bad"]
    told = [line.replace(f"{installation.home}/", "") for line in told]
    assert any(re.search(says, line) for line in told)


def test_settings_that_are_not_there(installation: Installation) -> None:
    installation.program.config.unlink()
    line = installation.command.complaint("serve")
    assert "smimefilter.yaml: cannot be read: no such file" in line
    assert "--config FILE" in line


# database


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"garbage" * 1000, "not a SQLite database"),
        (b"SQLite format 3\0" + b"\xff" * 8000, "the database cannot be opened"),
        (b"", "has not been set up (run: smimefilter init)"),
        (None, "does not exist (run: smimefilter init)"),
    ],
    ids=["garbage", "damaged", "empty", "missing"],
)
def test_a_database_that_is_none(
    content: bytes | None, says: str, installation: Installation, complaint: Complaint
) -> None:
    file = installation.home / "smimefilter.db"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    line = complaint("certificate", "list")
    assert line.startswith("smimefilter.db: ")
    assert says in line


def test_a_damaged_database_is_left_alone_by_init_and_serve(
    installation: Installation, complaint: Complaint
) -> None:
    (installation.home / "smimefilter.db").write_bytes(b"garbage" * 1000)
    assert "restore it from a backup" in complaint("init")
    assert "restore it from a backup" in complaint("serve")


def test_a_folder_in_the_place_of_the_database(
    installation: Installation, complaint: Complaint
) -> None:
    file = installation.home / "smimefilter.db"
    file.unlink()
    file.mkdir()
    assert complaint("init") == "smimefilter.db: a folder, not a database (name a file)"


# master key


def test_the_wrong_master_key(installation: Installation, complaint: Complaint) -> None:
    (installation.home / "master.key").write_text(ANOTHER_KEY)
    for command in (("serve",), ("init",), ("key", "list")):
        line = complaint(*command)
        assert "not the one this database was made with (give the right key" in line


def test_a_master_key_that_others_can_read(
    installation: Installation, complaint: Complaint
) -> None:
    (installation.home / "master.key").chmod(0o644)
    for command in (("serve",), ("init",), ("key", "list")):
        line = complaint(*command)
        assert line.startswith("master.key: others can read the master key (mode 0644)")
        assert "chmod 600" in line


def test_no_master_key(installation: Installation, complaint: Complaint) -> None:
    (installation.home / "master.key").unlink()
    assert complaint("serve").startswith("master.key: the master key does not exist")
    line = complaint("init")  # which must not make another one, of no use for this database
    assert line.startswith("master.key: ")
    assert "put it back" in line


def test_something_else_in_the_place_of_the_master_key(
    installation: Installation, complaint: Complaint
) -> None:
    (installation.home / "master.key").write_text("open sesame")
    assert complaint("serve").startswith("master.key: this is not a master key (64 hex digits")


def test_rotating_to_the_key_in_use_or_to_none(
    installation: Installation, complaint: Complaint
) -> None:
    used = str(installation.home / "master.key")
    assert "this is the master key in use" in complaint("key", "rotate", "--new", used)
    nowhere = str(installation.home / "nowhere" / "new.key")
    assert "nowhere/new.key: " in complaint("key", "rotate", "--new", nowhere)


# files to import


def test_a_wrong_password_and_none(installation: Installation, complaint: Complaint) -> None:
    identity = str(installation.people.identity(BOB))
    line = complaint("key", "import", identity, "--password-file", "-", stdin="wrong\n")
    assert line == f"{identity}: the password is wrong (try the right one)"
    line = complaint("key", "import", identity)
    assert line == "a password is needed (give it with --password-file FILE, or '-')"


@pytest.mark.parametrize("group", ["certificate", "root", "crl", "key"])
def test_garbage_to_import(group: str, garbage: Path, complaint: Complaint) -> None:
    line = complaint(group, "import", str(garbage))
    assert line.startswith(f"{garbage}: nothing could be imported: ")


@pytest.mark.parametrize("content", [b"", b"\0", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_other_garbage(content: bytes, garbage: Path, complaint: Complaint) -> None:
    garbage.write_bytes(content)
    line = complaint("certificate", "import", str(garbage))
    assert line.startswith(f"{garbage}: nothing could be imported: ")


def test_good_files_beside_garbage_are_not_imported_either(
    garbage: Path, installation: Installation, complaint: Complaint
) -> None:
    installation.people.add("new@strict.test")
    good = str(installation.people.certificate("new@strict.test"))
    line = complaint("certificate", "import", good, str(garbage))
    assert line.startswith(f"{garbage}: ")


@pytest.mark.parametrize("group", ["certificate", "root", "crl", "key"])
def test_files_that_cannot_be_read(
    group: str, installation: Installation, complaint: Complaint
) -> None:
    for name, why in (("nowhere.pem", "no such file"), ("policies", "is a directory")):
        line = complaint(group, "import", str(installation.home / name))
        assert line.startswith(f"{name}: cannot read it: {why}")
        assert line.endswith("(name a file that is there, and that we may read)")


def test_nothing_to_import(complaint: Complaint) -> None:
    assert complaint("root", "import") == "nothing to import (name files, or give --system)"


def test_a_file_that_cannot_be_written(
    installation: Installation, complaint: Complaint
) -> None:
    thumbprint = installation.who(BOB).thumbprint[:16]
    to = str(installation.home / "nowhere" / "bob.pem")
    line = complaint("certificate", "export", thumbprint, "--to", to)
    assert line.startswith("nowhere/bob.pem: cannot write it: no such file or directory (")


# thumbprints

NOBODY: Final = "0" * 128


@pytest.mark.parametrize(
    "command",
    [
        ("certificate", "show", NOBODY),
        ("certificate", "remove", NOBODY),
        ("certificate", "export", NOBODY, "--to", "x.pem"),
        ("key", "export", NOBODY, "--to", "x.p12", "--password-file", "-"),
        ("root", "remove", NOBODY),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_an_unknown_thumbprint(command: tuple[str, ...], complaint: Complaint) -> None:
    line = complaint(*command, stdin="some password")
    assert line.startswith("no certificate has the thumbprint 0000")
    shelf = "root" if command[0] == "root" else "certificate"
    assert line.endswith(f"(list them with: smimefilter {shelf} list)")


@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_file_that_is_not_there(command: str, complaint: Complaint) -> None:
    line = complaint("certificate", command, "nosuchfile.pem")
    assert line == "nosuchfile.pem: no such file (or write the hex of a thumbprint)"


def test_too_short_a_thumbprint(complaint: Complaint) -> None:
    line = complaint("certificate", "show", "00aa")
    assert "not enough of a SHA-512 thumbprint (write its first 8 hex digits" in line


@pytest.mark.parametrize(
    "thumbprint", ["00" * 3, "00" * 20, "00" * 32, "0" * 127, "0" * 129, "zz" * 64]
)
def test_the_trust_list_takes_whole_sha512_thumbprints_alone(
    thumbprint: str, complaint: Complaint
) -> None:
    line = complaint("ctl", "add", thumbprint, "black")
    assert "hex digits" in line
    assert line.endswith("print it with: smimefilter certificate show FILE")


def test_what_is_not_on_a_list(complaint: Complaint) -> None:
    assert complaint("ctl", "remove", NOBODY).endswith("(smimefilter ctl list)")
    assert complaint("ctl", "show", NOBODY).endswith("(smimefilter ctl list)")
    assert complaint("crl", "remove", "00aa00aa").endswith("with: smimefilter crl list)")
    assert complaint("account", "remove", "x").endswith("smimefilter account list)")
    assert complaint("policy", "unset", "global", "sign").endswith("smimefilter policy list)")


def test_a_certificate_without_a_key_has_none_to_export(
    installation: Installation, complaint: Complaint
) -> None:
    thumbprint = installation.who(BOB).thumbprint[:16]
    line = complaint(
        "key", "export", thumbprint, "--to", "x.p12", "--password-file", "-", stdin="pass word"
    )
    assert line.endswith("(list those there are with: smimefilter key list)")


# preferences, addresses, logins


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("global", "encypt", "never"),
            "unknown preference 'encypt' (did you mean 'encrypt'?)",
        ),
        (("global", "encrypt", "nevr"), "not 'nevr' (did you mean 'never'?)"),
        (("global", "encrypt"), "no value for encrypt (write it after the name)"),
        (("nowhere at all", "encrypt", "never"), "nowhere at all"),
        ((ALICE, "minimum-rsa-bits", "4096"), "is set at the level global only"),
        (("global", "pkcs12-password"), "(give it with --password-file FILE, or '-')"),
        ((ALICE, "pkcs12-password", "tell"), "(give it with --value-file FILE, or '-'"),
    ],
)
def test_preferences_that_cannot_be_set(
    arguments: tuple[str, ...], says: str, complaint: Complaint
) -> None:
    assert says in complaint("policy", "set", *arguments)


@pytest.mark.parametrize("address", ["@@", "alice", "alice@", "@in.test", "a b@in.test"])
def test_what_is_no_address(address: str, complaint: Complaint) -> None:
    for command in (("policy", "show", address), ("explain", "--to", BOB, "--from", address)):
        assert complaint(*command).startswith(f"{address}: ")


@pytest.mark.parametrize(
    ("login", "password"), [("x", "short"), ("", "long enough"), ("a\nb", "long enough")]
)
def test_logins_that_are_not_taken(login: str, password: str, complaint: Complaint) -> None:
    assert complaint("account", "add", login, "--password-file", "-", stdin=password)


def test_contradictions(complaint: Complaint) -> None:
    assert complaint("ctl", "add", NOBODY, "black", "--allow-expired")


# ports


def test_a_port_in_use(installation: Installation, complaint: Complaint) -> None:
    config = installation.program.config
    with Sink() as other:
        port = f"port: {other.port}\n  clients"
        config.write_text(re.sub(r"port: \d+\n  clients", port, config.read_text()))
        line = complaint("serve")
        findings = installation.command("doctor", "--json", code=1).json
    assert f"127.0.0.1:{other.port}" in line
    assert line.endswith("(stop what listens there, or choose another port)")
    (listener,) = [f for f in findings if f["about"].startswith("listener")]
    assert listener["grade"] == "bad"
    assert "something else answers: 220 sink.test" in listener["what"]


def test_a_next_hop_that_is_down(installation: Installation) -> None:
    """The filter starts: mail waits with its clients. Doctor tells."""
    findings = installation.command("doctor", "--json", code=1).json
    (hop,) = [f for f in findings if f["about"].startswith("next-hop")]
    assert hop["grade"] == "bad"
    assert "connection refused" in hop["what"]
    assert hop["mend"]


# the program itself


def test_the_program_says_the_same_and_ends_with_1(installation: Installation) -> None:
    (installation.home / "master.key").write_text(ANOTHER_KEY)
    expected = installation.command.complaint("serve")
    done = installation.program.run("serve", fails=True)
    assert done.returncode == 1
    assert done.stderr == f"smimefilter: {expected}\n"
    assert done.stdout == ""


def test_wrong_usage_ends_with_2(installation: Installation) -> None:
    assert "No such command" in installation.command("nonsense", code=2).err
    assert "--to" in installation.command("explain", "--from", ALICE, code=2).err
    assert "grey" in installation.command("ctl", "add", NOBODY, "grey", code=2).err
