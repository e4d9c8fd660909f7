from __future__ import annotations

import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.base.errors import AdminError
from smimefilter.base.marked import MAX_ALIASED, MAX_DEPTH, Fields, Items, Scalar, plain, read


def test_every_part_knows_its_place() -> None:
    node = read("a: 1\nb:\n  - 'x'\n  - {c: no}\n", "x.yaml")
    assert isinstance(node, Fields)
    assert node.fields["b"].key[2:] == (2, 1)
    items = node.fields["b"].value
    assert isinstance(items, Items)
    assert items.items[0] == Scalar("x", plain=False, line=3, column=5)
    inner = items.items[1]
    assert isinstance(inner, Fields)
    assert inner.fields["c"].value == Scalar("no", plain=True, line=4, column=9)


def test_scalars_stay_texts() -> None:
    text = "{a: no, b: 1e10, c: 0x1f, d: 2020-01-01, e: '~', f: ~, g: null, h: '', i: 010, j: }"
    assert plain(read(text, "x")) == {
        "a": "no", "b": "1e10", "c": "0x1f", "d": "2020-01-01", "e": "~", "f": None, "g": None,
        "h": "", "i": "010", "j": None,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n"])
def test_an_empty_document(text: str) -> None:
    assert plain(read(text, "x")) in ({}, None)


def test_an_alias_repeats_its_anchor() -> None:
    assert plain(read("a: &x [1, 2]\nb: *x\n", "x")) == {"a": ["1", "2"], "b": ["1", "2"]}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: 1\nb: 2\na: 3\n", "x.yaml:3:1"),
        ("a: [1, 2\n", "x.yaml:2:1"),
        ("a: b: c\n", "x.yaml:1:5"),
        ("a:\n\tb: 1\n", "x.yaml:2:1"),
        ("a: !!python/object:os.system x\n", "x.yaml:1:4"),
        ("a: !x [1]\n", "x.yaml:1:4"),
        ("a: *b\n", "x.yaml:1:4"),
        ("a: &a [*a]\n", "x.yaml:1:8"),
        ("? [1]\n: 2\n", "x.yaml:1:3"),
        ("'': 1\n", "x.yaml:1:1"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2:1"),
        ("x: &x {a: 1}\ny:\n  <<: *x\n", "x.yaml:3:3"),
        ("a: 1\nb: \x07\n", "x.yaml:2"),
        ("a: 'x\n", "x.yaml:2:1"),
        ("a: @x\n", "x.yaml:1:4"),
    ],
)
def test_what_is_refused_and_where(text: str, place: str) -> None:
    with pytest.raises(AdminError) as caught:
        read(text, "x.yaml")
    assert caught.value.where == place
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_depth_is_bounded(opening: str) -> None:
    with pytest.raises(AdminError, match="deep"):
        read(opening * 100_000, "x")
    closing = {"[": "]", "{a: ": "}", "- ": "x"}[opening]
    read(opening * (MAX_DEPTH - 1) + "x" + (closing * (MAX_DEPTH - 1)).replace("x", ""), "x")


def test_aliases_cannot_swell_a_document() -> None:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x,x]"]
    for name, before in zip("bcdefghij", "abcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]")
    started = time.process_time()
    with pytest.raises(AdminError, match="alias"):
        read("\n".join(lines), "x")
    assert time.process_time() - started < 1
    many = f"a: &a x\nb: [{', '.join(['*a'] * (MAX_ALIASED + 1))}]"
    with pytest.raises(AdminError, match="alias"):
        read(many, "x")


_values = st.recursive(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_values)
def test_what_another_writer_wrote_is_read(value: object) -> None:
    text = yaml.safe_dump(value, allow_unicode=True, default_style='"')
    assert plain(read(text, "x")) == value


@given(st.text(alphabet="ab:-[]{}#&*!|>'\"%@`,?\n\t ~<\\", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        node = read(text, "x.yaml")
    except AdminError as refused:
        where = refused.where
    else:
        where = f"x.yaml:{node.line}"
    assert where.startswith("x.yaml:")
