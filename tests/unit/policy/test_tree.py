from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smimefilter.base.address import BadAddress
from smimefilter.policy.preferences import (
    ADDITIONAL_CERTIFICATES,
    ALL,
    ENCRYPT,
    ENCRYPTION_CERTIFICATES,
    MAY_SIGN_FOR,
    RESET,
    SIGN,
    Encrypt,
    Preference,
    Sign,
)
from smimefilter.policy.tree import Resolved, Scopes, Setting, Tree
from tests.support.settings import DOMAINS, scopes

ADDRESSES = [f"{name}@{domain}" for name in ("alice", "carol") for domain in DOMAINS]


def encrypt(**at: Encrypt | Any) -> Scopes:
    """`encrypt` set at scopes, named in Python's way."""
    names = {
        "everybody": "global",
        "com": "*.com",
        "below": "*.example.com",
        "domain": "example.com",
        "sub": "sub.example.com",
        "alice": "alice@example.com",
    }
    return {
        names[key]: {"encrypt": Setting(value, f"{key}.yaml:1")} for key, value in at.items()
    }


def test_nothing_set_is_the_default_and_says_so() -> None:
    found = Tree().view("alice@example.com").get(ENCRYPT)
    assert found == Resolved(Encrypt.ALLOW, "default", "default")


@pytest.mark.parametrize(
    ("address", "scope"),
    [
        ("alice@example.com", "alice@example.com"),
        ("ALICE@Example.COM", "alice@example.com"),
        ("bob@example.com", "example.com"),
        ("alice@sub.example.com", "sub.example.com"),
        ("alice@other.example.com", "*.example.com"),
        ("alice@deep.sub.example.com", "*.example.com"),
        ("alice@notexample.com", "*.com"),
        ("alice@example.org", "global"),
        ("alice@[192.0.2.1]", "global"),
        ("", "global"),
    ],
)
def test_the_nearest_scope_wins(address: str, scope: str) -> None:
    values = dict.fromkeys(
        ("everybody", "com", "below", "domain", "sub", "alice"), Encrypt.MANDATORY
    )
    tree = Tree(encrypt(**values))
    assert tree.view(address).get(ENCRYPT).scope == scope


def test_a_pattern_holds_for_the_domain_itself() -> None:
    tree = Tree(encrypt(below=Encrypt.NEVER, everybody=Encrypt.MANDATORY))
    assert tree.view("alice@example.com").get(ENCRYPT).scope == "*.example.com"


def test_the_database_wins_at_one_scope_only() -> None:
    files = encrypt(domain=Encrypt.MANDATORY, alice=Encrypt.NEVER)
    database = {"example.com": {"encrypt": Setting(Encrypt.ALLOW, "database")}}
    tree = Tree(files, database)
    assert tree.view("bob@example.com").get(ENCRYPT) == Resolved(
        Encrypt.ALLOW, "example.com", "database"
    )
    assert tree.view("alice@example.com").get(ENCRYPT).value is Encrypt.NEVER
    layers = tree.view("bob@example.com").layers(ENCRYPT)
    assert [(layer.source, layer.holds) for layer in layers] == [
        ("database", True),
        ("domain.yaml:1", False),
        ("default", False),
    ]


def test_a_reset_is_the_default_with_its_own_scope() -> None:
    tree = Tree(encrypt(domain=RESET, everybody=Encrypt.MANDATORY))
    found = tree.view("alice@example.com").get(ENCRYPT)
    assert found == Resolved(Encrypt.ALLOW, "example.com", "domain.yaml:1")
    layers = tree.view("alice@example.com").layers(ENCRYPT)
    assert [(layer.value, layer.holds) for layer in layers] == [
        (RESET, True),
        (Encrypt.MANDATORY, False),
        (Encrypt.ALLOW, False),
    ]


def certificates(*values: str | object, source: str = "file") -> dict[str, Setting]:
    parts: object = values if values != (RESET,) else RESET
    return {"encryption-certificates": Setting(parts, source)}


def test_additive_preferences_collect_along_the_way() -> None:
    tree = Tree(
        {
            "alice@example.com": certificates("a", "b", source="u"),
            "example.com": certificates("c", "a", source="d"),
            "global": certificates("g", source="g"),
            "other.test": certificates("x", source="x"),
        }
    )
    found = tree.view("alice@example.com").collect(ENCRYPTION_CERTIFICATES)
    assert found == (
        Resolved("a", "alice@example.com", "u"),
        Resolved("b", "alice@example.com", "u"),
        Resolved("c", "example.com", "d"),
        Resolved("g", "global", "g"),
    )
    assert tree.view("alice@elsewhere.test").collect(ADDITIONAL_CERTIFICATES) == ()


def test_a_reset_ends_a_collection_and_the_database_hides_the_file() -> None:
    tree = Tree(
        {
            "alice@example.com": certificates("file"),
            "example.com": certificates(RESET),
            "global": certificates("global"),
        },
        {"alice@example.com": certificates("database", source="database")},
    )
    view = tree.view("alice@example.com")
    assert [found.value for found in view.collect(ENCRYPTION_CERTIFICATES)] == ["database"]
    assert [layer.holds for layer in view.layers(ENCRYPTION_CERTIFICATES)] == [
        True, False, True, False, False,
    ]  # fmt: skip


def test_a_hidden_reset_does_not_end_a_collection() -> None:
    tree = Tree(
        {"example.com": certificates(RESET), "global": certificates("global")},
        {"example.com": certificates("database", source="database")},
    )
    view = tree.view("alice@example.com")
    found = [found.value for found in view.collect(ENCRYPTION_CERTIFICATES)]
    assert found == ["database", "global"]


def test_asking_in_the_wrong_way_is_a_defect() -> None:
    view = Tree().view("alice@example.com")
    with pytest.raises(TypeError):
        view.get(ENCRYPTION_CERTIFICATES)
    with pytest.raises(TypeError):
        view.collect(MAY_SIGN_FOR)


@pytest.mark.parametrize("address", ["alice", "@example.com", "alice@", "a b@example.com"])
def test_an_address_that_cannot_be_read_has_no_policy(address: str) -> None:
    with pytest.raises(BadAddress):
        Tree(encrypt(everybody=Encrypt.MANDATORY)).view(address)


def test_a_domain_called_global_is_not_everybody() -> None:
    tree = Tree(
        {
            "global": {**certificates("g"), "sign": Setting(Sign.NEVER, "g")},
            "*.global": {"sign": Setting(Sign.ALWAYS, "p")},
        }
    )
    view = tree.view("alice@global")
    assert view.get(SIGN).scope == "*.global"
    assert [found.value for found in view.collect(ENCRYPTION_CERTIFICATES)] == ["g"]


class Counted(dict[str, Any]):
    """A mapping that counts what is looked up, and cannot be scanned."""

    lookups = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.lookups += 1
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self.lookups += 1
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("scanned")

    items = keys = values = __iter__  # type: ignore[assignment]


def test_a_view_never_scans() -> None:
    files, database = Counted(), Counted()
    for number in range(10_000):
        files[f"user{number}@example.com"] = {"encrypt": Setting(Encrypt.NEVER, "file")}
    tree = Tree(files, database)
    for address in ("user77@example.com", "nobody@example.com", "a@b.c.d.example.com"):
        files.lookups = database.lookups = 0
        tree.view(address).get(ENCRYPT)
        assert files.lookups + database.lookups < 20
    files.lookups = database.lookups = 0
    view = tree.view("user77@example.com")
    assert files.lookups + database.lookups <= 2
    assert tree.view("USER77@example.com") is view
    assert tree.view("nobody@example.com") is tree.view("anybody@example.com")
    assert view.get(ENCRYPT) is view.get(ENCRYPT)


def test_trees_are_equal_by_what_is_set() -> None:
    here = Tree({"global": {"encrypt": Setting(Encrypt.NEVER, "a.yaml:1")}})
    there = Tree({"global": {"encrypt": Setting(Encrypt.NEVER, "b.yaml:9")}})
    assert here == there
    assert here != Tree({"global": {"encrypt": Setting(Encrypt.ALLOW, "a.yaml:1")}})
    assert here != Tree({}, here.files)
    assert here != "tree"


def _expected_chain(address: str) -> list[str]:
    """The scopes of an address, spelt out in another way than the code does."""
    domain = address.partition("@")[2]
    labels = [] if domain.startswith("[") else domain.split(".")
    patterns = ["*." + ".".join(labels[at:]) for at in range(len(labels))]
    return [address, domain, *patterns, "global"]


@settings(max_examples=40)
@given(files=scopes("file"), database=scopes("database"), address=st.sampled_from(ADDRESSES))
def test_nearest_wins_over_the_whole_lattice(
    files: Scopes, database: Scopes, address: str
) -> None:
    view = Tree(files, database).view(address)
    chain = _expected_chain(address)
    for preference in ALL.values():
        holding = [
            (scope, layer[scope][preference.name])
            for scope in chain
            for layer in [database if preference.name in database.get(scope, {}) else files]
            if preference.name in layer.get(scope, {})
        ]
        if preference.additive:
            _check_collected(view.collect(preference), holding)
            continue
        found = view.get(preference)
        if not holding:
            assert found == Resolved(preference.default, "default", "default")
            continue
        scope, setting = holding[0]
        value = preference.default if setting.value is RESET else setting.value
        assert found == Resolved(value, scope, setting.source)


def _check_collected(
    found: tuple[Resolved[Any], ...], holding: list[tuple[str, Setting]]
) -> None:
    expected: dict[object, str] = {}
    for scope, setting in holding:
        if setting.value is RESET:
            break
        assert isinstance(setting.value, tuple)
        for part in setting.value:
            expected.setdefault(part, scope)
    assert [(one.value, one.scope) for one in found] == list(expected.items())


@settings(max_examples=40)
@given(files=scopes("file"), database=scopes("database"), address=st.sampled_from(ADDRESSES))
def test_the_layers_tell_what_holds(files: Scopes, database: Scopes, address: str) -> None:
    view = Tree(files, database).view(address)
    for preference in ALL.values():
        layers = view.layers(preference)
        assert layers[-1].source == "default"
        holding = [layer for layer in layers if layer.holds]
        assert holding
        if not preference.additive:
            assert len(holding) == 1
            assert view.get(preference).source == holding[0].source


def test_every_single_preference_is_found_by_its_constant() -> None:
    for preference in ALL.values():
        _ask(Tree(), preference)


def _ask(tree: Tree, preference: Preference[Any]) -> None:
    view = tree.view("alice@example.com")
    if preference.additive:
        assert view.collect(preference) == ()
    else:
        assert view.get(preference).value == preference.default
