"""Every preference there is: name, values, default, and how its scopes combine.

One table for files, database, CLI, API and pages. A preference is a typed constant; a view of
the tree (`tree.py`) is asked with it: `view.get(ENCRYPT)` is a `Resolved[Encrypt]`.
Values are parsed and checked here (`parse`), wherever they come from.

Leaves resolution to `tree.py`, YAML and its positions to `load.py`, what a value means for a
mail to `plan/`. Raises `BadValue`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


class BadValue(ValueError):
    """A value that the preference does not take; says what it takes."""


class Follows(StrEnum):
    """Whose scope a preference is resolved at."""

    SENDER = "sender"
    RECIPIENT = "recipient"
    BOTH = "sender and recipient"
    TRUST = "the certificate's user"
    GLOBAL = "global"


class Locality(StrEnum):
    """Whether mail to this address is for our own people."""

    INTERNAL = "internal"
    EXTERNAL = "external"


class Encrypt(StrEnum):
    """How strictly mail is encrypted."""

    NEVER = "never"
    ALLOW = "allow"
    MANDATORY = "mandatory"


class OnMissing(StrEnum):
    """What becomes of a mail whose recipient has no usable certificate."""

    BOUNCE_RECIPIENT = "bounce-recipient"
    BOUNCE_ALL = "bounce-all"
    SEND_CLEAR = "send-clear"


class Sign(StrEnum):
    """When mail is signed."""

    NEVER = "never"
    WHEN_ENCRYPTING = "when-encrypting"
    ALWAYS = "always"


class SigningIdentity(StrEnum):
    """Whose key signs."""

    FROM_EQUALS_ENVELOPE = "from-equals-envelope"
    FROM = "from"
    ENVELOPE = "envelope"


class SignFormat(StrEnum):
    """Clear: multipart/signed. Opaque: application/pkcs7-mime."""

    CLEAR = "clear"
    OPAQUE = "opaque"


class ProtectHeaders(StrEnum):
    """Whether header fields are copied into the protected part."""

    NONE = "none"


class Harvest(StrEnum):
    """Which certificates of verified incoming signatures are kept."""

    NEVER = "never"
    TRUSTED = "trusted"
    ANY = "any"


class OnUndecryptable(StrEnum):
    """What becomes of a mail that cannot be decrypted."""

    PASS = "pass"  # noqa: S105 - a word, not a password
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, eq=False)
class Preference(Generic[T]):
    """One preference. `additive` ones collect the values of all scopes, the rest take the
    nearest. `secret` ones live in the database only, wrapped, and are never printed."""

    name: str
    default: T
    kind: TypeAdapter[T]
    follows: Follows
    doc: str
    additive: bool = False
    secret: bool = False
    check: Callable[[T], T] | None = None

    def parse(self, raw: object) -> T:
        """A value as YAML or a command line gives it, checked. Raises `BadValue`."""
        try:
            value = self.kind.validate_python(_switch(raw, self.default))
            return self.check(value) if self.check else value
        except ValidationError as error:
            raise BadValue(_said(self.name, error, raw)) from None
        except ValueError as error:
            raise BadValue(f"{self.name}: {error}") from None

    def dump(self, value: T) -> object:
        """The value as YAML and JSON carry it; `parse(dump(v)) == v`."""
        return self.kind.dump_python(value, mode="json")
