"""What arrived, compared with what was sent and with what should have become of it.

What the filter says of its work counts for nothing here: signatures are verified and copies
decrypted by the openssl program, with the keys of the recipients.
"""

from __future__ import annotations

import email
import re
from collections.abc import Sequence
from typing import Final

from smimefilter.base.reasons import Because
from smimefilter.plan.plan import Action

from .mails import PHRASE
from .openssl import Openssl
from .outcome import Arrived, Case, Check, Sent
from .people import CAROL, local_part
from .results import Results

_FIELD: Final = re.compile(rb"[^\r\n]+\r\n(?:[ \t][^\r\n]*\r\n)*")
_RECEIVED: Final = re.compile(rb"Received: [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")


async def check(
    sent: Sent, arrived: Sequence[Arrived], results: Results, openssl: Openssl
) -> Case:
    """Write what became of a mail to its folder, and check it for every recipient."""
    look = _Look(sent, arrived, results, openssl)
    look.arrivals()
    for address, action in sent.mail.expected.items():
        look.answer(address, action)
        await look.copy(address, action)
    case = Case(sent, sorted(set(look.files.values())), look.checks)
    results.write(f"{sent.mail.name}/sent.eml", sent.mail.content)
    results.write_json(f"{sent.mail.name}/explain.json", case.as_data()["plan"])
    return case


class _Look:
    """The checks of one mail, one after the other."""

    def __init__(
        self, sent: Sent, arrived: Sequence[Arrived], results: Results, openssl: Openssl
    ) -> None:
        self._sent = sent
        self._arrived = arrived
        self._results = results
        self._openssl = openssl
        self.checks: list[Check] = []
        self.files: dict[str, str] = {}  # of the copy that a recipient got
        message_id = f"Message-ID: <{sent.mail.identifier}>\r\n".encode()
        self._copies = [one for one in arrived if message_id in one.content]
        for one in self._copies:
            name = self._name(f"arrived-{'-'.join(map(local_part, one.recipients))}")
            results.write(name, one.content)
            self.files |= dict.fromkeys(one.recipients, name)

    def arrivals(self) -> None:
        """Every copy that should arrive did, once, and no other."""
        wanted = [a for a, action in self._sent.mail.expected.items() if _leaves(action)]
        found = [address for one in self._copies for address in one.recipients]
        copies = "1 copy" if len(self._copies) == 1 else f"{len(self._copies)} copies"
        what = f"{copies} arrived, for {_and(wanted)}" if wanted else "nothing arrived"
        good = sorted(found) == sorted(wanted)
        self._that("", what, good, f"arrived for {_and(found) or 'nobody'}")

    def answer(self, address: str, action: Action) -> None:
        """The plan is the expected one, and the client was told so."""
        decision, reply = self._sent.decision(address), self._sent.reply(address)
        planned = decision.action if decision else None
        wanted = "250 2.0.0" if _leaves(action) else "554 5.7.5"
        good = planned is action and reply.startswith(f"{wanted} ")
        found = f"{planned or 'no plan'}, answered {reply or 'nothing'}"
        self._that(address, f"{action}, answered {wanted}", good, found)

    async def copy(self, address: str, action: Action) -> None:
        """The recipient's copy is what the action makes of the mail."""
        if action is Action.REFUSE:
            self._refused(address)
        elif address not in self.files:
            self._that(address, "has a copy", good=False)
        elif action is Action.UNTOUCHED:
            self._untouched(address)
        else:
            await self._protected(address, action)

    def _refused(self, address: str) -> None:
        got = [one for one in self._arrived if address in one.recipients]
        self._that(address, "got no copy of any mail", not got)
        decision, reply = self._sent.decision(address), self._sent.reply(address)
        selection = decision.certificates if decision else None
        candidates = selection.candidates if selection else ()
        expired = any(r.because is Because.EXPIRED for c in candidates for r in c.reasons)
        told = decision.refusal.text if decision and decision.refusal else ""
        good = expired and bool(told) and told in reply
        self._that(address, "the reply says why: the certificate has expired", good, reply)

    def _untouched(self, address: str) -> None:
        copy = self._results.read(self.files[address])
        received = _RECEIVED.match(copy)
        good = received is not None and copy[received.end() :] == self._sent.mail.content
        self._that(address, "as sent, byte for byte, but for one Received line", good)

    async def _protected(self, address: str, action: Action) -> None:
        file = self.files[address]
        before, after = self._sent.mail.content, self._results.read(file)
        same = _fields(before, content=False) == _fields(after, content=False)
        self._that(address, "From, To, Subject and the like as sent", same)
        if action in {Action.ENCRYPT, Action.SIGN_ENCRYPT}:
            await self._closed(address, file, after)
            file = await self._opened(address, file)
        else:
            await self._sealed(address, after)
        if action in {Action.SIGN, Action.SIGN_ENCRYPT}:
            file = await self._verified(address, file)
        same = _entity(self._results.read(file)) == _entity(before)
        self._that(address, "text and attachments as sent, byte for byte", same)

    async def _closed(self, address: str, file: str, copy: bytes) -> None:
        """Nobody reads the copy without the recipient's key."""
        content = email.message_from_bytes(copy).get_payload(decode=True)
        good = isinstance(content, bytes) and PHRASE not in content and PHRASE not in copy
        self._that(address, "not readable without a key", good)
        ran = await self._openssl.decrypt(file, CAROL)
        what, fails = "carol's key does not open it", f"! {ran.command}"
        self._that(address, what, not ran.good, command=fails)

    async def _opened(self, address: str, file: str) -> str:
        """The file of what the recipient's key made of a copy."""
        content = self._name(f"opened-by-{local_part(address)}")
        ran = await self._openssl.decrypt(file, address, content)
        self._that(address, "the recipient's key opens it", ran.good, ran.said, ran.command)
        return content

    async def _sealed(self, address: str, copy: bytes) -> None:
        """The signature is one over the words in the copy."""
        altered = self._name(f"altered-{local_part(address)}")
        self._results.write(altered, copy.replace(PHRASE, PHRASE.upper()))
        ran = await self._openssl.verify(altered, self._sent.mail.sender)
        good = PHRASE in copy and not ran.good
        what = "with words changed the signature fails"
        self._that(address, what, good, command=f"! {ran.command}")

    async def _verified(self, address: str, file: str) -> str:
        """The file of the content that the sender's signature is good for."""
        content, signer = self._name(f"verified-{local_part(address)}"), self._sent.mail.sender
        ran = await self._openssl.verify(file, signer, content)
        what = f"signed by {signer}, good up to the root"
        self._that(address, what, ran.good, ran.said, ran.command)
        return content

    def _name(self, stem: str) -> str:
        return f"{self._sent.mail.name}/{stem}.eml"

    def _that(
        self, address: str, what: str, good: bool, detail: str = "", command: str = ""
    ) -> None:
        found = "" if good else detail
        self.checks.append(Check(local_part(address), what, good, found, command))


def _leaves(action: Action) -> bool:
    return action is not Action.REFUSE


def _and(addresses: Sequence[str]) -> str:
    return " and ".join(local_part(address) for address in addresses)


def _entity(mail: bytes) -> tuple[list[bytes], bytes]:
    """What is protected: the Content fields and the body."""
    return _fields(mail, content=True), mail.partition(b"\r\n\r\n")[2]


def _fields(mail: bytes, *, content: bool) -> list[bytes]:
    """The header fields that describe the content, or those that do not."""
    head = mail.partition(b"\r\n\r\n")[0] + b"\r\n"
    return [
        field
        for field in _FIELD.findall(head)
        if field.lower().startswith(b"content-") is content
        and not field.lower().startswith((b"mime-version:", b"received:"))
    ]
