"""Triggers: a sender asks for encryption or a signature in the mail itself. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from smimefilter.policy.patterns import HeaderPattern
from smimefilter.policy.preferences import (
    ENCRYPT_TRIGGER_HEADER,
    ENCRYPT_TRIGGER_SENSITIVITY,
    ENCRYPT_TRIGGER_SUBJECT,
    SIGN_TRIGGER_HEADER,
    SIGN_TRIGGER_SUBJECT,
    Preference,
)
from smimefilter.policy.tree import View

from .facts import Mail


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger that was pulled: which preference, and what to cut from the subject."""

    name: str
    source: str
    cut: re.Pattern[str] | None = None


def asks_to_encrypt(view: View, mail: Mail) -> Trigger | None:
    """The trigger that makes encryption mandatory for this mail: subject, header, or its
    Sensitivity."""
    found = _pulled(view, mail, ENCRYPT_TRIGGER_SUBJECT, ENCRYPT_TRIGGER_HEADER)
    if found:
        return found
    wanted = view.get(ENCRYPT_TRIGGER_SENSITIVITY)
    if not mail.sensitivities.isdisjoint(wanted.value):
        return Trigger(ENCRYPT_TRIGGER_SENSITIVITY.name, wanted.source)
    return None


def asks_to_sign(view: View, mail: Mail) -> Trigger | None:
    """The trigger that asks for a signature on this mail: subject or header."""
    return _pulled(view, mail, SIGN_TRIGGER_SUBJECT, SIGN_TRIGGER_HEADER)


def _pulled(
    view: View,
    mail: Mail,
    subject: Preference[re.Pattern[str] | None],
    header: Preference[HeaderPattern | None],
) -> Trigger | None:
    """The trigger that this mail pulls, the one in the subject first."""
    pattern = view.get(subject)
    if pattern.value is not None and mail.header_matches("Subject", pattern.value):
        return Trigger(subject.name, pattern.source, pattern.value)
    wanted = view.get(header)
    if wanted.value is not None and mail.header_matches(
        wanted.value.name, wanted.value.pattern
    ):
        return Trigger(header.name, wanted.source)
    return None
