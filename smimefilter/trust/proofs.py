"""Which keys were found to have made a signature, and which not, so that it is checked once.

A key stands there as its digest. How many are remembered is bounded, because strangers choose
which keys are tried; those that fit always are. Never raises.
"""

from __future__ import annotations

from typing import Final

MOST: Final = 64


class Proofs:
    """What is known about one signature."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: Final[dict[bytes, bool]] = {}

    def get(self, key: bytes) -> bool | None:
        """Whether this key made it; None when that is not known yet."""
        return self._known.get(key)

    def note(self, key: bytes, proof: bool) -> bool:
        """Remember the outcome of a check; the same."""
        if proof or len(self._known) < MOST:
            self._known[key] = proof
        return proof
