"""The name somebody probably meant. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """`did you mean 'encrypt'?`, or an empty text when no candidate is near."""
    near = get_close_matches(word.lower().replace("_", "-"), list(candidates), n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else ""
