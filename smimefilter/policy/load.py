"""Policy files to scopes, all or nothing, and scopes to a policy file.

Three kinds of files, known by where they lie:

- `global.yaml`, or any other name at the top: `preferences` (global), `domains` (a list of
  what stands in a domain's file), `users` (address → preferences);
- `domains/*.yaml`: `domain` (or a pattern), `preferences`, `users` of that domain;
- `users/*.yaml`: `users`.

Leaves reading files to `files/`, YAML to `base/marked.py`, values to `preferences.py`. Raises
`AdminError` with `file:line:column`, for all that is wrong with all files at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import yaml

from smimefilter.base.errors import AdminError, joined
from smimefilter.base.marked import Field, Fields, Items, Node, Scalar, plain, read, where
from smimefilter.base.suggest import did_you_mean

from .preferences import ALL, RESET, BadValue, Preference, UnknownPreference, preference
from .scopes import GLOBAL, BadScope, Level, level_of, scope_key
from .tree import Scopes, Setting

_Handlers = Mapping[str, Callable[[Field], None]]

_SHOWN: Final = 50  # mistakes at once
_QUOTE: Final = "put a text that begins with '*', '[' or '{' into quotes"


def load(files: Mapping[str, str], folder: str = "") -> Scopes:
    """What files set. `files`: texts by name relative to the folder (`domains/a.yaml`), which
    is how sources name them; errors put `folder` before it. Raises `AdminError`."""
    loading = _Loading(f"{folder.rstrip('/')}/" if folder else "")
    for name in sorted(files):
        loading.file(name, files[name])
    if loading.errors:
        shown, more = loading.errors[:_SHOWN], len(loading.errors) - _SHOWN
        if more > 0:
            shown.append(AdminError(f"and {more} more mistakes in the policy files"))
        raise joined(shown)
    return loading.scopes


def dump(scopes: Scopes) -> str:
    """One policy file that sets the same; secrets are left out."""
    domains: dict[str, dict[str, Any]] = {}
    users: dict[str, Any] = {}
    document: dict[str, Any] = {}
    for scope in sorted(scopes):
        settings = _written(scopes[scope])
        match level_of(scope):
            case Level.GLOBAL:
                document["preferences"] = settings
            case Level.USER:
                users[scope] = settings
            case Level.DOMAIN | Level.PATTERN:
                domains[scope] = {"domain": scope, "preferences": settings}
    if domains:
        document["domains"] = list(domains.values())
    if users:
        document["users"] = users
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def _written(settings: Mapping[str, Setting]) -> dict[str, object]:
    found = {}
    for name in sorted(settings):
        if not ALL[name].secret:
            value = settings[name].value
            found[name] = "default" if value is RESET else ALL[name].dump(value)
    return found


class _Loading:
    """Scopes and errors as they come up, file after file."""

    def __init__(self, folder: str) -> None:
        self.scopes: dict[str, dict[str, Setting]] = {}
        self.errors: list[AdminError] = []
        self._folder = folder
        self._name = ""  # of the file at hand
        self._places: dict[str, str] = {}  # scope → where its preferences begin

    def file(self, name: str, text: str) -> None:
        self._name = name
        try:
            node = read(text, self._folder + name)
        except AdminError as error:
            self.errors.append(error)
            return
        folder, _, rest = name.rpartition("/")
        match folder:
            case "":
                self._document(node)
            case "domains":
                self._domain(node)
            case "users":
                self._each(node, {"users": self._users})
            case _:
                self._error(
                    f"'{rest}' is in a folder that has no meaning",
                    node,
                    "policy files are global.yaml, domains/*.yaml and users/*.yaml",
                )

    def _document(self, node: Node) -> None:
        self._each(
            node,
            {
                "preferences": lambda field: self._preferences(GLOBAL, field),
                "domains": self._domains,
                "users": self._users,
            },
        )

    def _domains(self, field: Field) -> None:
        if not isinstance(field.value, Items):
            self._error("takes a list of domains, each beginning with '- domain:'", field.value)
            return
        for item in field.value.items:
            self._domain(item)

    def _domain(self, node: Node) -> None:
        if not isinstance(node, Fields):
            self._error("takes lines beginning with 'domain: example.com'", node)
            return
        domain = self._domain_named(node)

        def preferences(field: Field) -> None:
            if domain:
                self._preferences(domain, field)

        self._each(
            node,
            {
                "domain": lambda _: None,
                "preferences": preferences,
                "users": lambda field: self._users(field, domain),
            },
        )

    def _domain_named(self, node: Fields) -> str:
        """The scope that `domain:` names; an empty text after an error."""
        field = node.fields.get("domain")
        if field is None:
            self._error("'domain' is missing", node, "begin with: domain: example.com")
            return ""
        text = plain(field.value)
        try:
            scope = scope_key(text) if isinstance(text, str) else GLOBAL
        except BadScope as error:
            self._error(str(error), field.value)
            return ""
        if level_of(scope) in {Level.DOMAIN, Level.PATTERN}:
            return scope
        mend = "" if isinstance(text, str) else _QUOTE
        self._error("'domain' takes a domain or a pattern '*.example.com'", field.value, mend)
        return ""

    def _users(self, field: Field, domain: str = "") -> None:
        for entry in self._fields(field.value).values():
            try:
                scope = scope_key(entry.key.text)
            except BadScope as error:
                self._error(str(error), entry.key)
                continue
            if level_of(scope) is not Level.USER:
                self._error(f"'{entry.key.text}' is not a mail address", entry.key)
            elif domain and not _is_within(scope, domain):
                self._error(f"'{entry.key.text}' is not of the domain '{domain}'", entry.key)
            else:
                self._preferences(scope, entry)

    def _preferences(self, scope: str, field: Field) -> None:
        place = f"{self._name}:{field.key.line}"
        before = self._places.setdefault(scope, place)
        if before is not place:
            whose = "global preferences are" if scope == GLOBAL else f"'{scope}' is"
            self._error(
                f"{whose} set a second time",
                field.key,
                f"{self._folder}{before} sets it already: keep one of the two",
            )
            return
        settings = self.scopes.setdefault(scope, {})
        for entry in self._fields(field.value).values():
            try:
                found = _fit(entry, scope)
            except ValueError as error:
                unknown = isinstance(error, UnknownPreference)
                self._error(str(error), entry.key if unknown else entry.value)
            else:
                source = f"{self._name}:{entry.key.line}"
                settings[found[0].name] = Setting(found[1], source)

    def _each(self, node: Node, handlers: _Handlers) -> None:
        """Give each field to its handler; unknown ones are errors."""
        for name, field in self._fields(node).items():
            handler = handlers.get(name)
            if handler is not None:
                handler(field)
            else:
                mend = did_you_mean(name, handlers) or f"here stand: {', '.join(handlers)}"
                self._error(f"unknown key '{name}'", field.key, mend)

    def _fields(self, node: Node) -> Mapping[str, Field]:
        if isinstance(node, Fields):
            return node.fields
        if not (isinstance(node, Scalar) and (node.is_empty or node.is_null)):
            self._error("takes 'name: value' lines", node)
        return {}

    def _error(self, what: str, node: Node, mend: str = "") -> None:
        place = where(self._folder + self._name, node)
        self.errors.append(AdminError(what, where=place, mend=mend))


def _fit(entry: Field, scope: str) -> tuple[Preference[Any], object]:
    """The preference and its value. Raises `UnknownPreference`, `BadValue`."""
    found = preference(entry.key.text)
    if found.secret:
        raise BadValue(
            f"{found.name}: a secret is not kept in files; "
            f"set it by: smimefilter policy set {scope} {found.name}"
        )
    found.check_level(level_of(scope))
    if isinstance(entry.value, Scalar) and entry.value.is_empty:
        raise BadValue(
            f"{found.name}: no value; write 'default' for the built-in one, "
            "or leave the line out to inherit"
        )
    return found, found.parse_setting(plain(entry.value))


def _is_within(user: str, domain: str) -> bool:
    of = user[user.rindex("@") + 1 :]
    if level_of(domain) is Level.DOMAIN:
        return of == domain
    return of == domain[2:] or of.endswith(domain[1:])
