"""The built-in CA as a request handler: issues at once. Raises `HandlerTrouble`."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import BaseModel

from smimefilter.ports.handlers import Empty, Order, Outcome, Remember, Services


class BuiltIn:
    """Issues with the default CA of the gateway."""

    title: ClassVar[str] = "built-in CA"
    settings: ClassVar[type[BaseModel]] = Empty
    answers_later: ClassVar[bool] = False
    can_download: ClassVar[bool] = False
    can_upload: ClassVar[bool] = False

    def __init__(self, services: Services) -> None:
        self._issuing = services.issuing

    @classmethod
    def opened(cls, settings: Empty, services: Services) -> Self:  # noqa: ARG003 - has none
        """A handler."""
        return cls(services)

    async def request(self, order: Order, remember: Remember) -> Outcome:  # noqa: ARG002
        """Issue, or give again what was issued for the order before."""
        return await self._issuing.issue(order)

    async def test(self) -> str:
        """Whether there is a CA that can issue."""
        return await self._issuing.test()

    async def close(self) -> None:
        """Nothing to let go of."""
