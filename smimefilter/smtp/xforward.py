"""XFORWARD: what a client knows about the upstream client of a mail, and passes on.

Attributes are xtext on the wire and decoded in `Client.xforward`; one that is
`[UNAVAILABLE]` is absent from the mapping. Values are cleaned of what does not belong into
logs and headers, as the protocol demands; nothing in them fails a mail.

The protocol is described by Postfix (XFORWARD_README); xtext by RFC 3461 §4.
Raises `ValueError` for an attribute that nobody knows or a word that is no attribute.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

ATTRIBUTES: Final = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE")
UNAVAILABLE: Final = "[UNAVAILABLE]"
_VALUE_LENGTH: Final = 255  # characters, after decoding
_LINE_LENGTH: Final = 510  # octets of a command, without CRLF
_ENCODED: Final = re.compile(rb"\+([0-9A-Fa-f]{2})")
_PLAIN: Final = re.compile(r"[!-*,-<>-~]+")
_UNFIT: Final = re.compile(r"[^!-~]|[<>()\\\";@]")


def decode(argument: str) -> dict[str, str]:
    """The attributes that one XFORWARD command sets; "" takes an attribute's value away."""
    attributes: dict[str, str] = {}
    for word in argument.split():
        name, equals, value = word.partition("=")
        if name.upper() not in ATTRIBUTES or not equals:
            raise ValueError(f"'{name}' is no XFORWARD attribute")
        attributes[name.upper()] = _decoded(value)
    if not attributes:
        raise ValueError("no XFORWARD attributes")
    return attributes


def commands(attributes: Mapping[str, str], known: Iterable[str]) -> list[str]:
    """The XFORWARD commands that pass `attributes` on to a server that `known` names to."""
    lines: list[str] = []
    for name in known:
        if name not in ATTRIBUTES:
            continue
        word = f" {name}={_encoded(attributes.get(name, ''))}"
        if lines and len(lines[-1]) + len(word) <= _LINE_LENGTH:
            lines[-1] += word
        else:
            lines.append(f"XFORWARD{word}")
    return lines


def _decoded(value: str) -> str:
    if "+" in value:  # a lone plus is left alone: clients before Postfix 2.3 do not encode
        octets = _ENCODED.sub(lambda match: bytes.fromhex(match[1].decode()), value.encode())
        value = octets.decode("utf-8", "replace")
    if value.upper() == UNAVAILABLE:
        return ""
    return _UNFIT.sub("?", value)[:_VALUE_LENGTH]


def _encoded(value: str) -> str:
    if not value:
        return UNAVAILABLE
    if _PLAIN.fullmatch(value):
        return value
    return "".join(c if _PLAIN.fullmatch(c) else _hex(c) for c in value[:_VALUE_LENGTH])


def _hex(character: str) -> str:
    return "".join(f"+{octet:02X}" for octet in character.encode())
