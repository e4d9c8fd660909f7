"""Short messages: transports by entry point, and the two that come with the gateway.

`spool` writes each message as a JSON file into a folder, for a program that sends them, or for
nobody (tests, sites without a network). `http` asks a provider's URL, with number and text put
into a template. Raises `NotifyTrouble`, `AdminError` for settings that are none; neither has
number or text in it.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self
from urllib.parse import quote

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from smimefilter.base.errors import AdminError
from smimefilter.ports.notify import SMS_GROUP, NotifyTrouble, Sms, SmsTransport

PATIENCE: Final = 30  # seconds


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SpoolSettings(_Settings):
    """Settings of `spool`."""

    folder: Path


class HttpSettings(_Settings):
    """Settings of `http`. In `url` and `body` stand {number} and {text}; in the URL they are
    quoted, in a body of JSON they are JSON strings without their quotes."""

    url: SecretStr  # it may have a key in it
    method: Annotated[str, Field(pattern="^(GET|POST)$")] = "POST"
    body: str = ""
    content_type: str = "application/x-www-form-urlencoded"
    authorization: SecretStr | None = None  # the header field


class SpoolSms:
    """Messages as files."""

    settings: ClassVar[type[BaseModel]] = SpoolSettings

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def opened(cls, settings: SpoolSettings) -> Self:
        """A transport."""
        return cls(settings.folder)

    async def send(self, number: str, text: str) -> None:
        """Write a file, whole or not at all, for its owner alone."""
        content = json.dumps({"number": number, "text": text}, ensure_ascii=False).encode()
        try:
            await asyncio.to_thread(_write, self._folder, content)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise NotifyTrouble(f"the SMS spool {self._folder} cannot be used: {why}") from None


class HttpSms:
    """Messages through a provider."""

    settings: ClassVar[type[BaseModel]] = HttpSettings

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings

    @classmethod
    def opened(cls, settings: HttpSettings) -> Self:
        """A transport."""
        return cls(settings)

    async def send(self, number: str, text: str) -> None:
        """Ask the provider."""
        settings = self._settings
        url = _filled(settings.url.get_secret_value(), quote(number, ""), quote(text, ""))
        headers = {"Content-Type": settings.content_type}
        if settings.authorization is not None:
            headers["Authorization"] = settings.authorization.get_secret_value()
        if "json" in settings.content_type:
            values = (json.dumps(number)[1:-1], json.dumps(text)[1:-1])
        else:
            values = (quote(number, ""), quote(text, ""))
        body = _filled(settings.body, *values).encode() if settings.method == "POST" else None
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
                session.request(
                    settings.method, url, data=body, headers=headers, allow_redirects=False
                ) as answer,
            ):
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise NotifyTrouble(
                f"the SMS provider cannot be reached: {type(error).__name__}"
            ) from None
        if not 200 <= status < 300:
            raise NotifyTrouble(f"the SMS provider answered {status}")


def sms_transport(name: str, settings: Mapping[str, Any]) -> Sms:
    """The transport of this name. Raises `AdminError`."""
    found = {entry.name: entry for entry in entry_points(group=SMS_GROUP)}
    if name not in found:
        raise AdminError(
            f"no SMS transport '{name}'",
            where="notify: sms",
            mend=f"one of {', '.join(sorted(found))}",
        )
    kind: type[SmsTransport] = found[name].load()
    try:
        return kind.opened(kind.settings.model_validate(dict(settings)))
    except ValidationError as error:
        one = error.errors()[0]
        where = f"notify: sms: {'.'.join(map(str, one['loc']))}"
        raise AdminError(one["msg"].lower(), where=where) from None


def _filled(template: str, number: str, text: str) -> str:
    return template.replace("{number}", number).replace("{text}", text)


def _write(folder: Path, content: bytes) -> None:
    name = secrets.token_hex(8)
    part = folder / f".{name}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(part, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / f"{name}.json")
