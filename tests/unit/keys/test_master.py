"""The master key: its sources, and what it seals."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.base.errors import AdminError, KeyTrouble
from smimefilter.keys.master import MasterKey, generate_master_key, load_master_key

KEY = bytes(range(200, 232))
MASTER = MasterKey(KEY)


def file_of(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "master-key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def refused(path: Path | None, credentials: str | None = None) -> AdminError:
    with pytest.raises(AdminError) as caught:
        load_master_key(path, credentials)
    assert "\n" not in str(caught.value)
    assert caught.value.mend
    return caught.value


# sealing


@given(plain=st.binary(max_size=200), purpose=st.sampled_from(["a", "b"]), name=st.text())
def test_what_is_sealed_opens(plain: bytes, purpose: str, name: str) -> None:
    assert MASTER.open(purpose, name, MASTER.seal(purpose, name, plain)) == plain


@pytest.mark.parametrize(
    ("purpose", "name"), [("key", "b"), ("other", "a"), ("ke", "ya"), ("key\0a", "")]
)
def test_it_opens_for_its_own_purpose_and_name_only(purpose: str, name: str) -> None:
    sealed = MASTER.seal("key", "a", b"secret")
    with pytest.raises(KeyTrouble):
        MASTER.open(purpose, name, sealed)


def test_another_master_key_does_not_open_it() -> None:
    with pytest.raises(KeyTrouble):
        MasterKey(bytes(32)).open("key", "a", MASTER.seal("key", "a", b"secret"))


@given(position=st.integers(0, 33), bit=st.integers(0, 7), length=st.integers(0, 35))
def test_a_change_or_a_cut_is_noticed(position: int, bit: int, length: int) -> None:
    sealed = bytearray(MASTER.seal("key", "a", b"secret"))
    assert len(sealed) == 1 + 12 + 6 + 16
    with pytest.raises(KeyTrouble):
        MASTER.open("key", "a", bytes(sealed[: min(length, len(sealed) - 1)]))
    sealed[position] ^= 1 << bit
    with pytest.raises(KeyTrouble):
        MASTER.open("key", "a", bytes(sealed))


def test_the_same_secret_is_sealed_differently_each_time() -> None:
    assert MASTER.seal("key", "a", b"secret") != MASTER.seal("key", "a", b"secret")


def test_no_secret_shows() -> None:
    assert KEY.hex() not in repr(MASTER)
    sealed = MASTER.seal("key", "a", b"secret")
    with pytest.raises(KeyTrouble) as caught:
        MASTER.open("key", "b", sealed)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_has_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32"):
        MasterKey(bytes(length))


# files


@pytest.mark.parametrize(
    "content",
    [
        KEY,
        KEY.hex().encode(),
        KEY.hex().upper().encode() + b"\n",
        b" " + KEY.hex().encode() + b"\r\n",
        base64.b64encode(KEY),
        base64.urlsafe_b64encode(KEY) + b"\n",
        base64.encodebytes(KEY),
    ],
)
def test_the_three_forms(tmp_path: Path, content: bytes) -> None:
    loaded = load_master_key(file_of(tmp_path, content))
    assert loaded.open("a", "b", MASTER.seal("a", "b", b"x")) == b"x"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        KEY[:31],
        KEY + b"\n",
        KEY.hex().encode()[:-1],
        KEY.hex().encode()[:32],  # half a key: 32 ASCII characters are not 32 random bytes
        b"x" * 64,
        b"!" * 44,
        base64.b64encode(KEY[:31]) + b"=",
        KEY.hex().encode() * 100,
    ],
)
def test_what_is_no_key(tmp_path: Path, content: bytes) -> None:
    error = refused(file_of(tmp_path, content))
    assert content.decode("latin-1").strip() not in str(error) or not content.strip()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o666, 0o610])
def test_others_must_not_reach_it(tmp_path: Path, mode: int) -> None:
    path = file_of(tmp_path, KEY, mode)
    assert refused(path).mend == f"run: chmod 600 {path}"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_modes_for_the_owner_alone(tmp_path: Path, mode: int) -> None:
    assert load_master_key(file_of(tmp_path, KEY, mode))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_owner_is_us_or_root(tmp_path: Path) -> None:
    path = file_of(tmp_path, KEY)
    os.chown(path, 65534, 65534)
    assert "chown" in refused(path).mend


def test_what_is_no_file(tmp_path: Path) -> None:
    refused(tmp_path)
    refused(tmp_path / "missing")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    refused(pipe)


def test_a_link_to_a_key(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file_of(tmp_path, KEY))
    assert load_master_key(link)


# systemd


def test_the_systemd_credential(tmp_path: Path) -> None:
    """Its mode shows the access list's mask: the folder is what guards it."""
    file_of(tmp_path, KEY.hex().encode(), 0o440)
    assert load_master_key(None, str(tmp_path))


def test_a_file_that_is_named_comes_before_the_credential(tmp_path: Path) -> None:
    refused(tmp_path / "missing", str(tmp_path))


def test_no_key_anywhere(tmp_path: Path) -> None:
    refused(None)
    refused(None, "")
    refused(None, str(tmp_path))


# making one


def test_generating(tmp_path: Path) -> None:
    path = tmp_path / "new"
    old = os.umask(0)
    try:
        made = generate_master_key(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_master_key(path).open("a", "b", made.seal("a", "b", b"x")) == b"x"


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = file_of(tmp_path, KEY)
    with pytest.raises(AdminError):
        generate_master_key(path)
    assert path.read_bytes() == KEY


def test_no_place_for_a_key(tmp_path: Path) -> None:
    with pytest.raises(AdminError):
        generate_master_key(tmp_path / "none" / "key")
