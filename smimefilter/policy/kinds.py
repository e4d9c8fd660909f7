"""Kinds of values: how one is read from YAML, JSON or a command line, and written again.

A raw value is a text, or what JSON has beside it (booleans, numbers, lists). YAML files and
command lines give texts only, so that `no` and `1e10` arrive as they were written.

Leaves names, defaults and scopes to `preferences.py`. Readers raise `ValueError` with what
came and what is taken; `repr` and errors of a secret show nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final, Generic, TypeVar

from pydantic import SecretStr

from smimefilter.base.address import address_key, domain_key
from smimefilter.base.suggest import did_you_mean
from smimefilter.base.thumbprint import thumbprint_of

from .patterns import HeaderPattern, read_header_pattern, read_pattern

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

_YES: Final = frozenset({"yes", "true", "on"})
_NO: Final = frozenset({"no", "false", "off"})
_SIZE: Final = re.compile(r"(\d{1,15}) ?([kmg]?)(?:i?b)?", re.IGNORECASE)
_DURATION: Final = re.compile(r"(?:\d{1,6}[wdhms])+", re.IGNORECASE)
_LONGEST_TAG: Final = 60
_SIGNER: Final = "{signer}"
_SHORTEST_TAG: Final = 3  # characters between its brackets
_PAIRS: Final = frozenset({"[]", "()", "{}", "<>"})
_BRACKETS: Final = frozenset("[](){}<>")
_TAKES_TAG: Final = "a text in brackets such as [decrypted], with no others in it"
_FIELD_PREFIX: Final = re.compile(r"X-[A-Za-z0-9][A-Za-z0-9-]{0,38}-", re.IGNORECASE)
_LONGEST_LINE: Final = 256
_WORD: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_URL: Final = re.compile(r"(?:https?|ldap)://[!-~]{1,500}")
_CA: Final = "{ca}"  # the one placeholder of a URL
_BRACED: Final = re.compile(r"\{[^{}]*\}?|\}")
_PHONE: Final = re.compile(r"\+?[0-9]{5,15}")  # E.164, or as it is dialled within a country
_PHONE_SIGNS: Final = str.maketrans("", "", " -./()")
_SECONDS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """How values of one kind are read and written; `takes` says what is taken."""

    takes: str
    read: Callable[[object], T]
    write: Callable[[T], object]
    listed: bool = False  # several values make one


def one_of(choices: type[E]) -> Kind[E]:
    """One of the words of an enumeration."""
    words = {str(choice): choice for choice in choices}
    takes = _either(list(words))

    def read(raw: object) -> E:
        word = raw.strip().lower() if isinstance(raw, str) else _shown(raw)
        if word in words:
            return words[word]
        hint = did_you_mean(word, words)
        if word in _NO and "never" in words:
            hint = "did you mean 'never'?"
        raise ValueError(f"takes {takes}, not {_quoted(raw)}" + (f" ({hint})" if hint else ""))

    return Kind(takes, read, str)


def _read_switch(raw: object) -> bool:
    word = raw.strip().lower() if isinstance(raw, str) else _shown(raw)
    if word in _YES or word in _NO:
        return word in _YES
    hint = did_you_mean(word, ("yes", "no"))
    raise ValueError(f"takes yes or no, not {_quoted(raw)}" + (f" ({hint})" if hint else ""))


def _read_size(raw: object) -> int:
    found = _SIZE.fullmatch(_text(raw, "a size such as 10M"))
    if found is None:
        raise ValueError(f"takes a size such as 10M, 500K or 1048576, not {_quoted(raw)}")
    size = int(found[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[found[2].lower()]
    if size == 0:
        raise ValueError("takes a size above 0")
    return size


def _read_duration(raw: object) -> timedelta:
    text = _text(raw, "a duration such as 7d").replace(" ", "")
    if not _DURATION.fullmatch(text):
        raise ValueError(f"takes a duration such as 7d, 12h or 1d12h, not {_quoted(raw)}")
    parts = re.findall(r"(\d+)([a-z])", text.lower())
    seconds = sum(int(count) * _SECONDS[unit] for count, unit in parts)
    if seconds == 0:
        raise ValueError("takes a duration above 0")
    return timedelta(seconds=seconds)


def _write_duration(value: timedelta) -> str:
    rest, text = int(value.total_seconds()), ""
    for unit in "dhms":
        count, rest = divmod(rest, _SECONDS[unit])
        text += f"{count}{unit}" if count else ""
    return text


def number(low: int, high: int) -> Kind[int]:
    """A whole number from `low` to `high`."""
    takes = f"a number from {low} to {high}"

    def read(raw: object) -> int:
        text = _text(raw, takes)
        if not (text.isascii() and text.isdigit() and len(text) < 16):
            raise ValueError(f"takes {takes}, not {_quoted(raw)}")
        if not low <= int(text) <= high:
            raise ValueError(f"takes {takes}, not {int(text)}")
        return int(text)

    return Kind(takes, read, int)


def _read_signer(raw: object) -> str:
    text = _text(raw, "an address or *@domain")
    if text.startswith("*@"):
        return f"*@{domain_key(text[2:])}"
    if "*" in text:
        raise ValueError(f"takes an address or *@domain, not {_quoted(raw)}")
    return address_key(text)


def _read_domain(raw: object) -> str:
    text = _text(raw, "a domain").removeprefix("@")
    domain = text.removeprefix("*.")
    if "." not in text or "*" in domain:
        raise ValueError(f"'{_shown(raw)}' is no domain such as example.com or *.example.com")
    return f"*.{domain_key(domain)}" if text.startswith("*.") else domain_key(domain)


def _tag(takes: str, placeholder: str = "") -> Kind[str]:
    """A text that is taken out of other people's subjects, and so has to be like nothing that
    stands there by chance."""

    def read(raw: object) -> str:
        text = raw.strip() if isinstance(raw, str) else ""
        within = text[1:-1].replace(placeholder, "", 1)
        is_one = text[:1] + text[-1:] in _PAIRS and _BRACKETS.isdisjoint(within)
        if not is_one or text == _SIGNER or len(within.strip()) < _SHORTEST_TAG:
            raise ValueError(f"takes {takes}, not {_quoted(raw)}")
        if len(text) > _LONGEST_TAG or not text.isprintable():
            raise ValueError(f"takes at most {_LONGEST_TAG} characters, all of them printable")
        return text

    return Kind(takes, read, str)


def _read_prefix(raw: object) -> str:
    text = raw.strip() if isinstance(raw, str) else ""
    if not _FIELD_PREFIX.fullmatch(text):
        raise ValueError(f"takes X-…- of letters, digits and dashes, not {_quoted(raw)}")
    return text


def _read_line(raw: object) -> str:
    text = _text(raw, "a text")
    if len(text) > _LONGEST_LINE or not text.isprintable():
        raise ValueError(f"takes 1 to {_LONGEST_LINE} printable characters")
    return text


def _read_word(raw: object) -> str:
    text = _text(raw, "a name").lower()
    if not _WORD.fullmatch(text):
        raise ValueError(f"takes a name of letters, digits and dashes, not {_quoted(raw)}")
    return text


def _read_url(raw: object) -> str:
    text = _text(raw, "a URL")
    if not _URL.fullmatch(text):
        raise ValueError(
            f"takes a URL such as http://crl.example.com/{{ca}}.crl, not {_quoted(raw)}"
        )
    if strange := _BRACED.findall(text.replace(_CA, "")):
        raise ValueError(f"knows no {strange[0]}, only {_CA}, in {_quoted(raw)}")
    return text


def _read_phone(raw: object) -> str:
    text = _text(raw, "a telephone number").translate(_PHONE_SIGNS)
    if not _PHONE.fullmatch(text):
        raise ValueError(f"takes a telephone number such as +4930123456, not {_quoted(raw)}")
    return text


def _read_secret(raw: object) -> SecretStr:
    if not isinstance(raw, str) or not raw:
        raise ValueError("takes a text that is not empty")
    return SecretStr(raw)


def many(kind: Kind[T]) -> Kind[tuple[T, ...]]:
    """A list; as one text its parts stand between commas. Nothing is kept twice."""

    def read(raw: object) -> tuple[T, ...]:
        if isinstance(raw, str):
            raw = [part.strip() for part in raw.split(",") if part.strip()]
        if not isinstance(raw, list | tuple):
            raise ValueError(f"takes a list, not {_quoted(raw)}")  # noqa: TRY004 - one error
        return tuple(dict.fromkeys(kind.read(part) for part in raw))

    def write(value: tuple[T, ...]) -> object:
        return [kind.write(part) for part in value]

    return Kind(f"a list of: {kind.takes}", read, write, listed=True)


def one_or_many(choices: type[E], kind: Kind[T]) -> Kind[E | tuple[T, ...]]:
    """One of the words of an enumeration, or a list."""
    word, listed = one_of(choices), many(kind)
    takes = f"{word.takes}, or {listed.takes}"

    def read(raw: object) -> E | tuple[T, ...]:
        try:
            return word.read(raw)
        except ValueError:
            pass
        try:
            found = listed.read(raw)
        except ValueError as error:
            raise ValueError(f"takes {takes}; {error}") from None
        if not found:
            raise ValueError(f"takes {takes}, not {_quoted(raw)}")
        return found

    def write(value: E | tuple[T, ...]) -> object:
        return listed.write(value) if isinstance(value, tuple) else word.write(value)

    return Kind(takes, read, write, listed=True)


def optional(kind: Kind[T]) -> Kind[T | None]:
    """The same kind where the built-in default is that there is no value."""
    return Kind(kind.takes, kind.read, lambda v: None if v is None else kind.write(v))


SWITCH: Final = Kind("yes or no", _read_switch, bool)
SIZE: Final = Kind("bytes, with K, M or G for powers of 1024: 10M", _read_size, int)
DURATION: Final = Kind("a duration: 7d, 12h, 1d12h", _read_duration, _write_duration)
THUMBPRINT: Final[Kind[str]] = Kind(
    "a SHA-512 thumbprint", lambda raw: thumbprint_of(_text(raw, "a thumbprint")), str
)
SIGNER: Final[Kind[str]] = Kind("an address or *@domain", _read_signer, str)
DOMAIN: Final[Kind[str]] = Kind("a domain, or *.domain", _read_domain, str)
PATTERN: Final[Kind[re.Pattern[str]]] = Kind(
    "a pattern",
    lambda raw: read_pattern(_text(raw, "a pattern", strip=False)),
    lambda pattern: pattern.pattern,
)
HEADER_PATTERN: Final[Kind[HeaderPattern]] = Kind(
    "a header field: Name, or Name: pattern",
    lambda raw: read_header_pattern(_text(raw, "a header field")),
    str,
)
TAG: Final = _tag(_TAKES_TAG)
SIGNER_TAG: Final = _tag(f"{_TAKES_TAG} but {_SIGNER}", _SIGNER)
FIELD_PREFIX: Final[Kind[str]] = Kind(
    "the beginning of a header field's name, such as X-Gateway-", _read_prefix, str
)
LINE: Final[Kind[str]] = Kind("a text on one line", _read_line, str)
WORD: Final[Kind[str]] = Kind("a name", _read_word, str)
URL: Final[Kind[str]] = Kind("a URL", _read_url, str)
PHONE: Final[Kind[str]] = Kind("a telephone number: +4930123456", _read_phone, str)
ADDRESS: Final[Kind[str]] = Kind(
    "an address", lambda raw: address_key(_text(raw, "an address")), str
)
SECRET: Final = Kind("a secret text", _read_secret, SecretStr.get_secret_value)


def _text(raw: object, wanted: str, *, strip: bool = True) -> str:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return str(raw)
    if isinstance(raw, list | tuple):
        raise ValueError(f"takes {wanted}, not a list: put the value into quotes")  # noqa: TRY004
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError(f"takes {wanted}, not {_quoted(raw)}")
    return raw.strip() if strip else raw


def _quoted(raw: object) -> str:
    if isinstance(raw, list | tuple):
        return "a list"
    if isinstance(raw, dict):
        return "a mapping"
    return f"'{_shown(raw)}'"


def _shown(raw: object) -> str:
    if isinstance(raw, bool):
        return "yes" if raw else "no"  # what people write; YAML readers make it a boolean
    text = "" if raw is None else str(raw)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _either(words: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
