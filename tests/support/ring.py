"""A key ring of the people of a world."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from smimefilter.base.errors import KeyTrouble
from tests.support.plans import World


class Ring:
    """The keys of a world's people; `broken` ones cannot be used."""

    def __init__(self, world: World, *, broken: bool = False) -> None:
        self._keys = {person.thumbprint: person.key for person in world.people.values()}
        self._broken = broken

    def has(self, thumbprint: str) -> bool:
        return thumbprint in self._keys

    def in_token(self, thumbprint: str) -> bool:
        return False

    def private_key(self, thumbprint: str) -> PrivateKeyTypes:
        if self._broken:
            raise KeyTrouble
        return self._keys[thumbprint]
