from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from smimefilter.base.errors import AdminError, AdminErrors
from smimefilter.base.settings import load_settings


class Kind(StrEnum):
    SMTP = "smtp"
    LMTP = "lmtp"


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Kind = Kind.SMTP
    port: Annotated[int, Field(gt=0)]
    ca_file: Path | None = Field(None, alias="ca-file")


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = ""
    on: bool = False
    ratio: float = 1.0
    one: Inner | None = None
    several: tuple[Inner, ...] = ()
    named: dict[str, Inner] = {}
    words: Annotated[str, Field(pattern="^(a|b)$")] = "a"

    @field_validator("name")
    @classmethod
    def _not_root(cls, value: str) -> str:
        if value == "root":
            raise ValueError("is not to be root")
        return value


def errors(text: str) -> list[str]:
    with pytest.raises(AdminError) as caught:
        load_settings(text, "c.yaml", Outer)
    found = caught.value
    return [str(one) for one in (found.errors if isinstance(found, AdminErrors) else (found,))]


def test_texts_become_what_the_model_wants() -> None:
    found = load_settings(
        "name: 5\non: yes\nratio: 0.5\none: {port: 25, ca-file: /x}\n"
        "several:\n- kind: lmtp\n  port: 24\nnamed: {a: {port: 1}}\n",
        "c.yaml",
        Outer,
    )
    assert (found.name, found.on, found.ratio) == ("5", True, 0.5)
    assert found.one == Inner.model_validate({"port": 25, "ca-file": "/x"})
    assert found.several[0].kind is Kind.LMTP
    assert found.named["a"].port == 1


def test_an_empty_file_is_all_defaults() -> None:
    assert load_settings("", "c.yaml", Outer) == Outer()


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("nam: x\n", "1:1", "did you mean 'name'?"),
        ("xyzzy: x\n", "1:1", "ratio"),
        ("one: {port: 1, kid: smtp}\n", "1:16", "did you mean 'kind'?"),
        ("one: {port: 1, kind: lmpt}\n", "1:22", "did you mean 'lmtp'?"),
        ("several:\n  - port: 1\n    prot: 2\n", "3:5", "did you mean 'port'?"),
        (
            "several:\n  - port: 1\n  - kind: sntp\n    port: 2\n",
            "3:11",
            "did you mean 'smtp'?",
        ),
        ("named:\n  a: {port: 1}\n  b: {port: 1, ca-fil: x}\n", "3:16", "'ca-file'"),
        ("one: {kind: smtp}\n", "1:6", "'one.port' is missing"),
        ("one: {port: 0}\n", "1:13", "greater than 0"),
        ("one: {port: many}\n", "1:13", "whole number"),
        ("one: x\n", "1:6", "name: value"),
        ("several: x\n", "1:10", "list"),
        ("on: maybe\n", "1:5", "yes or no"),
        ("name:\n", "1:6", "text"),
        ("name: root\n", "1:7", "is not to be root"),
        ("words: c\n", "1:8", "pattern"),
        ("one: {port: 1, ca-file: [x]}\n", "1:25", "path"),
        ("- x\n", "1:1", "name: value"),
        ("x\n", "1:1", "name: value"),
    ],
)
def test_what_is_wrong_and_where(text: str, place: str, hint: str) -> None:
    found = errors(text)
    assert len(found) == 1
    assert found[0].startswith(f"c.yaml:{place}: ")
    assert hint in found[0]
    assert "\n" not in found[0]


def test_everything_wrong_at_once_in_the_order_of_the_file() -> None:
    found = errors("on: maybe\nxyzzy: 1\none: {port: 0}\n")
    assert [one.split(": ")[0] for one in found] == ["c.yaml:1:5", "c.yaml:2:1", "c.yaml:3:13"]


def test_values_are_not_shown() -> None:
    assert "hunter2" not in "".join(errors("on: hunter2\nratio: hunter2\nwords: hunter2\n"))
