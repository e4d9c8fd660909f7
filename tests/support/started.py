"""What tests start and stop: a context manager for everything that has both."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Started:
    """Started when it is entered, stopped when it is left."""

    def start(self) -> None:
        """Begin."""
        raise NotImplementedError

    def stop(self) -> object:
        """End."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
