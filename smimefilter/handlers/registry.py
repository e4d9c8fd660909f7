"""The request handlers that are installed, by entry point.

A package registers its handlers in the group `smimefilter.handlers`; the gateway's own are
registered in the same way. One that cannot be loaded is left out and told of, and keeps no
other one from working. Raises `AdminError` for settings that are none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, Final

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from smimefilter.base.errors import AdminError
from smimefilter.base.suggest import did_you_mean
from smimefilter.ports.audit import AuditRecord
from smimefilter.ports.handlers import GROUP, Handler, HandlerTrouble, Kind, Services
from smimefilter.ports.keys import Sealer
from smimefilter.ports.requests import HANDLER_SETTINGS, HandlerSettings

HIDDEN: Final = "(secret)"


@lru_cache(maxsize=1)
def installed() -> Mapping[str, type[Kind]]:
    """All that can be loaded, by name."""
    return {name: kind for name, kind in _found().items() if not isinstance(kind, str)}


def broken() -> Mapping[str, str]:
    """Those that cannot be loaded, and why."""
    return {name: why for name, why in _found().items() if isinstance(why, str)}


def _found() -> dict[str, type[Kind] | str]:
    found: dict[str, type[Kind] | str] = {}
    for entry in entry_points(group=GROUP):
        try:
            kind = entry.load()
            _ = kind.title, kind.settings.model_fields, kind.opened
            found[entry.name] = kind
        except Exception as error:  # noqa: BLE001 - somebody else's package
            found[entry.name] = f"{type(error).__name__}: {error}"
    return found


class Registry:
    """Opens handlers with their stored settings."""

    def __init__(self, store: HandlerSettings, sealer: Sealer, services: Services) -> None:
        self._store = store
        self._sealer = sealer
        self._services = services

    async def opened(self, name: str) -> Handler:
        """A handler with its settings. Raises `HandlerTrouble` where these do not do."""
        kind = _kind(name)
        stored = await self.stored(name) if kind.settings.model_fields else {}
        try:
            settings = kind.settings.model_validate(stored)
        except ValidationError as error:
            raise HandlerTrouble(f"{name} is not configured: {_first(error)}") from None
        return kind.opened(settings, self._services)

    async def shown(self, name: str) -> dict[str, Any]:
        """The settings as people may see them: secrets hidden, defaults included."""
        stored, secrets = await self.stored(name), self.secrets(name)
        return {
            field: HIDDEN
            if field in secrets and stored.get(field)
            else stored.get(field, _default(found))
            for field, found in self.fields(name).items()
        }

    def fields(self, name: str) -> Mapping[str, FieldInfo]:
        """What a handler has to set, and what each is. Raises `AdminError`."""
        return _kind(name).settings.model_fields

    def secrets(self, name: str) -> set[str]:
        """The settings that nobody may see. Raises `AdminError`."""
        kind = _kind(name)
        return {one for one in kind.settings.model_fields if _is_secret(kind.settings, one)}

    async def configure(
        self, name: str, changes: Mapping[str, Any], record: AuditRecord
    ) -> list[str]:
        """Set some settings, None resets one. What is missing still, if anything is: a set-up
        may take several steps. Raises `AdminError` for settings that are none."""
        kind = _kind(name)
        for field in changes:
            if field not in kind.settings.model_fields:
                hint = did_you_mean(field, kind.settings.model_fields)
                raise AdminError(
                    f"{name} has no setting '{field}'" + (f" ({hint})" if hint else ""),
                    mend=f"see them with: smimefilter handler show {name}",
                )
        kept = await self.stored(name) | dict(changes)
        kept = {field: value for field, value in kept.items() if value is not None}
        missing = []
        try:
            settings = kind.settings.model_validate(kept)
            kept = _dumped(settings) | {}
        except ValidationError as error:
            for one in error.errors():
                where = ".".join(map(str, one["loc"]))
                if one["type"] != "missing":
                    raise AdminError(
                        ": ".join(filter(None, (name, where, one["msg"].lower()))),
                        mend=f"see: smimefilter handler show {name}",
                    ) from None
                missing.append(where)
        sealed = self._sealer.seal(HANDLER_SETTINGS, name, json.dumps(kept).encode())
        await self._store.put(name, sealed, [record])
        return missing

    async def stored(self, name: str) -> dict[str, Any]:
        """What is set, secrets in clear: for setting up, in several steps, and not for show."""
        sealed = await self._store.get(name)
        if sealed is None:
            return {}
        found = json.loads(self._sealer.open(HANDLER_SETTINGS, name, sealed))
        return dict(found)


class SealedVault:
    """`ports.handlers.Vault`: secrets beside the settings, sealed like these."""

    def __init__(self, store: HandlerSettings, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer

    async def secret(self, name: str, make: Callable[[], bytes]) -> bytes:
        """The secret of this name; made if there is none. Of several nodes that make one at
        once all get the same."""
        sealed = await self._store.get(name)
        if sealed is None:
            new = self._sealer.seal(HANDLER_SETTINGS, name, make())
            sealed = await self._store.add(name, new)
        return self._sealer.open(HANDLER_SETTINGS, name, sealed)


def _kind(name: str) -> type[Kind]:
    found = installed().get(name)
    if found is None:
        raise AdminError(
            f"there is no request handler '{name}'",
            mend="list them with: smimefilter handler list",
        )
    return found


def _dumped(settings: BaseModel) -> dict[str, Any]:
    plain = settings.model_dump(mode="json", exclude_defaults=True)
    for field in plain:
        value = getattr(settings, field)
        if isinstance(value, SecretStr):
            plain[field] = value.get_secret_value()
    return plain


def _is_secret(settings: type[BaseModel], field: str) -> bool:
    annotation = settings.model_fields[field].annotation
    return SecretStr in (annotation, *getattr(annotation, "__args__", ()))


def _default(found: FieldInfo) -> Any:
    return None if found.is_required() else found.get_default(call_default_factory=True)


def _first(error: ValidationError) -> str:
    one = error.errors()[0]
    where = ".".join(map(str, one["loc"]))
    return ": ".join(filter(None, (where, one["msg"].lower())))
