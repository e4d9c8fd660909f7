"""PKCS#10 by hand: people take the CSR to a CA and bring the certificate back.

There is nobody to ask, so a request waits until a certificate is uploaded for it
(`flow/requests.py`). Raises nothing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Final, Self

from pydantic import BaseModel

from smimefilter.ports.handlers import Empty, Later, Order, Outcome, Remember, Services

AGAIN: Final = timedelta(days=1)


class CsrByHand:
    """Waits for people."""

    title: ClassVar[str] = "CSR (PKCS#10), by hand"
    settings: ClassVar[type[BaseModel]] = Empty
    answers_later: ClassVar[bool] = True
    can_download: ClassVar[bool] = True
    can_upload: ClassVar[bool] = True

    @classmethod
    def opened(cls, settings: Empty, services: Services) -> Self:  # noqa: ARG003 - has none
        """A handler."""
        return cls()

    async def request(self, order: Order, remember: Remember) -> Outcome:  # noqa: ARG002
        """Wait."""
        return Later(
            "waits for its certificate: download the CSR, upload the answer", {}, AGAIN
        )

    async def test(self) -> str:
        """Always works."""
        return "needs nothing but people"

    async def close(self) -> None:
        """Nothing to let go of."""
