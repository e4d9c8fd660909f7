"""What is kept beside the state that decisions rest on: where CRLs come from, answers of OCSP,
and who uses mail. None of it moves the revision, and a URL is claimed by one alone."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from smimefilter.ports.requests import IssuedCertificate
from smimefilter.ports.stores import ActiveUser, CrlSource
from smimefilter.store.database import Database
from smimefilter.trust.verdict import Purpose
from tests.support.pki import NOW, root

A, B, C = "http://a.test/crl", "http://b.test/crl", "ldap://c.test/cn=c"
HOUR = timedelta(hours=1)
LEASE = NOW + timedelta(minutes=15)


@pytest.fixture
async def still(database: Database) -> Database:
    """A database whose revision must not move."""
    return database


@pytest.fixture(autouse=True)
async def _revision_stays(request: pytest.FixtureRequest, database: Database) -> object:
    before = await database.states.revision()
    yield
    if "still" in request.fixturenames:
        assert await database.states.revision() == before


def urls(found: list[CrlSource]) -> list[str]:
    return [source.url for source in found]


# where CRLs come from


async def test_new_urls_are_due_at_once_and_old_ones_go(still: Database) -> None:
    sources = still.crl_sources
    await sources.follow({A, B}, NOW)
    (first, _) = await sources.all()
    assert first == CrlSource(A, NOW)
    await sources.settle(replace(first, due=NOW + HOUR, outcome="new", tried=NOW))
    await sources.follow({A, C}, NOW + HOUR)
    assert await sources.all() == [
        CrlSource(A, NOW + HOUR, outcome="new", tried=NOW),
        CrlSource(C, NOW + HOUR),
    ]


async def test_what_is_claimed_nobody_else_gets(still: Database) -> None:
    sources = still.crl_sources
    await sources.follow({A, B}, NOW)
    assert await sources.due(NOW) == [A, B]
    assert urls(await sources.claim(NOW, LEASE, [A], due=False)) == [A]
    assert await sources.due(NOW) == [B]
    assert urls(await sources.claim(NOW, LEASE, [A, B], due=True)) == [B]
    assert await sources.due(NOW) == []
    assert await sources.claim(NOW, LEASE, [A, B], due=False) == []


async def test_of_many_at_once_one_gets_it(still: Database) -> None:
    sources = still.crl_sources
    await sources.follow({A, B, C}, NOW)
    claims = await asyncio.gather(
        *(sources.claim(NOW, LEASE, [A, B, C], due=True) for _ in range(6))
    )
    assert sorted(url for claim in claims for url in urls(claim)) == [A, B, C]


async def test_settled_it_is_free_when_it_is_due_again(still: Database) -> None:
    sources = still.crl_sources
    await sources.follow({A}, NOW)
    (source,) = await sources.claim(NOW, LEASE, [A], due=True)
    told = replace(
        source,
        due=NOW + HOUR,
        tried=NOW,
        succeeded=NOW,
        failures=0,
        outcome="CRL no. 1",
        etag='"x"',
        last_modified="Mon, 01 Jun 2026 12:00:00 GMT",
        sha256="ab" * 32,
    )
    await sources.settle(told)
    soon = NOW + HOUR / 2
    assert await sources.due(soon) == []
    assert await sources.claim(soon, LEASE + HOUR, [A], due=True) == []
    assert urls(await sources.claim(soon, LEASE + HOUR, [A], due=False)) == [A]  # on demand
    await sources.settle(told)
    assert await sources.claim(NOW + HOUR, LEASE + HOUR, [A], due=True) == [told]


async def test_who_waits_longest_comes_first(still: Database) -> None:
    sources = still.crl_sources
    await sources.follow({A, B, C}, NOW)
    await sources.settle(CrlSource(A, NOW + HOUR))
    await sources.settle(CrlSource(B, NOW - HOUR))
    assert await sources.due(NOW + HOUR) == [B, C, A]


async def test_the_lease_of_one_that_died_ends(still: Database) -> None:
    sources = still.crl_sources
    await sources.follow({A}, NOW)
    await sources.claim(NOW, LEASE, [A], due=True)
    assert await sources.claim(LEASE - HOUR / 60, LEASE + HOUR, [A], due=True) == []
    assert urls(await sources.claim(LEASE, LEASE + HOUR, [A], due=True)) == [A]


async def test_one_that_is_no_longer_followed_can_be_settled(still: Database) -> None:
    sources = still.crl_sources
    await sources.follow({A}, NOW)
    (source,) = await sources.claim(NOW, LEASE, [A], due=True)
    await sources.follow(set(), NOW)
    await sources.settle(source)
    assert await sources.all() == []


# CRLs in each other's place


async def test_one_crl_takes_the_place_of_others_at_once(database: Database) -> None:
    ca = root()
    ders = [ca.crl(number=number) for number in (1, 2, 3)]
    digests = [hashlib.sha256(der).hexdigest() for der in ders]
    await database.crls.add(ders[:2], "by hand")
    before = await database.states.revision()
    assert await database.crls.replace(ders[2], digests[:2], A)
    assert await database.states.revision() == before + 1
    (entry,) = await database.crls.all()
    assert (entry.der, entry.origin) == (ders[2], A)
    assert not await database.crls.replace(ders[2], digests, A)  # there, and not its own place
    assert await database.states.revision() == before + 1
    assert [entry.der for entry in await database.crls.all()] == [ders[2]]


# answers of OCSP


async def test_answers_are_kept_for_their_time(still: Database) -> None:
    answers = still.ocsp_answers
    assert await answers.put("one", b"1", NOW + HOUR, NOW, None)
    assert await answers.put("two", b"2", NOW + 3 * HOUR, NOW, None)
    assert await answers.get("one", NOW) == b"1"
    assert await answers.all(NOW) == [("one", b"1"), ("two", b"2")]
    assert await answers.get("one", NOW + HOUR) is None
    assert await answers.all(NOW + HOUR) == [("two", b"2")]
    assert await answers.put("two", b"3", NOW + 4 * HOUR, NOW + 2 * HOUR, b"2")
    assert await answers.get("two", NOW) == b"3"
    assert await answers.get("one", NOW) is None  # gone


async def test_an_answer_replaces_none_that_its_node_has_not_seen(still: Database) -> None:
    answers = still.ocsp_answers
    assert await answers.put("one", b"1", NOW + HOUR, NOW, None)
    assert not await answers.put("one", b"2", NOW + HOUR, NOW, None)
    assert not await answers.put("one", b"2", NOW + HOUR, NOW, b"0")
    assert await answers.get("one", NOW) == b"1"
    later = NOW + 2 * HOUR
    assert await answers.put("one", b"3", later + HOUR, later, None)  # its time is over


async def test_of_nodes_that_store_at_once_one_does(still: Database) -> None:
    answers = still.ocsp_answers
    puts = [answers.put("one", bytes([n]), NOW + HOUR, NOW, None) for n in range(8)]
    assert sum(await asyncio.gather(*puts)) == 1


# who uses mail


async def test_users_are_kept_as_long_as_they_are_active(still: Database) -> None:
    users = still.active_users
    alice = ActiveUser("alice@in.test", Purpose.SIGN, NOW)
    bob = ActiveUser("bob@out.test", Purpose.ENCRYPT, NOW - HOUR)
    await users.put([alice, bob], NOW - 9 * HOUR)
    assert await users.since(NOW - 2 * HOUR) == [bob, alice]
    assert await users.since(NOW) == [alice]
    again = replace(bob, seen=NOW + HOUR)
    await users.put([again], NOW + HOUR / 2)
    assert await users.since(datetime(2000, 1, 1, tzinfo=UTC)) == [again]


async def test_one_address_for_both_purposes(still: Database) -> None:
    both = [ActiveUser("a@b.test", purpose, NOW) for purpose in (Purpose.ENCRYPT, Purpose.SIGN)]
    await still.active_users.put(both, NOW - HOUR)
    assert await still.active_users.since(NOW) == both


async def test_what_was_issued_first_for_a_request_counts(still: Database) -> None:
    first = IssuedCertificate("ca", 1, "request", b"first")
    second = IssuedCertificate("ca", 2, "request", b"second")
    books = still.authorities
    assert await books.record(first, lambda _: True) == first
    assert await books.record(second, lambda one: one == first) == first
    assert await books.issued("ca") == [first]
    assert await books.record(second, lambda _: False) == second  # of another key
    assert await books.issued_for("request") == [first, second]
