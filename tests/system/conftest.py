"""Private Postfix instances for system tests, one for each variant and session, and filters
in them, one for each variant and module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.needs import need
from tests.support.postfix import PostfixLab, Variant
from tests.support.postoffice import PostOffice, Stock, filter_at
from tests.support.program import Program
from tests.support.programs.circle import Circle
from tests.support.sink import Sink

VERSIONS = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def circle(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Circle]:
    """People with other S/MIME programs; what ran is named at the end of the output."""
    made = Circle(tmp_path_factory.mktemp("circle"))
    try:
        yield made
    finally:
        pytestconfig.stash[VERSIONS] = made.versions()
        made.close()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if versions := config.stash.get(VERSIONS, []):
        terminalreporter.section("S/MIME programs")
        for version in versions:
            terminalreporter.line(version)


@pytest.fixture(scope="session")
def lmtp_lab() -> Iterator[PostfixLab]:
    """Postfix that hands mail to the filter by LMTP. Use `lab` unless only LMTP will do."""
    need("postfix")
    with PostfixLab(Variant.LMTP) as lab:
        yield lab


@pytest.fixture(scope="session")
def smtp_lab() -> Iterator[PostfixLab]:
    """The same by SMTP."""
    need("postfix")
    with PostfixLab(Variant.SMTP) as lab:
        yield lab


@pytest.fixture(params=list(Variant))
def lab(request: pytest.FixtureRequest) -> Iterator[PostfixLab]:
    """Each variant in turn, with an empty queue."""
    found: PostfixLab = request.getfixturevalue(f"{request.param}_lab")
    yield found
    found.clear()


@pytest.fixture
def sink(lab: PostfixLab) -> Iterator[Sink]:
    """Where all mail of `lab` ends up."""
    with Sink(port=lab.sink_port) as made:
        yield made


@pytest.fixture(scope="module")
def lmtp_filter(
    stock: Stock, lmtp_lab: PostfixLab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    """The filter behind `lmtp_lab`."""
    with filter_at(stock, tmp_path_factory.mktemp("filter"), lmtp_lab) as program:
        yield program


@pytest.fixture(scope="module")
def smtp_filter(
    stock: Stock, smtp_lab: PostfixLab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    """The filter behind `smtp_lab`."""
    with filter_at(stock, tmp_path_factory.mktemp("filter"), smtp_lab) as program:
        yield program


@pytest.fixture
def lmtp_office(
    stock: Stock, lmtp_lab: PostfixLab, lmtp_filter: Program
) -> Iterator[PostOffice]:
    """Postfix, the filter by LMTP, Postfix again, and the sink; all empty."""
    with Sink(port=lmtp_lab.sink_port) as sink:
        yield PostOffice(stock, lmtp_filter, sink, lmtp_lab)
        lmtp_lab.clear()


@pytest.fixture
def smtp_office(
    stock: Stock, smtp_lab: PostfixLab, smtp_filter: Program
) -> Iterator[PostOffice]:
    """The same by SMTP."""
    with Sink(port=smtp_lab.sink_port) as sink:
        yield PostOffice(stock, smtp_filter, sink, smtp_lab)
        smtp_lab.clear()


@pytest.fixture(params=list(Variant))
def whole_way(request: pytest.FixtureRequest) -> PostOffice:
    """Each variant in turn."""
    found: PostOffice = request.getfixturevalue(f"{request.param}_office")
    return found
