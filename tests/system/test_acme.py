"""A certificate by ACME, through the running filter: the challenge mail comes by SMTP, is
answered by mail, and goes no further; what only looks like one is delivered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from smimefilter.pki.export import certificates_pem
from tests.support.cas.acme import FakeAcme
from tests.support.cas.server import tls_root
from tests.support.challenges import CA, DKIM, challenge_mail
from tests.support.postoffice import PostOffice, original
from tests.support.sink import Mail

pytestmark = pytest.mark.system

IRIS = "iris@in.test"


@pytest.fixture
async def ca(office: PostOffice) -> AsyncIterator[FakeAcme]:
    """A CA that issues certificates that are valid now."""
    now = office.people.now
    async with FakeAcme() as running:
        running.results = DKIM
        running.special = {"not_before": now, "not_after": now + timedelta(days=365)}
        yield running


async def run(office: PostOffice, *arguments: str) -> Any:
    """A command, while the CA goes on."""
    return await asyncio.to_thread(office.command, *arguments)


async def until(holds: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + 40
    while not holds():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.1)


async def requested(office: PostOffice, ca: FakeAcme, folder: Path) -> str:
    """A request that waits for the CA's mail; its id."""
    roots = folder / "roots.pem"
    roots.write_bytes(certificates_pem([tls_root().certificate]))
    await run(
        office, "handler", "configure", "acme", f"directory={ca.url}/dir",
        "authserv-id=mx.example.com", "agree-terms=true", f"ca-certificates=@{roots}",
    )  # fmt: skip
    said = (await run(office, "handler", "test", "acme")).out
    assert "the CA answers; the account is made" in said
    wanted = ("--cn", "Iris", "--key", "p256", "--handler", "acme")
    await run(office, "certificate", "request", IRIS, *wanted)
    (pending,) = (await run(office, "pending", "list", "--json")).json
    assert pending["outcome"] == f"waits for the challenge mail from {CA}"
    return str(pending["id"])


def to(office: PostOffice, address: str) -> list[Mail]:
    return [one for one in office.sink.mails if address in one.addresses]


@pytest.mark.parametrize("killed", [False, True])
async def test_a_certificate_without_a_hand_being_moved(
    office: PostOffice, ca: FakeAcme, tmp_path: Path, killed: bool
) -> None:
    await requested(office, ca, tmp_path)
    (challenge,) = ca.mails
    (reply,) = await asyncio.to_thread(office.hand_over, CA, [IRIS], challenge, protocol="smtp")
    assert reply.startswith("250 ")
    (line,) = await asyncio.to_thread(office.program.wait_for_event, "mail")
    (recipient,) = line["recipients"]
    assert (recipient["action"], recipient["because"]) == ("take", ["acme-challenge"])
    if killed:
        office.program.kill()
        await asyncio.to_thread(office.program.start)
    await until(lambda: to(office, CA), "no answer was sent")
    (answer,) = to(office, CA)
    assert answer.sender == IRIS
    ca.receive(answer.content)
    await until(lambda: ca.made, "no certificate was issued")
    (certificate,) = ca.made
    await until(lambda: office.program.events("certificate issued"), "it was not stored")
    stored = (await run(office, "certificate", "list", "--address", IRIS, "--json")).json
    assert [one["thumbprint"] for one in stored] == [certificate.thumbprint[:16]]
    assert (await run(office, "pending", "list", "--json")).json == []
    assert to(office, IRIS) == []
    assert [len(ca.accounts), len(ca.orders), ca.refused] == [1, 1, []]
    office.sound()


@pytest.mark.parametrize(
    "special",
    [{"results": ""}, {"sender": "acme@evil.test"}, {"results": DKIM.replace("pass", "none")}],
)
async def test_a_spoofed_challenge_is_delivered_untouched_and_not_answered(
    office: PostOffice, ca: FakeAcme, tmp_path: Path, special: dict[str, str]
) -> None:
    id_ = await requested(office, ca, tmp_path)
    spoofed = challenge_mail(**{"to": IRIS, "results": DKIM} | special)
    await asyncio.to_thread(office.hand_over, CA, [IRIS], spoofed, protocol="smtp")
    (mail,) = to(office, IRIS)
    first = b"Authentication-Results:" if special.get("results", DKIM) else b"From:"
    assert original(mail, first) == spoofed
    await run(office, "pending", "reschedule", id_[:8])
    assert to(office, CA) == []
    assert ca.orders[0].posted == 0
    office.sound()
