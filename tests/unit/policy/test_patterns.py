from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.policy.patterns import (
    MAX_LENGTH,
    MAX_MATCHED,
    read_header_pattern,
    read_pattern,
)


@pytest.mark.parametrize(
    ("pattern", "subject"),
    [
        (r"\[secure\]", "Re: [SECURE] hello"),
        (r"^secure:", "Secure: hello"),
        (r"(secret|confidential)", "this is Confidential"),
        (r"\[(?:enc|encrypt)\]\s*+", "[enc]   hello"),
        (r"[#][0-9]{2,4}", "case #123"),
        (r"\bsecret\b.*$", "top secret indeed"),
        (r"(re: )?secret", "secret"),
        (r"[]x]y", "]y"),
    ],
)
def test_takes_what_senders_need(pattern: str, subject: str) -> None:
    found = read_pattern(pattern)
    assert found.search(subject)
    assert not found.search("nothing to see")
    assert found.pattern == pattern


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+b",
        r"(a|a)*b",
        r"(?:a?){3,9}b",
        r"(ab){1,50}c",
        r".*.*x",
        r"\s*secret\s*",
        r"a{0,500}a{0,500}b",
        "(a|a)" * 30 + "b",
        "a?" * 30 + "b",
        r"a{101}",
    ],
)
def test_refuses_what_could_be_slow(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"long|repe|repetition"):
        read_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "[secure]",  # a set: one of its letters
        "[encrypt] .",
        "secure[",
        "(secure",
        "*secure",
        "secure\\",
        "(?=secure)x",
        "(?i)secure",
        "(?P<n>a)(?P=n)",
        r"(a)\1",
        "[[a]",
        "[a--z]",
        "[a&&b]",
        ".*",
        "a?",
        "x|",
        "x" * (MAX_LENGTH + 1),
    ],
)
def test_refuses_what_is_wrong_or_means_everything(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_pattern(pattern)


@pytest.mark.parametrize(
    "pattern", [r"a*ab{100}c", r"a?.*b", r"(a|b).*cd", r"a*" + "a" * 190 + "b"]
)
def test_the_worst_that_is_taken_is_quick(pattern: str) -> None:
    found = read_pattern(pattern)
    started = time.process_time()
    found.search("a" * 5000, 0, MAX_MATCHED)
    assert time.process_time() - started < 1


@given(st.text(alphabet=r"ab.*+?{},2()[]|\^$-&~ :<=!#P", max_size=14))
def test_any_text_is_taken_or_refused(text: str) -> None:
    try:
        found = read_pattern(text)
    except ValueError:
        return
    assert read_pattern(found.pattern) == found
    assert found.search("") is None
    found.search("ab" * 500, 0, MAX_MATCHED)


def test_header_patterns() -> None:
    present = read_header_pattern("X-Encrypt")
    assert (present.name, present.pattern) == ("X-Encrypt", None)
    valued = read_header_pattern(" X-Encrypt :  ^yes$ ")
    assert valued.name == "X-Encrypt"
    assert valued.pattern is not None
    assert valued.pattern.search("YES")
    for found in (present, valued):
        assert read_header_pattern(str(found)) == found


@pytest.mark.parametrize(
    "text", ["", ":", "X-Encrypt:", "two words", "Ünicode", "X: (a", ": yes"]
)
def test_header_patterns_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_header_pattern(text)
