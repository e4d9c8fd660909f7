"""The preference tree: what is set at which scope, and what holds for an address.

A `Tree` is an immutable snapshot of what files and database set; `tree.view(address)` is what
holds for one address. The nearest scope wins: user, domain, the patterns above it, global,
built-in default. Additive preferences collect along the way. At one scope the database wins
over the files; a reset stands for the built-in default there, and ends a collection.

A view costs a few dictionary look-ups, however much is set elsewhere: never a scan.
Leaves reading to `load.py` and `flow/`, meaning to `plan/`. Raises `BadAddress`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

from smimefilter.base.address import NULL_SENDER, address_key

from .preferences import RESET, Preference, Reset
from .scopes import domain_chain

T = TypeVar("T")
E = TypeVar("E")

DEFAULT: Final = "default"  # scope and source of a built-in default

_CACHED_VIEWS: Final = 16_384


@dataclass(frozen=True, slots=True)
class Setting:
    """A value set at a scope (or `RESET`), and where: `domains/example.com.yaml:7`.

    Equal to another by its value: where it is written is not what is set.
    """

    value: object
    source: str = field(compare=False)


Scopes = Mapping[str, Mapping[str, Setting]]  # scope → name of the preference → setting

NO_SCOPES: Final[Scopes] = {}


@dataclass(frozen=True, slots=True)
class Resolved(Generic[T]):
    """A value that holds, the scope that gives it, and where that stands."""

    value: T
    scope: str
    source: str


@dataclass(frozen=True, slots=True)
class Layer(Generic[T]):
    """One place where a preference is set, or its built-in default."""

    value: T | Reset
    scope: str
    source: str
    holds: bool  # it is the value that holds, or (additive) one of those


class View:
    """What holds for one address. Ask a tree for it."""

    __slots__ = ("_collected", "_resolved", "_settings")

    def __init__(self, settings: tuple[tuple[str, Mapping[str, Setting]], ...]) -> None:
        self._settings = settings  # nearest first; at one scope the database first
        self._resolved: dict[str, Resolved[Any]] = {}
        self._collected: dict[str, tuple[Resolved[Any], ...]] = {}

    def get(self, preference: Preference[T]) -> Resolved[T]:
        """The nearest value. An additive preference is to be asked for by `collect`."""
        found = self._resolved.get(preference.name)
        if found is None:
            found = self._resolved[preference.name] = self._nearest(preference)
        return found

    def collect(self, preference: Preference[tuple[E, ...]]) -> tuple[Resolved[E], ...]:
        """Each part of an additive preference with its own scope and source, nearest first;
        what is named at several scopes is taken from the nearest."""
        found = self._collected.get(preference.name)
        if found is None:
            found = self._collected[preference.name] = self._all(preference)
        return found

    def layers(self, preference: Preference[T]) -> tuple[Layer[T], ...]:
        """Every place where it is set, nearest first, and the built-in default last."""
        layers: list[Layer[T]] = []
        holding, last_scope = True, ""
        for scope, setting in self._set(preference.name):
            holds = holding and scope != last_scope  # else the database hides the file
            value: Any = setting.value
            layers.append(Layer(value, scope, setting.source, holds))
            if not preference.additive or (holds and value is RESET):
                holding = False
            last_scope = scope
        nothing_set = not any(layer.holds for layer in layers)
        return (*layers, Layer(preference.default, DEFAULT, DEFAULT, nothing_set))

    def _set(self, name: str) -> Iterator[tuple[str, Setting]]:
        for scope, settings in self._settings:
            setting = settings.get(name)
            if setting is not None:
                yield scope, setting

    def _nearest(self, preference: Preference[T]) -> Resolved[T]:
        if preference.additive:
            raise TypeError(f"{preference.name} is additive: collect it")
        for scope, setting in self._set(preference.name):
            value: Any = preference.default if setting.value is RESET else setting.value
            return Resolved(value, scope, setting.source)
        return Resolved(preference.default, DEFAULT, DEFAULT)

    def _all(self, preference: Preference[tuple[E, ...]]) -> tuple[Resolved[E], ...]:
        if not preference.additive:
            raise TypeError(f"{preference.name} is not additive: get it")
        found: dict[E, Resolved[E]] = {}
        for layer in self.layers(preference):
            if layer.holds and not isinstance(layer.value, Reset):
                for part in layer.value:
                    found.setdefault(part, Resolved(part, layer.scope, layer.source))
        return tuple(found.values())


class Tree:
    """What files and database set, as one immutable snapshot.

    The mappings are kept, not copied: whoever makes a tree does not change them afterwards.
    """

    __slots__ = ("_domain_view", "_user_view", "database", "files")

    def __init__(self, files: Scopes = NO_SCOPES, database: Scopes = NO_SCOPES) -> None:
        self.files: Final = files
        self.database: Final = database
        self._domain_view: Final = lru_cache(_CACHED_VIEWS)(self._make_domain_view)
        self._user_view: Final = lru_cache(_CACHED_VIEWS)(self._make_user_view)

    def view(self, address: str) -> View:
        """What holds for an address; for the null sender, what holds globally.

        Raises `BadAddress`: what cannot be read has no policy, not the global one.
        """
        if address == NULL_SENDER:
            return self._domain_view("")
        key = address_key(address)
        if key in self.files or key in self.database:
            return self._user_view(key)
        return self._domain_view(key[key.rindex("@") + 1 :])

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Tree)
            and self.files == other.files
            and self.database == other.database
        )

    __hash__ = None  # type: ignore[assignment]  # it holds mappings

    def _make_user_view(self, user: str) -> View:
        domain = user[user.rindex("@") + 1 :]
        return View((*self._at(user), *self._along(domain)))

    def _make_domain_view(self, domain: str) -> View:
        return View(tuple(self._along(domain)))

    def _along(self, domain: str) -> Iterator[tuple[str, Mapping[str, Setting]]]:
        for scope in domain_chain(domain):
            yield from self._at(scope)

    def _at(self, scope: str) -> Iterator[tuple[str, Mapping[str, Setting]]]:
        for source in (self.database, self.files):
            settings = source.get(scope)
            if settings:
                yield scope, settings
