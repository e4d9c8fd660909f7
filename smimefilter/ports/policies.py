"""What the flows ask of the policy files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from smimefilter.policy.tree import Scopes


class PolicySource(Protocol):
    """The policy files of an installation."""

    def load(self) -> Scopes:
        """What they set. Raises `AdminError` for all that is wrong."""

    async def watch(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Await `changed()` after every change, until cancelled."""
