"""The master key's use cases: proving that it is the right one, and changing it.

Leaves the key itself to `keys/`, storing to ports. Raises `AdminError`, `StoreTrouble`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from smimefilter.base.errors import AdminError, KeyTrouble
from smimefilter.ports.keys import (
    MASTER_KEY_CHECK,
    PREFERENCE,
    PRIVATE_KEY,
    Sealer,
    preference_name,
)
from smimefilter.ports.requests import (
    HANDLER_SETTINGS,
    REQUEST_SECRETS,
    HandlerSettings,
    Requests,
)
from smimefilter.ports.stores import (
    Certificates,
    Secrets,
    States,
    StoredPreference,
    StoreState,
    WrappedKey,
)

_KNOWN: Final = b"sealed under the master key of this database"
_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Rotation:
    """How much is wrapped under the new master key now."""

    keys: int
    preferences: int
    others: int  # secrets of requests, and settings of handlers


async def prove_master_key(secrets: Secrets, sealer: Sealer) -> None:
    """Make sure that the store was made with this master key; a new store takes it for its own.
    From then on the store is not written any more once it is under another one.

    Raises `AdminError` when it was made with another.
    """
    check = await secrets.check_value()
    if check is None:
        await secrets.set_check_value(_check_value(sealer))
        check = await secrets.check_value()  # of several that start at once, one came last
    if check is None or not is_ours(check, sealer):
        raise AdminError(
            "the master key is not the one this database was made with",
            where="master-key",
            mend="give the right key; without it the private keys in the database are lost",
        )
    secrets.hold(check)


async def rotate_master_key(
    states: States,
    certificates: Certificates,
    requests: Requests,
    handlers: HandlerSettings,
    old: Sealer,
    new: Sealer,
) -> Rotation:
    """Wrap everything that is under `old` under `new`, all at once or not at all.

    Running filters keep the old key, and the state that they have, until they are started again
    with the new one; they store nothing meanwhile.
    Raises `AdminError` when something does not open with `old`.
    """
    for _ in range(_ATTEMPTS):
        state = await states.load()
        keys, preferences = _rewrapped(state, old, new)
        secrets = {one.id: one.secrets for one in await requests.all() if one.secrets}
        others = {
            REQUEST_SECRETS: _others(REQUEST_SECRETS, secrets, old, new),
            HANDLER_SETTINGS: _others(HANDLER_SETTINGS, await handlers.all(), old, new),
        }
        check = _check_value(new)
        if await certificates.rewrap(keys, preferences, others, check, state.revision, new):
            return Rotation(len(keys), len(preferences), sum(map(len, others.values())))
    raise AdminError(
        "the database changed each time the keys were rewrapped; nothing was done",
        mend="run it again when no import is running",
    )


def is_ours(check: bytes, sealer: Sealer) -> bool:
    """Whether a check value was made under this master key."""
    try:
        return sealer.open(MASTER_KEY_CHECK, "", check) == _KNOWN
    except KeyTrouble:
        return False


def _check_value(sealer: Sealer) -> bytes:
    return sealer.seal(MASTER_KEY_CHECK, "", _KNOWN)


def _again(purpose: str, name: str, sealed: bytes, old: Sealer, new: Sealer) -> bytes:
    try:
        return new.seal(purpose, name, old.open(purpose, name, sealed))
    except KeyTrouble:
        raise AdminError(
            f"the sealed {purpose} of {name} does not open; nothing was changed",
            mend="remove it, then run this again",
        ) from None


def _others(
    purpose: str, sealed: Mapping[str, bytes], old: Sealer, new: Sealer
) -> dict[str, tuple[bytes, bytes]]:
    return {
        name: (blob, _again(purpose, name, blob, old, new)) for name, blob in sealed.items()
    }


def _rewrapped(
    state: StoreState, old: Sealer, new: Sealer
) -> tuple[list[WrappedKey], list[StoredPreference]]:
    keys = [
        WrappedKey(thumbprint, _again(PRIVATE_KEY, thumbprint, blob, old, new))
        for thumbprint, blob in state.keys.items()
    ]
    preferences = [
        replace(
            one,
            wrapped=_again(
                PREFERENCE, preference_name(one.scope, one.name), one.wrapped, old, new
            ),
        )
        for one in state.preferences
        if one.wrapped is not None
    ]
    return keys, preferences
