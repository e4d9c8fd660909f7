"""Keys and certificates to their owners: a PKCS#12 file by mail, its password by SMS.

The mail goes straight to the next hop: it is the gateway's own, and no policy encrypts it. The
file is protected by its password, which never goes the same way. An address that a certificate
does not name is refused unless that is asked for.

Leaves texts and transports to `ports/notify.py`, PKCS#12 to `pki/export.py`. RFC 7292, RFC 2046
and 2231 (the mail). Raises `AdminError`; `NotifyTrouble` where it may go well later.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

from smimefilter.base.envelope import Deferred, Delivered, Recipient, Refused
from smimefilter.base.errors import AdminError
from smimefilter.pki.build import Identity
from smimefilter.pki.export import CannotExport, identity_pkcs12
from smimefilter.policy.preferences import (
    CA_MAIL_SENDER,
    DISPLAY_NAME,
    PKCS12_PASSWORD,
    SMS_NUMBER,
)
from smimefilter.policy.tree import View
from smimefilter.ports.keys import Sealer
from smimefilter.ports.notify import Letter, Letters, NoSms, NotifyTrouble, Sms
from smimefilter.ports.relay import Outgoing, Relay
from smimefilter.ports.stores import Preferences

from .preferences import set_preference
from .requests import Done, Step

KEY_LETTER: Final = "key"
PASSWORD_LETTER: Final = "password-sms"  # noqa: S105 - the name of a text


@dataclass(frozen=True, slots=True)
class _Named:
    """A certificate as letters tell of it."""

    name: str
    until: datetime
    root: str


_EXAMPLE: Final = _Named("R5jmJC8xq0-example", datetime(2030, 1, 1, tzinfo=UTC), "CN=Root")


class KeyPost:
    """Sends keys."""

    def __init__(
        self,
        *,
        relay: Relay,
        letters: Letters,
        sms: Sms,
        hostname: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._relay = relay
        self._letters = letters
        self._sms = sms
        self._hostname = hostname
        self._clock = clock

    async def send(
        self,
        identities: Sequence[Identity],
        to: str,
        sender: str | None,
        password: str,
        *,
        allow_mismatch: bool = False,
        legacy: bool = False,
    ) -> None:
        """Mail these, each as a PKCS#12 file. `sender`: as preferences have it. Raises
        `AdminError`, `NotifyTrouble`."""
        if sender is None:
            raise no_sender()
        if not password:
            raise AdminError("a key file needs a password")
        for one in identities:
            if one.certificate.is_ca:
                raise AdminError(
                    "this is a CA: its key is not sent to anybody",
                    where=one.certificate.subject,
                    mend="carry it in a file: smimefilter key export, or ca offline",
                )
            named = one.certificate.addresses
            if to not in named and not allow_mismatch:
                raise AdminError(
                    f"the certificate names {', '.join(named) or 'no address'}, not {to}",
                    where=one.certificate.thumbprint[:16],
                    mend="send it to that address, or say --allow-mismatch",
                )
        files = [await self._file(one, password, legacy=legacy) for one in identities]
        content = self._mail(identities, files, to, sender)
        out = Outgoing(sender=sender, recipients=(Recipient(to),), chunks=[content])
        (fate,) = await self._relay.deliver(out)
        if not isinstance(fate, Delivered):
            said = fate.text if isinstance(fate, Deferred | Refused) else "no answer"
            raise NotifyTrouble(f"the mail to {to} was not taken: {said}")

    async def send_password(self, number: str | None, to: str, password: str) -> None:
        """Send the password of a key file by SMS. Raises `AdminError`, `NotifyTrouble`."""
        if number is None:
            raise no_number(to)
        facts = {"address": to, "password": password}
        await self._sms.send(number, self._letters.letter(PASSWORD_LETTER, facts).text)

    def check(self, view: View, address: str, *, sms: bool) -> None:
        """Whether a key can be sent to somebody, and its password by SMS where that is wanted:
        before either is. Raises `AdminError`."""
        if view.get(CA_MAIL_SENDER).value is None:
            raise no_sender()
        if sms and view.get(SMS_NUMBER).value is None:
            raise no_number(address)
        if sms and isinstance(self._sms, NoSms):
            raise AdminError(
                "there is no way to send an SMS", mend="name one in the settings: `notify: sms`"
            )

    def rehearse(self) -> None:
        """Write both letters to nobody. Raises `AdminError` where a template does not do."""
        self._key_letter("nobody@example.com", "ca@example.com", [_EXAMPLE])
        facts = {"address": "nobody@example.com", "password": _EXAMPLE.name}
        if _EXAMPLE.name not in self._letters.letter(PASSWORD_LETTER, facts).text:
            raise AdminError(
                "the letter does not say the password",
                where=f"{PASSWORD_LETTER}.txt",
                mend="write {{ password }} where it is to stand",
            )

    def _key_letter(self, to: str, sender: str, named: Sequence[_Named]) -> Letter:
        facts = {
            "address": to,
            "names": [one.name for one in named],
            "until": [one.until for one in named],
            "root": [one.root for one in named],
            "sender": sender,
        }
        return self._letters.letter(KEY_LETTER, facts)

    async def _file(self, identity: Identity, password: str, *, legacy: bool) -> bytes:
        name = identity.certificate.common_name
        try:
            return await asyncio.to_thread(
                identity_pkcs12, identity, password, name=name, old=legacy
            )
        except CannotExport as error:
            raise AdminError(str(error), where=identity.certificate.thumbprint[:16]) from None

    def _mail(
        self, identities: Sequence[Identity], files: Sequence[bytes], to: str, sender: str
    ) -> bytes:
        certificates = [one.certificate for one in identities]
        letter = self._key_letter(to, sender, [_named(one) for one in identities])
        mail = EmailMessage(policy=SMTP.clone(max_line_length=76, cte_type="7bit"))
        mail["From"], mail["To"], mail["Subject"] = sender, to, letter.subject
        mail["Date"] = format_datetime(self._clock())
        mail["Message-ID"] = f"<{secrets.token_hex(16)}@{self._hostname}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(letter.text)
        for number, (one, file) in enumerate(zip(certificates, files, strict=True), 1):
            named = one.addresses[0] if one.addresses else f"certificate-{number}"
            more = f"-{number}" if len(files) > 1 else ""
            mail.add_attachment(
                file, maintype="application", subtype="pkcs12", filename=f"{named}{more}.p12"
            )
        return mail.as_bytes()


def _named(one: Identity) -> _Named:
    top = (one.chain or (one.certificate,))[-1]
    return _Named(one.certificate.common_name, one.certificate.not_after, str(top.subject))


def no_sender() -> AdminError:
    """Keys cannot be mailed."""
    return AdminError(
        "there is no sender for mails with keys",
        mend="set one: smimefilter ca settings mail-sender ca@example.com",
    )


def no_number(address: str) -> AdminError:
    """A password cannot be sent."""
    return AdminError(
        f"there is no telephone number of {address}",
        mend=f"set it: smimefilter policy set {address} sms-number +49…",
    )


def generated(length: int) -> str:
    """A password of so many random bytes, in letters, digits, - and _."""
    return secrets.token_urlsafe(length)


def steps_after(
    done: Done,
    post: KeyPost,
    preferences: Preferences,
    sealer: Sealer,
    view_of: Callable[[str], View],
) -> list[Step]:
    """What is left to do for a request whose certificate is in the store."""
    wanted, steps = done.wanted, list[Step]()
    address, to = wanted.address, wanted.send_to or wanted.address

    async def add_user() -> None:
        name = DISPLAY_NAME.name
        await set_preference(preferences, sealer, address, name, wanted.common_name)

    async def store_password() -> None:
        name = PKCS12_PASSWORD.name
        await set_preference(preferences, sealer, address, name, done.password)

    async def send() -> None:
        identity = Identity(done.certificate, done.key, done.chain)
        await post.send(
            [identity],
            to,
            view_of(address).get(CA_MAIL_SENDER).value,
            done.password,
            allow_mismatch=bool(wanted.send_to),
            legacy=wanted.legacy,
        )

    async def send_password() -> None:
        number = view_of(address).get(SMS_NUMBER).value
        await post.send_password(number, address, done.password)

    if wanted.add_user:
        steps.append(("user added", add_user))
    if wanted.store_password:
        steps.append(("password stored", store_password))
    if wanted.send:
        steps.append((f"key sent to {to}", send))
    if wanted.sms:
        steps.append(("password sent by SMS", send_password))
    return steps
