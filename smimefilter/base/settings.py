"""A YAML document read into a pydantic model, every error at its line and column.

Leaves YAML to `marked.py`, what is allowed to the model. Values are never shown in errors:
settings may hold passwords. Raises `AdminError`, for all that is wrong at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any, Final, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .errors import AdminError, joined
from .marked import Fields, Items, Node, plain, read, where
from .suggest import did_you_mean

M = TypeVar("M", bound=BaseModel)

_Location = Sequence[int | str]
_CONTAINERS: Final = (dict, list, tuple, set, frozenset)
_WORDING: Final = {  # where pydantic speaks of Python
    "model_type": "should be 'name: value' lines",
    "dict_type": "should be 'name: value' lines",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "string_type": "should be a text",
    "path_type": "should be a path",
    "bool_parsing": "should be yes or no",
    "bool_type": "should be yes or no",
    "int_parsing": "should be a whole number",
    "int_type": "should be a whole number",
    "float_parsing": "should be a number",
    "float_type": "should be a number",
}


def load_settings(text: str, name: str, model: type[M]) -> M:
    """The model that a YAML document describes; `name` is the file's in errors."""
    document = read(text, name)
    if not isinstance(document, Fields):
        raise AdminError("takes 'name: value' lines", where=where(name, document))
    try:
        return model.model_validate(plain(document))
    except ValidationError as error:
        found = [(_node(document, one), one) for one in error.errors(include_url=False)]
    found.sort(key=lambda pair: (pair[0].line, pair[0].column))
    raise joined([_error(one, where(name, node), model) for node, one in found])


def _error(error: ErrorDetails, place: str, model: type[BaseModel]) -> AdminError:
    location, kind = error["loc"], error["type"]
    setting = ".".join(str(part) for part in location)
    if kind == "extra_forbidden":
        names = _names(_annotation(model, location[:-1]))
        mend = did_you_mean(str(location[-1]), names) or f"here stand: {', '.join(names)}"
        return AdminError(f"unknown setting '{setting}'", where=place, mend=mend)
    if kind == "missing":
        return AdminError(f"'{setting}' is missing", where=place)
    what = _WORDING.get(kind) or error["msg"]
    what = re.sub("^(Input|String) should", "should", what.removeprefix("Value error, "))
    mend = ""
    if kind == "enum":
        choices = [str(choice.value) for choice in _choices(_annotation(model, location))]
        mend = did_you_mean(str(error["input"]), choices)
    return AdminError(f"'{setting}': {what}", where=place, mend=mend)


def _node(document: Node, error: ErrorDetails) -> Node:
    """Where an error stands: its value (an unknown key), or the nearest thing around it."""
    node, of_key, location = document, error["type"] == "extra_forbidden", error["loc"]
    for at, part in enumerate(location, start=1):
        if isinstance(node, Fields) and part in node.fields:
            field = node.fields[str(part)]
            node = field.key if of_key and at == len(location) else field.value
        elif isinstance(node, Items) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
        else:
            break
    return node


def _annotation(model: type[BaseModel], location: _Location) -> Any:
    """The type that the model has at a location; None where that is not known."""
    annotation: Any = model
    for part in location:
        inside = next((one for one in _alternatives(annotation) if _enters(one)), None)
        if inside is None:
            return None
        if isinstance(inside, type) and issubclass(inside, BaseModel):
            names = {field.alias or key: field for key, field in inside.model_fields.items()}
            if part not in names:
                return None
            annotation = names[str(part)].annotation
        else:
            annotation = [one for one in get_args(inside) if one is not ...][-1]
    return annotation


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The types of a union, or the one."""
    if get_origin(annotation) in _CONTAINERS or isinstance(annotation, type):
        yield annotation
        return
    for one in get_args(annotation):
        yield from _alternatives(one)


def _enters(annotation: Any) -> bool:
    return get_origin(annotation) in _CONTAINERS or (
        isinstance(annotation, type) and issubclass(annotation, BaseModel)
    )


def _names(annotation: Any) -> list[str]:
    for one in _alternatives(annotation):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return [field.alias or key for key, field in one.model_fields.items()]
    return []


def _choices(annotation: Any) -> list[Enum]:
    return [
        choice
        for one in _alternatives(annotation)
        if isinstance(one, type) and issubclass(one, Enum)
        for choice in one
    ]
