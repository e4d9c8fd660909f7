"""Letters from templates: those that come with the gateway, or the administrator's own.

A template is text with a first line `Subject: …`, a blank line, and Jinja2 in it, run in its
sandbox: who writes one can change texts and nothing else. A folder of one's own is looked into
first, then the shipped ones in the language of the settings, then in English.
Raises `AdminError` for a template that is missing or broken.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jinja2 import BaseLoader, ChoiceLoader, FileSystemLoader, StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from smimefilter.base.errors import AdminError
from smimefilter.ports.notify import Letter

_SHIPPED: Final = Path(__file__).parent / "letters"
LANGUAGES: Final = tuple(
    sorted(one.name for one in _SHIPPED.iterdir() if (one / "key.txt").exists())
)
FALLBACK: Final = "en"


class TemplateLetters:
    """`ports.notify.Letters` from files."""

    def __init__(self, language: str = FALLBACK, folder: Path | None = None) -> None:
        """`folder`: of one's own templates, NAME.txt. Raises `AdminError`."""
        if language not in LANGUAGES and folder is None:
            raise AdminError(
                f"no letters in the language '{language}'",
                where="notify: language",
                mend=f"choose one of {', '.join(LANGUAGES)}, or name a folder of your own",
            )
        places: list[BaseLoader] = [] if folder is None else [FileSystemLoader(folder)]
        places += [FileSystemLoader(_SHIPPED / one) for one in (language, FALLBACK)]
        self._templates = ImmutableSandboxedEnvironment(
            loader=ChoiceLoader(places),
            undefined=StrictUndefined,
            autoescape=False,
            keep_trailing_newline=True,
        )

    def letter(self, name: str, facts: Mapping[str, Any]) -> Letter:
        """One by its name, with these facts in it. Raises `AdminError`."""
        try:
            text = self._templates.get_template(f"{name}.txt").render(**facts)
        except (TemplateError, TypeError, ValueError, AttributeError) as error:
            raise AdminError(
                f"the letter cannot be written: {error}",
                where=f"{name}.txt",
                mend="mend the template, or remove it so that the shipped one is used",
            ) from None
        head, _, body = text.partition("\n\n")
        if not head.startswith("Subject:"):
            raise AdminError(
                "the letter has no subject",
                where=f"{name}.txt",
                mend="begin the template with a line `Subject: …` and an empty line",
            )
        subject = head.removeprefix("Subject:").strip()
        return Letter(" ".join(subject.split()), body.strip() + "\n")
