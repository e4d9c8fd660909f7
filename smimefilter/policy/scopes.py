"""The scopes a preference can be set at, as texts in their comparable form.

`global`; a domain `example.com` or `[192.0.2.1]`; a pattern `*.example.com`, which is that
domain and every domain below it; a user `alice@example.com`.

Leaves what is set there to `tree.py`. Raises `BadScope`, and `chain` raises `BadAddress`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from smimefilter.base.address import BadAddress, address_key, domain_key

GLOBAL: Final = "global"


class BadScope(ValueError):
    """A text that is no scope; says what scopes look like."""


_DOMAIN: Final = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-z:.]+\]")


class Level(StrEnum):
    """How far a scope reaches."""

    USER = "user"
    DOMAIN = "domain"
    PATTERN = "pattern"
    GLOBAL = "global"


def scope_key(text: str) -> str:
    """The comparable form of a scope. Raises `BadScope`."""
    text = text.strip()
    if text.lower() == GLOBAL:
        return GLOBAL
    try:
        if "@" in text and "*" not in text:
            return address_key(text)
        pattern, domain = text.startswith("*."), domain_key(text.removeprefix("*."))
    except BadAddress as error:
        what = str(error)
        raise BadScope(what if text and text in what else f"'{text}': {what}") from None
    if not _DOMAIN.fullmatch(domain) or (pattern and domain.startswith("[")):
        raise BadScope(
            f"'{text}' is not a scope: write global, a domain (example.com), "
            "a pattern (*.example.com) or an address (alice@example.com)"
        )
    return f"*.{domain}" if pattern else domain


def level_of(scope: str) -> Level:
    """The level of a scope in its comparable form."""
    if scope == GLOBAL:
        return Level.GLOBAL
    if "@" in scope:
        return Level.USER
    return Level.PATTERN if scope.startswith("*.") else Level.DOMAIN


def domain_chain(domain: str) -> Iterator[str]:
    """The scopes of everybody in a domain (its comparable form), nearest first.

    An empty domain, that of the null sender, has the global scope only.
    """
    if domain and domain != GLOBAL:  # nothing can be set for a domain of that name
        yield domain
    if domain and not domain.startswith("["):
        yield f"*.{domain}"
        at = domain.find(".")
        while at >= 0:
            yield f"*{domain[at:]}"
            at = domain.find(".", at + 1)
    yield GLOBAL
