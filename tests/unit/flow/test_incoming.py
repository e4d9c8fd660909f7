"""What is decided and told of incoming mail: each action, each reason, each lesson."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any, cast

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from smimefilter.base.algorithms import ContentCipher
from smimefilter.base.envelope import Delivered, Fate, Recipient, Refused, Transaction
from smimefilter.base.errors import KeyTrouble, Status
from smimefilter.base.reasons import Because
from smimefilter.flow.carry import Carrier
from smimefilter.flow.harvest import Harvest
from smimefilter.message.wire import Message
from smimefilter.obs.log import LogJournal, make_log
from smimefilter.plan.facts import Mail
from smimefilter.plan.opened import OpeningRules
from smimefilter.plan.plan import Action, Decision, Plan
from smimefilter.ports.journal import MailRecord
from smimefilter.ports.relay import Outgoing
from tests.support.pki import NOW, Issued, key_of, root
from tests.support.plans import AUTHORITY, World, codes
from tests.support.ring import Ring
from tests.support.smime import clear_signed, encrypted, opaque_signed
from tests.unit.flow.test_filter import OK
from tests.unit.flow.test_oracles import PickyRelay, fate_and_copy
from tests.unit.flow.test_revalidation import Journal
from tests.unit.flow.test_spoofing import ALICE, BOB, HOST, TEXT, entity, letter, multipart

CAROL = "carol@in.test"


class Locked(Ring):
    """Some private keys cannot be unwrapped."""

    def __init__(self, world: World, *locked: str) -> None:
        super().__init__(world)
        self._locked = locked

    def private_key(self, thumbprint: str) -> PrivateKeyTypes:
        if thumbprint in self._locked:
            raise KeyTrouble(f"private key of {thumbprint[:16]}: wrapped by another key")
        return super().private_key(thumbprint)


def world(**settings: Any) -> World:
    return World().set("in.test", locality="internal", **settings)


def plan_of(mail: bytes, where: World, *to: str, ring: Ring | None = None) -> Plan:
    return where.plan(ALICE, *(to or (BOB,)), mail=mail, keys=ring or Ring(where))


def decision(mail: bytes, where: World) -> Decision:
    return plan_of(mail, where).decisions[0]


def detail(found: Decision, because: Because) -> str:
    return next(reason.detail for reason in found.reasons if reason.because is because)


@pytest.mark.parametrize("one_reply", [True, False])
def test_a_key_that_cannot_be_used_defers_for_whom_it_can(one_reply: bool) -> None:
    where = world().set(CAROL, decrypt="no")
    us = where.person(BOB, key=True)
    ring, mail = Locked(where, us.thumbprint), encrypted(letter(), us)
    plan = where.plan(ALICE, BOB, CAROL, mail=mail, keys=ring, one_reply=one_reply)
    bob, carol = plan.decisions
    assert bob.action is Action.DEFER
    assert bob.refusal is not None
    assert str(bob.refusal.status) == "4.7.5"
    assert us.thumbprint[:16] in detail(bob, Because.KEY_TROUBLE)
    assert us.thumbprint[:16] not in bob.refusal.text  # not for the sender
    assert carol.action is (Action.DEFER if one_reply else Action.OPEN)
    assert one_reply or Because.DECRYPT_OFF in codes(carol)


def test_another_key_does_where_one_cannot_be_used() -> None:
    where = world(decrypt_with="any")
    us, other = where.person(BOB, key=True), where.person(CAROL, key=True)
    mail = encrypted(letter(), us, other)
    found = plan_of(mail, where, ring=Locked(where, us.thumbprint)).decisions[0]
    assert found.action is Action.DECRYPT


def test_whom_a_mail_names_that_nobody_here_can_open() -> None:
    where = world()
    stranger = where.person("stranger@out.test")
    found = decision(encrypted(letter(), stranger), where)
    assert found.action is Action.UNDECRYPTABLE
    said = detail(found, Because.NO_DECRYPTION_KEY)
    assert f"{stranger.certificate.serial:x}" in said
    assert "Test Sub CA" in said


def test_a_key_that_policy_keeps_back_is_told_of() -> None:
    where = world().set(BOB, decrypt_with="recipient")
    other = where.person(CAROL, key=True)
    found = decision(encrypted(letter(), other), where)
    (withheld,) = [one for one in found.reasons if one.because is Because.KEY_WITHHELD]
    assert withheld.about == other.thumbprint
    assert "decrypt-with" in withheld.source


async def test_an_encrypted_part_is_left_alone_and_told_of() -> None:
    where = world()
    us = where.person(BOB, key=True)
    mail = multipart(TEXT, entity(encrypted(letter(), us)))
    found = decision(mail, where)
    assert found.action is Action.OPEN
    assert Because.PARTLY_ENCRYPTED in codes(found)
    assert Because.PARTLY_SIGNED not in codes(found)
    _, copy, _ = await fate_and_copy(mail, where)
    assert b"Note: only a part is encrypted" in copy.raw
    assert b"Pay 10 to Carol" not in copy.raw


def test_a_signed_part_beside_an_encrypted_one_is_both() -> None:
    where = world()
    author, us = where.person(ALICE), where.person(BOB, key=True)
    mail = multipart(entity(opaque_signed(letter(), author)), entity(encrypted(letter(), us)))
    found = codes(decision(mail, where))
    assert {Because.PARTLY_ENCRYPTED, Because.PARTLY_SIGNED} <= set(found)


def test_what_is_wrong_with_a_signature_is_said() -> None:
    where = world()
    author = where.person(ALICE)
    mail = clear_signed(letter(), author).replace(b"Carol", b"Mallory")
    found = decision(mail, where)
    assert found.action is Action.VERIFY
    (reason,) = [one for one in found.reasons if one.because is Because.SIGNATURE_BAD]
    assert reason.about == author.thumbprint
    assert reason.detail == "content-changed"


def test_policy_that_keeps_from_looking_is_a_reason() -> None:
    where = world(verify="no")
    found = decision(clear_signed(letter(), where.person(ALICE)), where)
    (reason,) = [one for one in found.reasons if one.because is Because.VERIFY_OFF]
    assert reason.source == "test:verify"


def test_a_forged_report_alone_is_an_action_of_its_own() -> None:
    found = decision(b"X-Smimefilter-Signed-By: boss@in.test\r\n" + letter(), world())
    assert found.action is Action.CLEAN


@pytest.mark.parametrize("forged", [b"X-Smimefilter-Signed-By: b@in.test\r\n", b""])
async def test_mail_to_the_postmaster_of_no_domain_is_cleaned(forged: bytes) -> None:
    where = World().set("global", info_header_prefix="X-Smimefilter-")
    mail = clear_signed(letter(), where.person(ALICE))
    found = plan_of(forged + mail, where, "postmaster").decisions[0]
    assert found.action is (Action.CLEAN if forged else Action.UNTOUCHED)
    assert (Because.FORGED_REPORT in codes(found)) is bool(forged)
    _, copy, _ = await fate_and_copy(forged + mail, where, address="Postmaster")
    assert copy.raw.endswith(mail)
    assert forged not in copy.raw or not forged


def record_of(plan: Plan, *fates: Fate) -> MailRecord:
    transaction = Transaction("id", ALICE, (Recipient(BOB),), letter())
    return MailRecord(transaction, plan, fates or (Delivered("q"),), 1.0, 1, "<1@out.test>")


async def test_a_new_key_is_told_of_once_also_where_nothing_is_learnt() -> None:
    where = world(harvest="never")
    known = where.person(ALICE)
    moment = where.moment()
    newer = AUTHORITY.issue("alice", mail=ALICE, key=key_of("p256", "a newer one"))
    plan = plan_of(clear_signed(letter(), newer), where)
    lesson = plan.decisions[0].lesson
    assert lesson is not None
    assert lesson.new_key
    assert not lesson.keep
    current = type("State", (), {"snapshot": moment.snapshot})()
    snapshots = type("Snapshots", (), {"current": current})()
    journal = Journal()
    sut = Harvest(cast(Any, snapshots), cast(Any, None), cast(Any, None), journal, lambda: NOW)
    for _ in range(3):
        sut.mail(record_of(plan))
    ((event, about),) = journal.notes
    assert event == "a correspondent signs with a new key"
    assert about["known"] == [known.thumbprint[:16]]
    await sut.write()  # nothing waits: the store would not bear it


def is_new_key(where: World, signer: Issued) -> bool:
    lesson = plan_of(clear_signed(letter(), signer), where).decisions[0].lesson
    assert lesson is not None
    return lesson.new_key


STRANGER = root("A root that nobody trusts", key="p256")
PAST = {"not_before": NOW - timedelta(days=400), "not_after": NOW - timedelta(days=30)}


@pytest.mark.parametrize("special", [{}, PAST])
def test_keys_of_trusted_and_of_expired_certificates_are_known(special: dict[str, Any]) -> None:
    where = world()
    one = key_of("p256", "the one that he has")
    where.people[ALICE] = AUTHORITY.issue("alice", mail=ALICE, key=one, **special)
    renewed = AUTHORITY.issue("alice", mail=ALICE, key=one)
    other = AUTHORITY.issue("alice", mail=ALICE, key=key_of("p256", "another"))
    assert not is_new_key(where, renewed)
    assert is_new_key(where, other)


@pytest.mark.parametrize("special", [{}, PAST])
def test_an_untrusted_certificate_makes_no_key_known(special: dict[str, Any]) -> None:
    where = world()
    theirs = key_of("p256", "of whom nobody knows")
    stored = STRANGER.issue("alice", mail=ALICE, key=theirs, **special)
    where.people["stored"] = stored
    newer = AUTHORITY.issue("alice", mail=ALICE, key=theirs)
    assert not is_new_key(where, newer)  # nothing is known of her
    known = where.person(ALICE)
    plan = plan_of(clear_signed(letter(), newer), where)
    assert plan.decisions[0].lesson is not None
    assert plan.decisions[0].lesson.new_key
    current = type("State", (), {"snapshot": where.moment().snapshot})()
    snapshots = type("Snapshots", (), {"current": current})()
    journal = Journal()
    sut = Harvest(cast(Any, snapshots), cast(Any, None), cast(Any, None), journal, lambda: NOW)
    sut.mail(record_of(plan))
    assert journal.notes[0][1]["known"] == [known.thumbprint[:16]]


def test_the_log_says_who_signed_and_what_it_is_worth(tmp_path: Any) -> None:
    where = world()
    author = where.person(ALICE)
    plan = plan_of(clear_signed(letter(), author), where)
    path = tmp_path / "log"
    with path.open("w") as out:
        LogJournal(make_log("json", "info", out)).mail(record_of(plan))
    line = path.read_text()
    assert '"action": "verify"' in line
    assert f'"address": "{ALICE}"' in line
    assert f'"certificate": "{author.thumbprint[:16]}"' in line
    assert '"signature": "good"' in line


async def test_the_log_says_what_keeps_a_mail_closed(tmp_path: Any) -> None:
    where = world()
    us, stranger = where.person(BOB, key=True), where.person("stranger@out.test")
    locked = plan_of(encrypted(letter(), us), where, ring=Locked(where, us.thumbprint))
    foreign = plan_of(encrypted(letter(), stranger), where)
    path = tmp_path / "log"
    with path.open("w") as out:
        for plan in (locked, foreign):
            LogJournal(make_log("json", "info", out)).mail(record_of(plan))
    first, second = path.read_text().splitlines()
    assert '"level": "warning"' in first
    assert f"key-trouble: private key of {us.thumbprint[:16]}" in first
    assert f"no-decryption-key: serial {stranger.certificate.serial:x} of" in second


def test_a_signature_that_is_not_good_is_not_stripped_for_another_one_that_is() -> None:
    where = world(strip_signature="yes")
    author, other = where.person(ALICE), where.person("other@out.test")
    mail = clear_signed(letter(), author)
    both = with_second_signer(mail, clear_signed(letter(), other))
    reading = plan_of(both, where).copies[0].reading
    assert reading is not None
    opening = Carrier(Ring(where)).reader(Mail(Message(both)), where.moment(), HOST)
    found = opening.opening(reading.rules)
    assert found.signed_by is not None
    assert found.stripped is None
    assert opening.opening(reading.rules) is found


def with_second_signer(mail: bytes, other: bytes) -> bytes:
    """The signer of another mail of the same content added to a clear-signed one."""
    first, second = (cms.ContentInfo.load(p7s(one)) for one in (mail, other))
    both = first["content"]
    both["signer_infos"] = cms.SignerInfos(
        [both["signer_infos"][0], second["content"]["signer_infos"][0]]
    )
    text = base64.encodebytes(bytes(first.dump(force=True))).replace(b"\n", b"\r\n")
    start = mail.index(b"\r\n\r\n", mail.index(b'name="smime.p7s"')) + 4
    return mail[:start] + text + mail[mail.index(b"\r\n--", start) :]


def p7s(mail: bytes) -> bytes:
    start = mail.index(b"\r\n\r\n", mail.index(b'name="smime.p7s"')) + 4
    return base64.b64decode(mail[start : mail.index(b"\r\n--", start)])


def test_recipients_with_the_same_keys_share_one_opening() -> None:
    where = world(decrypt_with="recipient")
    us = where.person(BOB, key=True)
    many = [f"bob+{n}@in.test" for n in range(20)]
    for mail in (encrypted(letter(), us), clear_signed(letter(), where.person(ALICE))):
        reader = Carrier(Ring(where)).reader(Mail(Message(mail)), where.moment(), HOST)
        rules = [OpeningRules(keys_for=(one,)) for one in many]
        assert len({id(reader.opening(one)) for one in rules}) == 1


def test_nobody_elses_report_reaches_the_postmaster() -> None:
    where = world()
    mail = b"X-Smimefilter-Signed-By: boss@in.test\r\n" + letter()
    plan = plan_of(mail, where, "postmaster")
    assert plan.decisions[0].action is Action.CLEAN
    assert plan_of(letter(), where, "postmaster").decisions[0].action is Action.UNTOUCHED
    prepared = Carrier(Ring(where)).prepare(
        plan.copies, Message(mail), NOW, "t" * 24,
        Carrier(Ring(where)).reader(Mail(Message(mail)), where.moment(), HOST),
    )  # fmt: skip
    assert b"X-Smimefilter" not in b"".join(prepared.chunks(plan.copies[0]))


async def test_what_the_next_hop_refuses_of_a_malleable_text_goes_on_as_it_came() -> None:
    where = world()
    us = where.person(BOB, key=True)

    class Strict(PickyRelay):
        async def deliver(self, outgoing: Outgoing) -> list[Fate]:
            await super().deliver(outgoing)
            refused = b"Pay 10 to Carol" in b"".join(outgoing.chunks)
            return [Refused(Status(5, "7.1"), "no such words here") if refused else OK]

    for cipher, fate in ((ContentCipher.AES_256_CBC, OK), (ContentCipher.AES_256_GCM, None)):
        mail = encrypted(letter(), us, cipher=cipher)
        found, copy, journal = await fate_and_copy(mail, where, relay=Strict())
        assert isinstance(found, Refused) if fate is None else found == fate
        (decision,) = journal.records[-1].plan.decisions  # type: ignore[union-attr]
        if fate is not None:
            assert decision.action is Action.UNDECRYPTABLE
            assert Because.NOT_TAKEN_OPEN in codes(decision)
            assert b"outcome=failed" in copy.raw


def test_what_was_taken_off_is_a_reason() -> None:
    where = world(strip_signature="yes")
    found = decision(clear_signed(letter(), where.person(ALICE)), where)
    assert Because.SIGNATURE_STRIPPED in codes(found)
    kept = decision(clear_signed(letter(), where.person(ALICE)), world())
    assert Because.SIGNATURE_STRIPPED not in codes(kept)
