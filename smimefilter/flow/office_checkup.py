"""Looking over what the certificate authority has before it: requests, handlers, letters.

Requests that wait for a handler that is not installed or not configured, or after a defect;
policies that name such a handler; letters that cannot be written, which is tried. Leaves
certificates and CRLs to `checkup.py`, opening handlers to the face that asks. Raises nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from smimefilter.base.errors import AdminError
from smimefilter.policy.preferences import CA_REQUEST_HANDLER
from smimefilter.policy.tree import Tree
from smimefilter.ports.requests import StoredRequest

from .checkup import Finding, Grade
from .requests import DEFECT
from .send import KeyPost

_ABOUT: Final = "requests"


def handlers_of(pending: Sequence[StoredRequest], tree: Tree) -> Collection[str]:
    """The handlers that requests wait for and policies name."""
    return {*(one.handler for one in pending), *(name for _, _, name in _named(tree))}


def look_over_office(
    pending: Sequence[StoredRequest],
    tree: Tree,
    troubles: Mapping[str, str],
    post: KeyPost,
) -> list[Finding]:
    """What is worth saying. `pending`: the requests that wait; `troubles`: by handler, why it
    cannot be asked."""
    found = [*_requests(pending, troubles), *_policies(tree, troubles), *_letters(post)]
    if pending and not any(one.about == _ABOUT for one in found):
        found.append(Finding(Grade.GOOD, _ABOUT, f"{len(pending)} under way"))
    return found


def _requests(
    pending: Sequence[StoredRequest], troubles: Mapping[str, str]
) -> Iterator[Finding]:
    counts = Counter(one.handler for one in pending)
    for handler, count in counts.items():
        if why := troubles.get(handler):
            what = f"{_waits(count)} for the handler {handler}: {why}"
            mend = f"see: smimefilter handler show {handler}; or: smimefilter pending delete"
            yield Finding(Grade.BAD, _ABOUT, what, mend)
    defects = [one for one in pending if one.outcome == DEFECT]
    if defects:
        what = f"{_waits(len(defects))} after trouble of our own, such as {defects[0].id[:8]}"
        mend = "look into the log for `request not worked on: defect`"
        yield Finding(Grade.BAD, _ABOUT, what, mend)


def _waits(count: int) -> str:
    return "1 waits" if count == 1 else f"{count} wait"


def _policies(tree: Tree, troubles: Mapping[str, str]) -> Iterator[Finding]:
    for scope, source, handler in _named(tree):
        if why := troubles.get(handler):
            about = f"{CA_REQUEST_HANDLER.name} at {scope} ({source})"
            mend = "name one of: smimefilter handler list"
            yield Finding(Grade.BAD, about, f"{handler}: {why}", mend)


def _named(tree: Tree) -> Iterator[tuple[str, str, str]]:
    for scopes in (tree.database, tree.files):
        for scope, settings in scopes.items():
            setting = settings.get(CA_REQUEST_HANDLER.name)
            if setting is not None and isinstance(setting.value, str):
                yield scope, setting.source, setting.value


def _letters(post: KeyPost) -> Iterator[Finding]:
    try:
        post.rehearse()
    except AdminError as error:
        yield Finding(Grade.BAD, f"letter {error.where}", error.what, error.mend)
