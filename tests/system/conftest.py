"""Private Postfix instances for system tests, one for each variant and session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.needs import need
from tests.support.postfix import PostfixLab, Variant
from tests.support.sink import Sink


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
