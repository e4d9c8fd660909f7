"""What `doctor` says of the CRLs of our own CAs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from smimefilter.flow.checkup import Finding, Grade, look_over
from smimefilter.keys.wrapped import KeyVault, WrappedKeyRing
from smimefilter.store.database import Database
from tests.support.offices import MASTER, Office
from tests.support.plans import World


async def said_of_cas(office: Office) -> list[Finding]:
    """What is said of CAs at the office's time."""
    store = await office.database.states.load()
    ours = [one.thumbprint for one in await office.database.authorities.all()]
    moment = replace(World().moment(), now=office.now)
    keys = WrappedKeyRing(KeyVault(MASTER), store.keys)
    found = look_over(store, moment, keys=keys, ours=ours)
    return [one for one in found if one.about.startswith(("CA ", "CRL "))]


async def test_crls_that_last_are_no_trouble(database: Database) -> None:
    office = await Office(database).with_ca(crl_days=7)
    office.now += timedelta(days=4)
    assert await said_of_cas(office) == []


@pytest.mark.parametrize(
    ("days", "grade", "verb"), [(5, Grade.WARNING, "ends"), (8, Grade.BAD, "ended")]
)
async def test_a_crl_that_ends_and_is_not_made_anew(
    database: Database, days: int, grade: Grade, verb: str
) -> None:
    office = await Office(database).with_ca(crl_days=7)
    root, _ = await office.authority.all()
    await office.authority.forget_key(root.id)
    office.now += timedelta(days=days)
    other, offline = sorted(await said_of_cas(office), key=lambda one: "offline" in one.what)
    assert (offline.grade, other.grade) == (grade, grade)
    assert f"its CRL {verb} on " in offline.what
    assert offline.what.endswith(", and its key is offline")
    assert f"smimefilter crl create --ca {root.id} --days 180" in offline.mend
    assert "see that the filter runs" in other.mend


async def test_a_crl_of_a_ca_whose_key_cannot_be_opened(database: Database) -> None:
    office = await Office(database).with_ca(crl_days=7)
    office.now += timedelta(days=5)
    store = await database.states.load()
    ours = [one.thumbprint for one in await database.authorities.all()]
    moment = replace(World().moment(), now=office.now)
    spoilt = {
        thumbprint: blob[:-1] + bytes([blob[-1] ^ 1]) for thumbprint, blob in store.keys.items()
    }
    found = look_over(store, moment, keys=WrappedKeyRing(KeyVault(MASTER), spoilt), ours=ours)
    mends = [one.mend for one in found if "its CRL ends" in one.what]
    assert mends == ["import its key again: smimefilter key import FILE"] * 2
