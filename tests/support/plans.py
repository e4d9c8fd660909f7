"""Plans without a database: a handful of people, their certificates, and preferences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from smimefilter.base.algorithms import Capabilities
from smimefilter.base.envelope import Client, Recipient, Transaction
from smimefilter.base.reasons import Because
from smimefilter.flow.carry import Carrier
from smimefilter.message.wire import Message
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.crl import Crl
from smimefilter.plan.facts import Mail
from smimefilter.plan.outbound import outbound
from smimefilter.plan.plan import Decision, Plan
from smimefilter.plan.snapshot import CertificateIndex, Moment, Snapshot
from smimefilter.policy.preferences import preference
from smimefilter.policy.tree import Setting, Tree
from smimefilter.ports.keys import KeyRing
from smimefilter.trust.cache import Trust
from smimefilter.trust.knowledge import Knowledge
from tests.support.pki import NOW, Issued, root

ROOT = root()
AUTHORITY = ROOT.issue("Test Sub CA", ca=True)


class World:
    """People with certificates below `AUTHORITY`, and what is set for them."""

    def __init__(self) -> None:
        self.people: dict[str, Issued] = {}
        self.keys: set[str] = set()
        self.settings: dict[str, dict[str, Setting]] = {}
        self.capabilities: dict[str, Capabilities] = {}
        self.crls: list[Crl] = []

    def person(self, address: str, *, key: bool = False, **special: Any) -> Issued:
        """A certificate for an address; `key`: we hold its private key."""
        issued = AUTHORITY.issue(address.partition("@")[0], mail=address, key="p256", **special)
        self.people[address] = issued
        if key:
            self.keys.add(issued.thumbprint)
        return issued

    def certificate(self, address: str) -> Certificate:
        return self.people[address].certificate

    def set(self, scope: str, **values: Any) -> World:
        """Preferences at a scope, as a policy file has them."""
        for name, raw in values.items():
            dashed = name.replace("_", "-")
            value = preference(dashed).parse_setting(raw)
            self.settings.setdefault(scope, {})[dashed] = Setting(value, f"test:{dashed}")
        return self

    def moment(self) -> Moment:
        certificates = [issued.certificate for issued in self.people.values()]
        index = CertificateIndex((c, c.thumbprint, c.addresses) for c in certificates)
        knowledge = Knowledge(
            roots=[ROOT.certificate],
            authorities=[AUTHORITY.certificate],
            crls=self.crls,
            revision=1,
        )
        tree = Tree(files={scope: dict(found) for scope, found in self.settings.items()})
        keys, said = frozenset(self.keys), dict(self.capabilities)
        return Snapshot(1, tree, index, Trust(knowledge), keys, said).at(NOW)

    def plan(
        self,
        sender: str,
        *recipients: str,
        mail: bytes | None = None,
        login: str = "",
        keys: KeyRing | None = None,
        one_reply: bool = True,
    ) -> Plan:
        """The plan for a mail, by default one with everybody in To. With `keys` it is opened
        for internal recipients."""
        content = mail_to(sender, recipients) if mail is None else mail
        transaction = Transaction(
            "test",
            sender,
            tuple(Recipient(address) for address in recipients),
            content,
            client=Client(login=login),
            one_reply=one_reply,
        )
        found, moment = Mail(Message(content)), self.moment()
        reader = Carrier(keys).reader(found, moment, "gw.test") if keys is not None else None
        return outbound(transaction, found, moment, reader)


def mail_to(
    author: str, to: Sequence[str], *, subject: str = "hello", extra: str = ""
) -> bytes:
    """A small mail."""
    lines = [f"From: <{author}>", f"To: {', '.join(to)}", f"Subject: {subject}"]
    if extra:
        lines.append(extra)
    body = "text, long enough to be larger than a hundred bytes together with its headers"
    return "\r\n".join([*lines, "", body, ""]).encode()


def codes(decision: Decision) -> list[Because]:
    return [reason.because for reason in decision.reasons]
