"""Preferences in the database: setting them, taking them back, and reading them into scopes.

What stands there was checked when it was set; it may still be wrong, after a downgrade or a
change by hand. Then nothing of the database is used rather than all but that: a policy with a
hole is not the policy. The error names the command that mends it.

Leaves storing to `ports.stores.Preferences`, sealing to `ports.keys.Sealer`, what a scope or a
value looks like to `policy/`. Raises `AdminError`; the store may raise `StoreTrouble`.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, Final

from pydantic import SecretStr

from smimefilter.base.errors import AdminError, KeyTrouble, joined
from smimefilter.policy.preferences import RESET, Preference, preference
from smimefilter.policy.scopes import BadScope, level_of, scope_key
from smimefilter.policy.tree import Scopes, Setting
from smimefilter.ports.keys import PREFERENCE, Sealer, preference_name
from smimefilter.ports.stores import Preferences, StoredPreference

DATABASE: Final = "database"  # the source of what is set there


async def set_preference(
    store: Preferences, sealer: Sealer, scope: str, name: str, raw: object
) -> StoredPreference:
    """Set a preference at a scope; `raw` as `Preference.parse_setting` takes it, so that None
    or `default` resets. Returns what was stored. Raises `AdminError`."""
    try:
        key = scope_key(scope)
        found = preference(name)
        found.check_level(level_of(key))
        value = found.parse_setting(raw)
    except ValueError as error:
        raise AdminError(str(error)) from None
    stored = _stored(found, key, value, sealer)
    await store.put(stored)
    return stored


async def unset_preference(store: Preferences, scope: str, name: str) -> bool:
    """Take back what is set at a scope; whether there was something.

    Takes any scope and name that is stored, also such as could not be set today.
    """
    try:
        key = scope_key(scope)
    except BadScope:
        key = scope
    if await store.remove(key, name):
        return True
    return key != scope and await store.remove(scope, name)


def database_scopes(stored: Sequence[StoredPreference], sealer: Sealer) -> Scopes:
    """What the database sets, for a tree. Raises `AdminError` for all that is wrong.

    A secret that does not open is left out: no mail is decided by one, and it must not keep a
    change of policy or trust from being seen, as when the master key was just rotated.
    """
    scopes: dict[str, dict[str, Setting]] = {}
    errors = []
    for one in stored:
        try:
            value = _opened(one, sealer)
        except KeyTrouble:
            continue
        except ValueError as error:
            errors.append(_broken(one, error))
        else:
            scopes.setdefault(one.scope, {})[one.name] = Setting(value, DATABASE)
    if errors:
        raise joined(errors)
    return scopes


def _stored(
    found: Preference[Any], scope: str, value: object, sealer: Sealer
) -> StoredPreference:
    if value is RESET:
        return StoredPreference(scope, found.name, None)
    if isinstance(value, SecretStr):
        secret = value.get_secret_value().encode()
        wrapped = sealer.seal(PREFERENCE, preference_name(scope, found.name), secret)
        return StoredPreference(scope, found.name, None, wrapped)
    return StoredPreference(scope, found.name, found.dump(value))


def _opened(one: StoredPreference, sealer: Sealer) -> object:
    """The value of a stored preference. Raises `ValueError` or `KeyTrouble`."""
    if scope_key(one.scope) != one.scope:
        raise ValueError(f"'{one.scope}' is not the comparable form of a scope")
    found = preference(one.name)
    found.check_level(level_of(one.scope))
    if one.wrapped is None:
        if found.secret and one.value is not None:
            raise ValueError("a secret that is not wrapped")
        return found.parse_setting(one.value)
    if not found.secret:
        raise ValueError("wrapped, and yet not a secret")
    secret = sealer.open(PREFERENCE, preference_name(one.scope, one.name), one.wrapped)
    return found.parse(secret.decode())


def _broken(one: StoredPreference, error: Exception) -> AdminError:
    return AdminError(
        f"cannot be used: {error}",
        where=f"database: {one.scope} {one.name}",
        mend=f"smimefilter policy unset {shlex.quote(one.scope)} {shlex.quote(one.name)}",
    )
