from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.policy.scopes import BadScope, Level, domain_chain, level_of, scope_key


@pytest.mark.parametrize(
    ("text", "key", "level"),
    [
        ("global", "global", Level.GLOBAL),
        (" Global ", "global", Level.GLOBAL),
        ("Example.COM", "example.com", Level.DOMAIN),
        ("bücher.example", "xn--bcher-kva.example", Level.DOMAIN),
        ("localhost", "localhost", Level.DOMAIN),
        ("[192.0.2.1]", "[192.0.2.1]", Level.DOMAIN),
        ("[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]", Level.DOMAIN),
        ("*.Example.com", "*.example.com", Level.PATTERN),
        ("*.com", "*.com", Level.PATTERN),
        ("Alice@Example.com", "alice@example.com", Level.USER),
        ("müller@bücher.example", "müller@xn--bcher-kva.example", Level.USER),
        ("*.global", "*.global", Level.PATTERN),
    ],
)
def test_scopes_have_one_form(text: str, key: str, level: Level) -> None:
    assert scope_key(text) == key
    assert scope_key(key) == key
    assert level_of(key) is level


@pytest.mark.parametrize(
    "text",
    ["", "*", "*.", "@example.com", "alice@", "a.*.com", "*@example.com", "a..b",
     "*.[192.0.2.1]", "x*.com", "two words.com"],
)  # fmt: skip
def test_what_is_no_scope(text: str) -> None:
    with pytest.raises(BadScope):
        scope_key(text)


@pytest.mark.parametrize(
    ("domain", "chain"),
    [
        ("example.com", ["example.com", "*.example.com", "*.com", "global"]),
        ("a.b.c", ["a.b.c", "*.a.b.c", "*.b.c", "*.c", "global"]),
        ("localhost", ["localhost", "*.localhost", "global"]),
        ("[192.0.2.1]", ["[192.0.2.1]", "global"]),
        ("", ["global"]),
        ("global", ["*.global", "global"]),
    ],
)
def test_the_way_from_a_domain_to_global(domain: str, chain: list[str]) -> None:
    assert list(domain_chain(domain)) == chain


@given(st.text(max_size=20))
def test_a_text_is_a_scope_or_refused(text: str) -> None:
    try:
        key = scope_key(text)
    except BadScope:
        return
    assert level_of(key) in Level
