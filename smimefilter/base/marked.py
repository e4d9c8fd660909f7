"""YAML whose every part knows its line and column.

`read(text, name)` gives a tree of `Scalar`, `Items` and `Fields`. Scalars stay the texts that
were written: no `no` that became False, no thumbprint that became a number; whoever knows what
is wanted reads them. Refused are duplicate keys, tags, several documents, and aliases that
would swell the tree.

Leaves what the parts mean to `policy/load.py` and `settings.py`. YAML 1.1 syntax.
Raises `AdminError`, `where` being `name:line:column`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import StringIO
from itertools import islice
from typing import Any, Final, NamedTuple

import yaml

from .errors import AdminError

MAX_DEPTH: Final = 32
MAX_ALIASED: Final = 10_000  # parts that aliases may add, each use counted anew

_Loader: Final = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # the same events, 10 times faster
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_NULLS: Final = frozenset({"null", "Null", "NULL", "~"})


class Scalar(NamedTuple):
    """A text; `plain` when it stood without quotes."""

    text: str
    plain: bool
    line: int
    column: int

    @property
    def is_null(self) -> bool:
        """Written as `null` or `~`."""
        return self.plain and self.text in _NULLS

    @property
    def is_empty(self) -> bool:
        """Nothing was written."""
        return self.plain and not self.text


class Items(NamedTuple):
    """A sequence."""

    items: list[Node]
    line: int
    column: int


class Fields(NamedTuple):
    """A mapping, in its written order."""

    fields: dict[str, Field]
    line: int
    column: int


class Field(NamedTuple):
    """A key, where it stands, and its value."""

    key: Scalar
    value: Node


Node = Scalar | Items | Fields


def read(text: str, name: str) -> Node:
    """The one document of a text; an empty one is an empty mapping. Raises `AdminError`."""
    try:
        return _Builder(name).build(yaml.parse(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, name) from None
    except (yaml.YAMLError, UnicodeEncodeError):
        found = _UNPRINTABLE.search(text)
        line = text.count("\n", 0, found.start()) + 1 if found else 1
        raise AdminError(
            "a control character", where=f"{name}:{line}", mend="remove it"
        ) from None


def where(name: str, node: Node) -> str:
    """`name:line:column`."""
    return f"{name}:{node.line}:{node.column}"


def plain(node: Node) -> object:
    """The same as texts, None, lists and dicts."""
    match node:
        case Scalar():
            return None if node.is_null or node.is_empty else node.text
        case Items():
            return [plain(item) for item in node.items]
        case Fields():
            return {key: plain(field.value) for key, field in node.fields.items()}


class _Open:
    """A sequence or mapping that has not ended."""

    __slots__ = ("anchor", "key", "node")

    def __init__(self, node: Items | Fields, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.key: Scalar | None = None  # of a mapping, waiting for its value


class _Builder:
    """Events to nodes, without recursion."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._root: Node | None = None
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._aliased = 0

    def build(self, events: Iterator[Any]) -> Node:
        for event in events:
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self._check(event)
                mark = event.start_mark
                scalar = Scalar(event.value, not event.style, mark.line + 1, mark.column + 1)
                self._add(scalar, event.anchor)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self._check(event)
                self._start(event)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                ended = self._open.pop()
                self._add(ended.node, ended.anchor)
            elif kind is yaml.AliasEvent:
                self._add(self._alias(event), None)
            elif kind is yaml.DocumentStartEvent and self._root is not None:
                raise self._error("a second document", event, "keep one in a file")
        return self._root if self._root is not None else Fields({}, 1, 1)

    def _start(self, event: Any) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise self._error(f"nested more than {MAX_DEPTH} deep", event)
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        mapping = isinstance(event, yaml.MappingStartEvent)
        node = Fields({}, line, column) if mapping else Items([], line, column)
        self._open.append(_Open(node, event.anchor))

    def _add(self, node: Node, anchor: str | None) -> None:
        """Put a whole node into what is open."""
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        if isinstance(parent.node, Items):
            parent.node.items.append(node)
        elif parent.key is None:
            parent.key = self._key(node, parent.node)
        else:
            parent.node.fields[parent.key.text] = Field(parent.key, node)
            parent.key = None

    def _key(self, node: Node, parent: Fields) -> Scalar:
        if not isinstance(node, Scalar) or not node.text:
            raise self._key_error("a key that is not a text", node)
        before = parent.fields.get(node.text)
        if before is not None:
            mend = f"it stands in line {before.key.line} already"
            raise self._key_error(f"'{node.text}' a second time", node, mend)
        if node.plain and node.text == "<<":
            raise self._key_error("merge keys are not offered", node, "write it out")
        return node

    def _alias(self, event: Any) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            mend = "put a value that begins with '*' into quotes"
            raise self._error(f"no anchor '&{event.anchor}' before this", event, mend)
        self._aliased += _size(node)
        if self._aliased > MAX_ALIASED:
            raise self._error("too much is repeated by aliases", event, "write it out")
        return node

    def _check(self, event: Any) -> None:
        if event.tag is not None:
            raise self._error("tags are not offered", event, "put a leading '!' into quotes")

    def _error(self, what: str, event: Any, mend: str = "") -> AdminError:
        mark = event.start_mark
        place = f"{self._name}:{mark.line + 1}:{mark.column + 1}"
        return AdminError(what, where=place, mend=mend)

    def _key_error(self, what: str, node: Node, mend: str = "") -> AdminError:
        return AdminError(what, where=where(self._name, node), mend=mend)


def _size(node: Node) -> int:
    """How many parts a node has, up to a little above `MAX_ALIASED`."""
    waiting, size = [node], 0
    while waiting and size <= MAX_ALIASED:
        size += 1
        match waiting.pop():
            case Items(items=items):
                waiting.extend(items)
            case Fields(fields=fields):
                waiting.extend(field.value for field in fields.values())
            case _:
                pass
    return size


def _syntax_error(error: yaml.MarkedYAMLError, text: str, name: str) -> AdminError:
    what = f"not YAML: {error.problem}"
    mark = error.problem_mark
    if mark is None:
        return AdminError(what, where=name)
    line = next(islice(StringIO(text), mark.line, None), "")
    mend = ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        mend = "indent with spaces, not tabs"
    elif ": *" in line or line.lstrip("- ").startswith(("*", "@")):
        mend = "put a text that begins with '*' or '@' into quotes"
    elif "mapping values" in str(error.problem):
        mend = "put a value that has a colon into quotes"
    return AdminError(what, where=f"{name}:{mark.line + 1}:{mark.column + 1}", mend=mend)
