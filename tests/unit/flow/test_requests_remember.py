"""What a handler remembers stays, however its call ends."""

from __future__ import annotations

from typing import Any

import pytest

from smimefilter.flow.requests import RequestDesk
from smimefilter.ports.handlers import HandlerTrouble, Later, Order, Remember
from smimefilter.ports.stores import StoreTrouble
from smimefilter.store.database import Database
from tests.support.offices import Office
from tests.unit.flow.test_requests import ask


async def test_what_is_remembered_survives_trouble(database: Database) -> None:
    async def troubled(order: Order, remember: Remember) -> Any:
        if order.state:
            return Later("known")
        await remember({"order": 7})
        raise HandlerTrouble("the CA went down")

    office = Office(database, troubled)
    done = await ask(office)
    assert done.outcome == "the CA went down"
    office.now = done.due
    assert await office.another_desk().work_due(9) == 1
    assert [order.state.get("order") for order in office.orders] == [None, 7]


async def test_what_is_remembered_survives_a_defect(database: Database) -> None:
    async def defective(order: Order, remember: Remember) -> Any:
        if not order.state:
            await remember({"order": 7})
        raise KeyError

    office = Office(database, defective)
    office.now = (await ask(office)).due
    assert await office.another_desk().work_due(9) == 1
    assert [order.state.get("order") for order in office.orders] == [None, 7]


async def test_what_is_remembered_survives_trouble_of_the_store(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = await Office(database).with_ca()

    async def issues(order: Order, remember: Remember) -> Any:
        if not order.state:
            await remember({"order": 7})
        return await office.built_in(order, remember)

    async def fails(*_: Any) -> Any:
        raise StoreTrouble

    office.answer = issues
    with monkeypatch.context() as context:
        context.setattr(RequestDesk, "_issued", fails)
        office.now = (await ask(office)).due
    assert await office.another_desk().work_due(9) == 1
    assert [order.state.get("order") for order in office.orders] == [None, 7]
