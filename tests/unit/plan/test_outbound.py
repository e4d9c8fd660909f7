"""The plan of a mail: the lattice of preferences, refusals, copies and who sees whom."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.base.algorithms import Capabilities
from smimefilter.base.reasons import Because
from smimefilter.plan.plan import Action
from tests.support.pki import NOW
from tests.support.plans import AUTHORITY, World, codes, mail_to

ALICE, BOB, CAROL = "alice@in.test", "bob@out.test", "carol@out.test"


@pytest.fixture
def world() -> World:
    world = World()
    world.person(ALICE, key=True)
    world.person(BOB)
    return world


@pytest.mark.parametrize(
    ("ours", "theirs", "has_certificate", "expected"),
    [
        ("allow", "allow", True, Action.SIGN_ENCRYPT),
        ("allow", "allow", False, Action.UNTOUCHED),
        ("allow", "never", True, Action.UNTOUCHED),
        ("allow", "mandatory", True, Action.SIGN_ENCRYPT),
        ("allow", "mandatory", False, Action.REFUSE),
        ("never", "allow", True, Action.UNTOUCHED),
        ("never", "never", True, Action.UNTOUCHED),
        ("never", "mandatory", True, Action.SIGN_ENCRYPT),
        ("never", "mandatory", False, Action.REFUSE),
        ("mandatory", "allow", True, Action.SIGN_ENCRYPT),
        ("mandatory", "never", True, Action.SIGN_ENCRYPT),
        ("mandatory", "never", False, Action.REFUSE),
        ("mandatory", "mandatory", False, Action.REFUSE),
    ],
)
def test_the_stricter_side_decides_on_encryption(
    world: World, ours: str, theirs: str, has_certificate: bool, expected: Action
) -> None:
    to = BOB if has_certificate else CAROL
    world.set(ALICE, encrypt=ours).set(to, encrypt=theirs)
    assert world.plan(ALICE, to).decisions[0].action is expected


@pytest.mark.parametrize(
    ("sign", "encrypt", "expected"),
    [
        ("never", "never", Action.UNTOUCHED),
        ("never", "allow", Action.ENCRYPT),
        ("when-encrypting", "never", Action.UNTOUCHED),
        ("when-encrypting", "allow", Action.SIGN_ENCRYPT),
        ("always", "never", Action.SIGN),
        ("always", "allow", Action.SIGN_ENCRYPT),
    ],
)
def test_signing_follows_the_sender(
    world: World, sign: str, encrypt: str, expected: Action
) -> None:
    world.set(ALICE, sign=sign, encrypt=encrypt)
    assert world.plan(ALICE, BOB).decisions[0].action is expected


def test_internal_recipients_are_left_alone(world: World) -> None:
    world.set("out.test", locality="internal").set(ALICE, encrypt="mandatory", sign="always")
    plan = world.plan(ALICE, BOB)
    assert codes(plan.decisions[0]) == [Because.LOCALITY_INTERNAL]
    assert plan.copies[0].is_untouched


@pytest.mark.parametrize(
    ("rule", "wish", "expected"),
    [
        ("bounce-recipient", "allow", [Action.REFUSE, Action.SIGN_ENCRYPT]),
        ("bounce-all", "allow", [Action.REFUSE, Action.REFUSE]),
        ("send-clear", "allow", [Action.UNTOUCHED, Action.SIGN_ENCRYPT]),
        ("bounce-recipient", "mandatory", [Action.REFUSE, Action.SIGN_ENCRYPT]),
        ("bounce-all", "mandatory", [Action.REFUSE, Action.REFUSE]),
        ("send-clear", "mandatory", [Action.REFUSE, Action.SIGN_ENCRYPT]),
    ],
)
def test_a_missing_certificate(
    world: World, rule: str, wish: str, expected: list[Action]
) -> None:
    world.set(ALICE, encrypt=wish, on_missing_certificate=rule)
    plan = world.plan(ALICE, CAROL, BOB)
    assert [decision.action for decision in plan.decisions] == expected
    if Action.SIGN_ENCRYPT not in expected:
        assert plan.copies == ()


def test_an_expired_certificate_is_named_in_the_refusal_and_never_used(world: World) -> None:
    world.person(CAROL, not_after=NOW - timedelta(days=3))
    world.set(ALICE, encrypt="mandatory")
    decision = world.plan(ALICE, CAROL).decisions[0]
    assert decision.action is Action.REFUSE
    assert decision.refusal is not None
    assert "expired" in decision.refusal.text
    assert decision.certificates is not None
    (candidate,) = decision.certificates.unusable
    assert Because.EXPIRED in {reason.because for reason in candidate.reasons}


def test_copies_with_equal_treatment_are_one(world: World) -> None:
    world.person(CAROL)
    plan = world.plan(ALICE, BOB, CAROL)
    (copy,) = plan.copies
    assert copy.recipients == (0, 1)
    assert copy.encryption is not None
    assert len(copy.encryption.certificates) == 2


def test_a_hidden_recipient_gets_its_own_copy(world: World) -> None:
    world.person(CAROL)
    plan = world.plan(ALICE, BOB, CAROL, mail=mail_to(ALICE, [BOB]))
    by_recipient = {copy.recipients: copy for copy in plan.copies}
    assert set(by_recipient) == {(0,), (1,)}
    shown = by_recipient[(0,)].encryption
    hidden = by_recipient[(1,)].encryption
    assert shown is not None
    assert hidden is not None
    assert shown.certificates == (world.certificate(BOB),)
    assert hidden.certificates == (world.certificate(CAROL),)


@given(
    hidden=st.sets(st.integers(0, 4)),
    without=st.sets(st.integers(0, 4)),
    wishes=st.lists(st.sampled_from(["never", "allow", "mandatory"]), min_size=5, max_size=5),
    ours=st.sampled_from(["never", "allow", "mandatory"]),
    rule=st.sampled_from(["bounce-recipient", "bounce-all", "send-clear", None]),
)
def test_invariants(
    hidden: set[int], without: set[int], wishes: list[str], ours: str, rule: str | None
) -> None:
    """Mandatory never yields a clear copy; no copy names another copy's hidden recipient;
    everybody has exactly one outcome."""
    world = World()
    world.person(ALICE, key=True)
    people = [f"p{n}@out.test" for n in range(5)]
    for number, address in enumerate(people):
        if number not in without:
            world.person(address)
        world.set(address, encrypt=wishes[number])
    world.set(ALICE, encrypt=ours, **({"on_missing_certificate": rule} if rule else {}))
    shown = [address for number, address in enumerate(people) if number not in hidden]
    plan = world.plan(ALICE, *people, mail=mail_to(ALICE, shown))
    placed = list(itertools.chain.from_iterable(copy.recipients for copy in plan.copies))
    refused = [n for n, decision in enumerate(plan.decisions) if decision.refusal]
    assert sorted([*placed, *refused]) == list(range(5))
    for copy in plan.copies:
        for position in copy.recipients:
            if "mandatory" in {ours, wishes[position]}:
                assert copy.encryption is not None
        if copy.encryption and len(copy.recipients) > 1:
            assert not {people[n] for n in copy.recipients} - set(shown)
        if copy.encryption:
            own = {world.certificate(people[n]) for n in copy.recipients}
            assert set(copy.encryption.certificates) == own


def test_triggers_make_allow_mandatory_and_are_cut(world: World) -> None:
    world.set(ALICE, encrypt_trigger_subject=r"\[encrypt\]\s*")
    mail = mail_to(ALICE, [BOB, CAROL], subject="[encrypt] figures")
    plan = world.plan(ALICE, BOB, CAROL, mail=mail)
    assert [d.action for d in plan.decisions] == [Action.SIGN_ENCRYPT, Action.REFUSE]
    assert plan.copies[0].cuts
    assert Because.ENCRYPT_TRIGGER in codes(plan.decisions[0])
    world.set(ALICE, encrypt="never")
    assert world.plan(ALICE, BOB, mail=mail).decisions[0].action is Action.UNTOUCHED


def test_sensitivity_and_header_trigger(world: World) -> None:
    world.set(
        ALICE,
        encrypt_trigger_sensitivity=["private"],
        encrypt_trigger_header="X-Encrypt: ^yes$",
    )
    for extra in ("Sensitivity: Private", "X-Encrypt: yes"):
        mail = mail_to(ALICE, [CAROL], extra=extra)
        assert world.plan(ALICE, CAROL, mail=mail).decisions[0].action is Action.REFUSE
    mail = mail_to(ALICE, [CAROL], extra="X-Encrypt: no")
    assert world.plan(ALICE, CAROL, mail=mail).decisions[0].action is Action.UNTOUCHED


def test_sign_trigger(world: World) -> None:
    world.set(ALICE, encrypt="never", sign_trigger_subject=r"\[sign\] ?")
    mail = mail_to(ALICE, [BOB], subject="[sign] hello")
    plan = world.plan(ALICE, BOB, mail=mail)
    assert plan.decisions[0].action is Action.SIGN
    assert plan.copies[0].cuts


def test_additional_certificates_are_in_every_encrypted_copy(world: World) -> None:
    escrow = world.person("escrow@in.test")
    world.set("global", additional_certificates=[escrow.thumbprint])
    plan = world.plan(ALICE, BOB)
    assert plan.copies[0].encryption is not None
    assert plan.copies[0].encryption.certificates == (
        world.certificate(BOB),
        escrow.certificate,
    )


def test_an_unusable_additional_certificate_defers_the_whole_mail(world: World) -> None:
    escrow = world.person("escrow@in.test", not_after=NOW - timedelta(days=1))
    world.set("global", additional_certificates=[escrow.thumbprint])
    plan = world.plan(ALICE, BOB, CAROL)
    assert [d.action for d in plan.decisions] == [Action.DEFER, Action.DEFER]
    assert plan.copies == ()
    assert plan.decisions[0].refusal is not None
    assert plan.decisions[0].refusal.status.category == 4
    world.set("global", additional_required="no")
    assert world.plan(ALICE, BOB).decisions[0].action is Action.SIGN_ENCRYPT


@pytest.mark.parametrize(
    ("identity", "author", "sign", "expected"),
    [
        ("from-equals-envelope", ALICE, "always", Action.SIGN_ENCRYPT),
        ("from-equals-envelope", "boss@in.test", "always", Action.REFUSE),
        ("from-equals-envelope", "boss@in.test", "when-encrypting", Action.ENCRYPT),
        ("envelope", "boss@in.test", "always", Action.SIGN_ENCRYPT),
        ("from", "boss@in.test", "always", Action.REFUSE),
    ],
)
def test_nobody_signs_in_anothers_name(
    world: World, identity: str, author: str, sign: str, expected: Action
) -> None:
    world.person("boss@in.test", key=True)
    world.set(ALICE, signing_identity=identity, sign=sign)
    plan = world.plan(ALICE, BOB, mail=mail_to(author, [BOB]))
    assert plan.decisions[0].action is expected
    for copy in plan.copies:
        if copy.signing:
            assert copy.signing.certificate == world.certificate(ALICE)


def test_from_needs_both_sides_to_agree(world: World) -> None:
    world.person("boss@in.test", key=True)
    world.set("in.test", signing_identity="from")
    plan = world.plan(ALICE, BOB, mail=mail_to("boss@in.test", [BOB]))
    assert plan.copies[0].signing is not None
    assert plan.copies[0].signing.certificate == world.certificate("boss@in.test")


@pytest.mark.parametrize("permit", ["boss@in.test", "*@in.test"])
def test_may_sign_for(world: World, permit: str) -> None:
    world.person("boss@in.test", key=True)
    world.set(ALICE, may_sign_for=[permit])
    plan = world.plan(ALICE, BOB, mail=mail_to("boss@in.test", [BOB]))
    assert plan.copies[0].signing is not None
    assert plan.copies[0].signing.certificate == world.certificate("boss@in.test")


@pytest.mark.parametrize(
    "header", ["From: alice@in.test, boss@in.test", "From: alice@in.test\r\nFrom: b@in.test"]
)
def test_several_authors_are_nobody(world: World, header: str) -> None:
    raw = f"{header}\r\nTo: {BOB}\r\n\r\nx\r\n".encode()
    plan = world.plan(ALICE, BOB, mail=raw)
    assert plan.decisions[0].action is Action.ENCRYPT
    assert Because.FROM_UNREADABLE in codes(plan.decisions[0])


def test_no_signing_certificate(world: World) -> None:
    world.set("in.test", sign="always", encrypt="never")
    plan = world.plan("dave@in.test", BOB)
    assert plan.decisions[0].action is Action.UNTOUCHED
    assert Because.NO_SIGNING_CERTIFICATE in codes(plan.decisions[0])
    world.set("in.test", on_missing_signature="refuse")
    assert world.plan("dave@in.test", BOB).decisions[0].action is Action.REFUSE


def test_too_large(world: World) -> None:
    world.set(ALICE, max_smime_size="100")
    plan = world.plan(ALICE, BOB)
    assert plan.decisions[0].action is Action.UNTOUCHED
    world.set(ALICE, encrypt="mandatory")
    decision = world.plan(ALICE, BOB).decisions[0]
    assert decision.refusal is not None
    assert str(decision.refusal.status) == "5.3.4"


def test_the_null_sender_is_never_signed_but_is_encrypted(world: World) -> None:
    world.set("global", sign="always")
    assert world.plan("", BOB).decisions[0].action is Action.ENCRYPT
    assert world.plan("", CAROL).decisions[0].action is Action.UNTOUCHED


def test_cipher_of_the_recipient_wins_where_set_there(world: World) -> None:
    world.set("global", content_cipher="aes-128-cbc")
    world.set(BOB, content_cipher="aes-256-gcm", key_transport="oaep")
    encryption = world.plan(ALICE, BOB).copies[0].encryption
    assert encryption is not None
    assert (encryption.cipher, encryption.transport) == ("aes-256-gcm", "oaep")
    world.person(CAROL)
    encryption = world.plan(ALICE, CAROL).copies[0].encryption
    assert encryption is not None
    assert encryption.cipher == "aes-128-cbc"


def test_signing_sends_the_intermediates_along(world: World) -> None:
    signing = world.plan(ALICE, BOB).copies[0].signing
    assert signing is not None
    assert signing.chain == (AUTHORITY.certificate,)


def test_an_unreadable_recipient_is_refused(world: World) -> None:
    decision = world.plan(ALICE, "nobody").decisions[0]
    assert decision.action is Action.REFUSE
    assert codes(decision) == [Because.BAD_ADDRESS]


def test_other_keys_than_rsa_get_their_own_copy(world: World) -> None:
    """NSS 3.87 cannot read mail that names an EC recipient, even for its RSA recipients."""
    world.people[CAROL] = AUTHORITY.issue("carol", mail=CAROL, key="rsa2048")
    plan = world.plan(ALICE, BOB, CAROL)
    assert {copy.recipients for copy in plan.copies} == {(0,), (1,)}


def test_a_single_label_domain_has_its_own_cipher(world: World) -> None:
    world.person("root@localhost")
    world.set("localhost", content_cipher="aes-128-cbc")
    encryption = world.plan(ALICE, "root@localhost").copies[0].encryption
    assert encryption is not None
    assert encryption.cipher == "aes-128-cbc"


@pytest.mark.parametrize(
    ("login", "author", "signed_by"),
    [
        (ALICE, ALICE, ALICE),
        ("Alice@IN.test", ALICE, ALICE),
        ("eve@in.test", ALICE, None),
        ("eve", ALICE, None),
        ("secretary@in.test", "boss@in.test", "boss@in.test"),
        ("secretary@in.test", ALICE, None),
    ],
)
def test_a_login_signs_for_itself_and_whom_it_may(
    world: World, login: str, author: str, signed_by: str | None
) -> None:
    """The envelope sender is what the author is: a logged-in client can claim any."""
    world.person("boss@in.test", key=True)
    world.set("secretary@in.test", may_sign_for=["boss@in.test"])
    plan = world.plan(author, BOB, login=login)
    signing = plan.copies[0].signing
    assert (signing and signing.certificate) == (
        world.certificate(signed_by) if signed_by else None
    )


def test_permits_of_a_claimed_sender_do_not_count_for_a_login(world: World) -> None:
    world.person("boss@in.test", key=True)
    world.set("secretary@in.test", may_sign_for=["boss@in.test"])
    mail = mail_to("boss@in.test", [BOB])
    plan = world.plan("secretary@in.test", BOB, mail=mail, login="eve@in.test")
    assert plan.copies[0].signing is None
    assert Because.LOGIN_MISMATCH in codes(plan.decisions[0])


@pytest.mark.parametrize(
    ("said", "settings", "cipher", "transport"),
    [
        ("aes-128-cbc aes-256-gcm oaep", {}, "aes-256-gcm", "oaep"),
        ("aes-128-cbc", {}, "aes-128-cbc", "pkcs1"),
        ("oaep", {}, "aes-256-cbc", "oaep"),
        ("aes-256-gcm oaep", {"content_cipher": "aes-192-cbc"}, "aes-192-cbc", "oaep"),
        ("aes-256-gcm oaep", {"key_transport": "pkcs1"}, "aes-256-gcm", "pkcs1"),
    ],
)
def test_what_a_correspondent_reads_counts_where_policy_says_nothing(
    said: str, settings: dict[str, str], cipher: str, transport: str
) -> None:
    world = World().set("global", **settings)
    world.person(BOB)
    world.capabilities[BOB] = Capabilities.of(said)
    (copy,) = world.plan(ALICE, BOB).copies
    assert copy.encryption
    assert (copy.encryption.cipher, copy.encryption.transport) == (cipher, transport)
