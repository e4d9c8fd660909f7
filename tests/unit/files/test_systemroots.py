"""The operating system's roots."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from oscrypto import trust_list

from smimefilter.base.errors import AdminError
from smimefilter.files.systemroots import system_roots
from tests.support.pki import root

MAIL = "1.3.6.1.5.5.7.3.4"
SERVERS = "1.3.6.1.5.5.7.3.1"
FIRST, SECOND = root("First"), root("Second")


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the system's roots are read from."""
    path = tmp_path / "bundle.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return path


def pem(*issued: object) -> bytes:
    return b"".join(one.certificate.parsed.public_bytes(Encoding.PEM) for one in issued)  # type: ignore[attr-defined]


def test_the_roots_of_this_system() -> None:
    found = system_roots()
    assert len(found.certificates) > 10
    assert all(one.is_ca for one in found.certificates)


def test_the_roots_of_a_bundle(bundle: Path) -> None:
    bundle.write_bytes(pem(FIRST, SECOND, FIRST))
    found = system_roots()
    assert found.certificates == (FIRST.certificate, SECOND.certificate)


def test_a_change_is_seen(bundle: Path) -> None:
    bundle.write_bytes(pem(FIRST))
    assert len(system_roots().certificates) == 1
    bundle.write_bytes(pem(FIRST, SECOND))
    assert len(system_roots().certificates) == 2


class Listed:
    """As `trust_list.get_list` has it."""

    def __init__(self, der: bytes) -> None:
        self._der = der

    def dump(self) -> bytes:
        return self._der


@pytest.mark.parametrize(
    ("trusted", "distrusted", "taken"),
    [
        (set(), set(), True),
        ({MAIL}, set(), True),
        ({SERVERS}, set(), False),
        (set(), {MAIL}, False),
        (set(), {SERVERS}, True),
        ({MAIL}, {MAIL}, False),
        ({"2.5.29.37.0"}, set(), True),
        (set(), {"2.5.29.37.0"}, False),
    ],
)
def test_purposes_of_the_system(
    monkeypatch: pytest.MonkeyPatch, trusted: set[str], distrusted: set[str], taken: bool
) -> None:
    listed = [(Listed(FIRST.certificate.der), trusted, distrusted)]
    monkeypatch.setattr(trust_list, "get_list", lambda: listed)
    found = system_roots()
    assert bool(found.certificates) is taken
    assert found.skipped == (not taken)


def test_what_cannot_be_read_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [(Listed(der), set(), set()) for der in (b"junk", FIRST.certificate.der)]
    monkeypatch.setattr(trust_list, "get_list", lambda: listed)
    found = system_roots()
    assert found.certificates == (FIRST.certificate,)
    assert found.skipped == 1


def test_no_roots(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing() -> None:
        raise OSError("Unable to find a CA certs bundle\nin common locations")

    monkeypatch.setattr(trust_list, "get_list", nothing)
    with pytest.raises(AdminError) as caught:
        system_roots()
    assert "\n" not in str(caught.value)
