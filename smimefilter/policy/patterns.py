r"""Patterns that senders write into subjects and headers, and whose cost is known beforehand.

A pattern is a Python regular expression of a small kind, matched without regard to case within
the first `MAX_MATCHED` characters:

- characters, `.`, sets such as `[a-z]`, escapes, `^`, `$`, `\b`, groups and `|`;
- `*`, `+`, `?` and `{m,n}` after one character or set; after a group only `?`;
- the choices that matching may have to try, multiplied, are at most `MAX_CHOICES`: an open
  repetition counts `MAX_MATCHED`, so there is one of them at most. The possessive forms
  `*+`, `++`, `?+` never try again and count nothing.

Leaves what a match means to `plan/`. Raises `ValueError`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_MATCHED: Final = 998  # RFC 5322 §2.1.1: no line is longer
MAX_LENGTH: Final = 200
MAX_COUNTED: Final = 100
MAX_CHOICES: Final = 2 * MAX_MATCHED

_TOKEN: Final = re.compile(
    r"""(?P<escape>\\.)
      | (?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])
      | (?P<open>\((?:\?:)?)
      | (?P<close>\))
      | (?P<bar>\|)
      | (?P<repeat>(?:[*+?]|\{\d+(?:,\d*)?\}|\{,\d+\})[?+]?)
      | (?P<char>.)""",
    re.VERBOSE | re.DOTALL,
)
_WORD_IN_SET: Final = re.compile(r"\[\^?[A-Za-z]{3,}\]")
_NESTED_SET: Final = re.compile(r"\[|--|&&|~~|\|\|")
_FIELD_NAME: Final = re.compile(r"[!-9;-~]+")


@dataclass(frozen=True, slots=True)
class HeaderPattern:
    """A header field that asks for something: present, and matching if there is a pattern."""

    name: str
    pattern: re.Pattern[str] | None = None

    def __str__(self) -> str:
        return self.name if self.pattern is None else f"{self.name}: {self.pattern.pattern}"


def read_pattern(text: str) -> re.Pattern[str]:
    """The compiled pattern. Raises `ValueError` for one outside the kind described above."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"the pattern is longer than {MAX_LENGTH} characters")
    tokens = [(str(found.lastgroup), found.group()) for found in _TOKEN.finditer(text)]
    _refuse_odd_sets(tokens)
    try:
        compiled = re.compile(text, re.IGNORECASE)
    except (re.error, OverflowError) as error:
        raise ValueError(f"'{text}' is not a regular expression: {error}") from None
    if _choices(tokens) > MAX_CHOICES:
        raise ValueError(
            f"'{text}' could take too long: use one open repetition at most, "
            r"or possessive ones such as \s*+"
        )
    if compiled.search("") is not None:
        raise ValueError(f"'{text}' matches an empty text, and so everything")
    return compiled


def read_header_pattern(text: str) -> HeaderPattern:
    """`Name` or `Name: pattern`. Raises `ValueError`."""
    name, colon, pattern = (part.strip() for part in text.partition(":"))
    if not _FIELD_NAME.fullmatch(name):
        raise ValueError(f"'{name}' is not the name of a header field")
    if colon and not pattern:
        raise ValueError(
            f"there is no pattern after '{name}:'; leave the colon out for any value"
        )
    return HeaderPattern(name, read_pattern(pattern) if colon else None)


def _refuse_odd_sets(tokens: list[tuple[str, str]]) -> None:
    for kind, part in tokens:
        if (kind, part) == ("char", "["):
            raise ValueError(r"there is a '[' without its ']'; write \[ for the sign itself")
        if kind != "set":
            continue
        if _WORD_IN_SET.fullmatch(part):
            raise ValueError(
                f"'{part}' matches a single one of its letters; "
                rf"to find it as it stands write \{part[:-1]}\]"
            )
        if _NESTED_SET.search(part[1:-1]):
            raise ValueError(rf"'{part}': within a set write '[' as \[ and doubled signs once")


def _choices(tokens: list[tuple[str, str]]) -> int:
    """An upper bound of the ways to match at one place. Raises `ValueError`."""
    choices, branches, before = 1, [1], ""
    for kind, token in tokens:
        if kind == "open":
            branches.append(1)
        elif kind == "bar":
            branches[-1] += 1
        elif kind == "close":
            choices *= branches.pop()
        elif kind == "repeat":
            if before == "open":
                raise ValueError("'(?' is not offered, but for '(?:'")
            if before == "close" and token[0] != "?":
                raise ValueError(f"a group cannot be repeated by '{token}'")
            choices *= _repetitions(token)
        elif kind == "escape" and token[1] in "123456789":
            raise ValueError(f"'{token}': references to a group are not offered")
        before = kind
    return choices * branches.pop()


def _repetitions(token: str) -> int:
    if len(token) > 1 and token[-1] == "+":
        return 1  # possessive
    if token[0] == "?":
        return 2
    if token[0] in "*+":
        return MAX_MATCHED
    low, comma, high = token[1 : token.index("}")].partition(",")
    if int(low or 0) > MAX_COUNTED:
        raise ValueError(f"'{token}' asks for more than {MAX_COUNTED} repetitions")
    return int(high or MAX_MATCHED) - int(low or 0) + 1 if comma else 1
