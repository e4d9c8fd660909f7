"""CMP: against the mock server of OpenSSL, and against one of our own that breaks the rules."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import algos
from pydantic import ValidationError

from smimefilter.handlers.cmp import Cmp
from smimefilter.handlers.cmpsettings import CmpSettings
from smimefilter.pki import tlv
from smimefilter.pki.build import KEY_KINDS
from smimefilter.pki.cmp import (
    FAILURES,
    MOST_INFOS,
    Head,
    Reply,
    Signer,
    UnreadableCmp,
    build,
    read_reply,
)
from smimefilter.pki.cmpasn1 import PkiBody
from smimefilter.pki.cmpmac import PASSWORD_BASED_MAC, PBMAC1, MacProtector, mac_verifies
from smimefilter.pki.export import certificates_pem, identity_pem
from smimefilter.ports.handlers import (
    HandlerTrouble,
    Issued,
    Later,
    NotIssued,
    Order,
    Outcome,
)
from smimefilter.ports.requests import RequestState
from smimefilter.store.database import Database
from tests.support.cas.cmp import SECRET, FakeCmp
from tests.support.cas.desk import ALICE, Desk, Memory, Services, order, other_key
from tests.support.cas.server import PASSWORD, Fault, client, issue_for, stranger
from tests.support.needs import need
from tests.support.pki import NOW, key_of, root

AUTHORITY = root()
SIGNER = root("CMP Root").issue("CMP Server", key="p256")


@pytest.fixture
async def ca() -> AsyncIterator[FakeCmp]:
    async with FakeCmp() as running:
        yield running


def settings(ca: FakeCmp, **special: Any) -> CmpSettings:
    return CmpSettings.model_validate(ca.settings(**special))


async def request(
    found: CmpSettings, wanted: Order | None = None, memory: Memory | None = None
) -> Outcome:
    handler = Cmp.opened(found, Services())
    try:
        return await handler.request(wanted or order(), memory or Memory())
    finally:
        await handler.close()


async def ask(
    ca: FakeCmp, wanted: Order | None = None, memory: Memory | None = None, **special: Any
) -> Outcome:
    return await request(settings(ca, **special), wanted, memory)


async def trouble(ca: FakeCmp, *given: Any, **special: Any) -> str:
    with pytest.raises(HandlerTrouble) as caught:
        await ask(ca, *given, **special)
    text = str(caught.value)
    assert "\n" not in text
    assert SECRET not in text
    return text


# the mock server of OpenSSL

WITH_SECRET = {"reference": "ref", "secret": SECRET}
SECRET_THERE = ("-srv_ref", "ref", "-srv_secret", f"pass:{SECRET}")


@asynccontextmanager
async def mock(folder: Path, port: int, *options: str | Path) -> AsyncIterator[str]:
    """`openssl cmp` as a server that gives Alice a certificate; its URL."""
    issued, above = folder / "issued.pem", folder / "above.pem"
    issued.write_bytes(certificates_pem([issue_for(AUTHORITY, order().csr)]))
    above.write_bytes(certificates_pem([AUTHORITY.certificate]))
    process = await asyncio.create_subprocess_exec(
        need("openssl"), "cmp", "-port", str(port), "-rsp_cert", issued,
        "-rsp_extracerts", above, *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(15):
            assert process.stdout is not None
            while b"ACCEPT" not in (line := await process.stdout.readline()):
                assert line, "openssl cmp did not start"
            yield f"http://127.0.0.1:{port}/pkix/"
    finally:
        process.kill()
        await process.communicate()


@asynccontextmanager
async def opened(url: str, **given: Any) -> AsyncIterator[Cmp]:
    """A handler at the time of today, which OpenSSL looks at."""
    handler = Cmp.opened(
        CmpSettings(url=url, timeout=5, **given), Services(now=datetime.now(UTC))
    )
    try:
        yield handler
    finally:
        await handler.close()


@pytest.mark.parametrize("implicit", [False, True])
async def test_openssl_issues(
    tmp_path: Path, free_port: Callable[[], int], implicit: bool
) -> None:
    options = ["-grant_implicitconf"] if implicit else []
    given = WITH_SECRET | {"implicit_confirm": implicit}
    async with mock(tmp_path, free_port(), *SECRET_THERE, *options) as url:
        memory = Memory()
        async with opened(url, **given) as handler:
            outcome = await handler.request(order(), memory)
    assert isinstance(outcome, Issued)
    assert outcome.certificate.addresses == (ALICE,)
    assert outcome.chain == (AUTHORITY.certificate,)
    assert ("certificate" in memory.last) is not implicit  # before it was confirmed


async def test_openssl_lets_us_wait(tmp_path: Path, free_port: Callable[[], int]) -> None:
    polling = ("-poll_count", "2", "-check_after", "3")
    async with (
        mock(tmp_path, free_port(), *SECRET_THERE, *polling) as url,
        opened(url, **WITH_SECRET) as handler,  # it ties transactions to connections
    ):
        outcome = await handler.request(order(), Memory())
        assert isinstance(outcome, Later)
        assert outcome.again == timedelta(seconds=5)
        outcome = await handler.request(order(outcome.state), Memory())
        assert isinstance(outcome, Issued)


async def test_openssl_refuses(tmp_path: Path, free_port: Callable[[], int]) -> None:
    refusing = ("-pkistatus", "2", "-failure", "9", "-statusstring", "no proof")
    async with (
        mock(tmp_path, free_port(), *SECRET_THERE, *refusing) as url,
        opened(url, **WITH_SECRET) as handler,
    ):
        outcome = await handler.request(order(), Memory())
    assert outcome == NotIssued("the CA refuses: no proof (badPOP)")


async def test_openssl_has_another_secret(tmp_path: Path, free_port: Callable[[], int]) -> None:
    other = ("-srv_ref", "ref", "-srv_secret", "pass:other")
    async with (
        mock(tmp_path, free_port(), *other) as url,
        opened(url, **WITH_SECRET) as handler,
    ):
        with pytest.raises(HandlerTrouble, match="not that of anybody known"):
            await handler.request(order(), Memory())


async def test_openssl_by_signatures(tmp_path: Path, free_port: Callable[[], int]) -> None:
    server, trusted = tmp_path / "server.pem", tmp_path / "trusted.pem"
    server.write_bytes(identity_pem(SIGNER.identity, "pw"))
    trusted.write_bytes(certificates_pem([client().chain[0]]))
    signing = (
        "-srv_cert", server, "-srv_key", server, "-srv_keypass", "pass:pw",
        "-srv_trusted", trusted,
    )  # fmt: skip
    given = {
        "client_certificate": identity_pem(client().identity, PASSWORD).decode(),
        "client_password": PASSWORD,
        "signer_certificates": certificates_pem([SIGNER.certificate]).decode(),
    }
    async with (
        mock(tmp_path, free_port(), *signing) as url,
        opened(url, **given) as handler,
    ):
        said = await handler.test()
        outcome = await handler.request(order(), Memory())
    assert said == "the CMP server answers, and its protection is good"
    assert isinstance(outcome, Issued)


# the good way, over mutual TLS


@pytest.mark.parametrize(
    ("mac", "scheme"), [("password-based-mac", PASSWORD_BASED_MAC), ("pbmac1", PBMAC1)]
)
async def test_issued_and_confirmed_by_secret(mac: str, scheme: str) -> None:
    async with FakeCmp(mac=scheme) as ca:
        memory = Memory()
        outcome = await ask(ca, memory=memory, mac=mac)
        assert isinstance(outcome, Issued)
        assert outcome.chain == (ca.authority.certificate, *ca.authority.chain)
        assert ca.confirmed == [True]
        assert list(ca.issued) == [bytes.fromhex(order().id)]
        assert base64.b64decode(memory.last["certificate"]) == outcome.certificate.der


@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_issued_and_confirmed_by_signature(scheme: str) -> None:
    async with FakeCmp(signer=SIGNER, scheme=scheme) as ca:
        assert isinstance(await ask(ca), Issued)
        assert ca.confirmed == [True]


async def test_a_certificate_whose_signature_names_no_hash_is_confirmed(ca: FakeCmp) -> None:
    ca.authority = root("Ed", key="ed25519")
    assert isinstance(await ask(ca), Issued)
    assert ca.confirmed == [True]


async def test_implicitly_confirmed_where_both_want_that(ca: FakeCmp) -> None:
    assert isinstance(await ask(ca, implicit_confirm=True), Issued)
    assert ca.confirmed == []


async def test_in_work_then_issued(ca: FakeCmp) -> None:
    ca.polls, memory = 2, Memory()
    first = await ask(ca, memory=memory)
    assert isinstance(first, Later)
    assert first.note == "in work at the CA: soon"
    assert first.again == timedelta(seconds=7)
    assert memory.last["poll"] == -1  # before it was asked how it stands
    second = await ask(ca, order(first.state))
    assert isinstance(second, Later)
    assert isinstance(await ask(ca, order(second.state)), Issued)
    assert ca.confirmed == [True]


async def test_in_work_then_refused(ca: FakeCmp) -> None:
    ca.polls = 1
    first = await ask(ca)
    assert isinstance(first, Later)
    ca.refusal = ("badCertTemplate",)
    outcome = await ask(ca, order(first.state))
    assert outcome == NotIssued("the CA refuses: says no (badCertTemplate)")


async def test_a_wait_of_years_is_a_day(ca: FakeCmp) -> None:
    ca.polls, ca.check_after = 1, 10**12
    outcome = await ask(ca)
    assert isinstance(outcome, Later)
    assert outcome.again == timedelta(days=1)


# once


async def test_what_was_issued_is_confirmed_after_a_crash(ca: FakeCmp) -> None:
    memory = Memory()
    first = await ask(ca, memory=memory)
    ca.confirmed.clear()
    again = await ask(ca, order(memory.last))  # as if nobody had heard of the confirmation
    assert again == first
    assert ca.count("/cmp") == 3


@pytest.mark.parametrize("failure", ["certConfirmed", "badRequest"])
async def test_a_transaction_that_has_ended_meanwhile(ca: FakeCmp, failure: str) -> None:
    memory = Memory()
    first = await ask(ca, memory=memory)
    ca.confirm_failure = failure
    assert await ask(ca, order(memory.last)) == first


async def test_an_order_whose_answer_was_lost_is_asked_for(ca: FakeCmp) -> None:
    ca.strict, ca.fault = True, Fault.LOST
    await trouble(ca)
    ca.fault = None
    outcome = await ask(ca)
    assert isinstance(outcome, Issued)
    assert list(ca.issued.values()) == [outcome.certificate]


# what goes wrong


PASSING = {
    "badMessageCheck", "badTime", "wrongAuthority", "missingTimeStamp", "wrongIntegrity",
    "badRecipientNonce", "timeNotAvailable", "badSenderNonce", "signerNotTrusted",
    "transactionIdInUse", "unsupportedVersion", "notAuthorized", "systemUnavail",
    "systemFailure",
}  # fmt: skip


@pytest.mark.parametrize("error", [False, True])
@pytest.mark.parametrize("failure", FAILURES)
async def test_refusals(ca: FakeCmp, failure: str, error: bool) -> None:
    ca.refusal, ca.error = (failure,), error
    if failure in PASSING:
        assert f"says no ({failure})" in await trouble(ca)
    else:
        assert await ask(ca) == NotIssued(f"the CA refuses: says no ({failure})")


async def test_a_confirmation_that_is_not_taken(ca: FakeCmp) -> None:
    ca.confirm_failure = "badCertId"
    assert await ask(ca) == NotIssued("the CA refuses: says no (badCertId)")
    ca.confirm_failure = "systemUnavail"
    assert "systemUnavail" in await trouble(ca)


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        ("nonce", "not one to what was asked"),
        ("transaction", "not one to what was asked"),
        ("tampered", "not that of anybody known"),
        ("unprotected", "is without protection"),
        ("garbage", "not understood"),
    ],
)
@pytest.mark.parametrize("signer", [None, SIGNER])
async def test_answers_that_anybody_could_give(breaks: str, said: str, signer: Any) -> None:
    async with FakeCmp(signer=signer) as ca:
        ca.breaks = breaks
        assert said in await trouble(ca)
        assert ca.confirmed == []


async def test_a_refusal_without_protection_refuses_nothing(ca: FakeCmp) -> None:
    ca.breaks, ca.refusal, ca.error = "unprotected", ("badPOP",), True
    assert "somebody answers without protection: says no (badPOP)" in await trouble(ca)


async def test_signed_by_somebody_else() -> None:
    async with FakeCmp(signer=SIGNER) as ca:
        other = certificates_pem([stranger().certificate]).decode()
        assert "not that of anybody known" in await trouble(ca, signer_certificates=other)


async def test_another_secret(ca: FakeCmp) -> None:
    ca.secret = b"wrong"
    assert "not that of anybody known" in await trouble(ca)


async def test_an_error_comes_with_any_status(ca: FakeCmp) -> None:
    ca.http_status, ca.refusal, ca.error = 400, ("badPOP",), True
    assert isinstance(await ask(ca), NotIssued)


@pytest.mark.parametrize("status", [401, 404, 500, 503, 302])
async def test_no_cmp_at_all(ca: FakeCmp, status: int) -> None:
    ca.reply = (status, b"<html>", "text/html")
    assert f"HTTP {status}" in await trouble(ca)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.SILENT, "no answer within 1 s"),
        (Fault.LARGE, "larger than 128 KiB"),
        (Fault.CLOSE, "without an answer"),
    ],
)
async def test_a_server_that_misbehaves(ca: FakeCmp, fault: Fault, said: str) -> None:
    ca.fault = fault
    assert said in await trouble(ca, timeout=1)


async def test_without_a_client_certificate_that_it_knows() -> None:
    async with FakeCmp(clients=stranger()) as other:
        assert "perhaps our certificate is not taken" in await trouble(other)
        assert not other.asked


async def test_it_can_be_tried(ca: FakeCmp) -> None:
    handler = Cmp.opened(settings(ca), Services())
    assert await handler.test() == "the CMP server answers, and its protection is good"
    ca.breaks = "unprotected"
    with pytest.raises(HandlerTrouble, match="without protection"):
        await handler.test()
    await handler.close()


# settings


@pytest.mark.parametrize(
    "special", [{"url": "ftp://ca.test"}, {"mac": "none"}, {"recipient": "CA"}, {"x": 1}]
)
def test_settings_that_are_none(special: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CmpSettings.model_validate({"url": "http://ca.test/cmp", "secret": "x"} | special)


@pytest.mark.parametrize(
    ("special", "said"),
    [
        ({}, "needs a secret, or a client_certificate"),
        ({"secret": "x"}, "a secret needs its reference"),
        ({"signer_certificates": "rubbish"}, "signer_certificates holds no certificates"),
        (
            {
                "client_certificate": identity_pem(client().identity, PASSWORD).decode(),
                "client_password": PASSWORD,
            },
            "needs signer_certificates",
        ),
    ],
)
def test_settings_that_do_not_do(special: dict[str, Any], said: str) -> None:
    with pytest.raises(HandlerTrouble, match=said):
        Cmp.opened(CmpSettings(url="http://ca.test/cmp", **special), Services())


# protection


@pytest.mark.parametrize("scheme", [PASSWORD_BASED_MAC, PBMAC1])
def test_a_mac_is_of_its_secret_and_bytes(scheme: str) -> None:
    one, other = MacProtector(b"secret", scheme), MacProtector(b"secret", scheme)
    mac = one.protect(b"data")
    assert one.algorithm != other.algorithm  # a salt each
    assert mac_verifies(b"secret", one.algorithm, b"data", mac)
    assert not mac_verifies(b"secret", one.algorithm, b"date", mac)
    assert not mac_verifies(b"Secret", one.algorithm, b"data", mac)
    assert not mac_verifies(b"secret", other.algorithm, b"data", mac)


@pytest.mark.parametrize("scheme", [PASSWORD_BASED_MAC, PBMAC1])
@pytest.mark.parametrize("iterations", [0, -1, 10**7, 10**30])
def test_work_that_a_message_asks_for_is_bounded(
    monkeypatch: pytest.MonkeyPatch, scheme: str, iterations: int
) -> None:
    from smimefilter.pki import cmpmac

    made = (cmpmac._pbm if scheme == PASSWORD_BASED_MAC else cmpmac._pbmac1)(b"s", iterations)
    algorithm = algos.AlgorithmIdentifier({"algorithm": scheme, "parameters": made}).dump()
    with pytest.raises(UnreadableCmp, match="too much work"):
        mac_verifies(b"x", algorithm, b"", b"")


@pytest.mark.parametrize("kind", sorted(set(KEY_KINDS) - {"rsa1024", "rsa3072", "rsa4096"}))
def test_keys_sign_where_they_can(kind: str) -> None:
    key = key_of(kind, "Signer")
    if kind.startswith("x"):
        with pytest.raises(ValueError, match="does not sign"):
            Signer(key)
    else:
        assert Signer(key).protect(b"data")


@pytest.mark.parametrize(
    "der",
    [b"", b"\x30", b"\x30\x00", b"\x30\x80\x00\x00", b"rubbish", bytes(1000), b"\x30\x00x"],
)
def test_what_is_no_message(der: bytes) -> None:
    with pytest.raises(UnreadableCmp):
        read_reply(der)


def infos(count: int) -> bytes:
    """An answer with so many InfoTypeAndValue in its generalInfo."""
    info = tlv.written(tlv.SEQUENCE, tlv.written(tlv.OID, b"\x2a"))
    listed = tlv.written(0xA8, tlv.written(tlv.SEQUENCE, info * count))
    name = tlv.written(0xA4, tlv.written(tlv.SEQUENCE, b""))
    header = tlv.written(tlv.SEQUENCE, b"\x02\x01\x02" + name * 2 + listed)
    return tlv.written(tlv.SEQUENCE, header + tlv.written(0xB3, b"\x05\x00"))


def test_an_answer_may_have_so_many_infos_and_no_more() -> None:
    assert read_reply(infos(MOST_INFOS)).kind == "pkiconf"
    with pytest.raises(UnreadableCmp, match="more than 64 of generalInfo"):
        read_reply(infos(20_000))
    with pytest.raises(UnreadableCmp, match="larger than 128 KiB"):
        read_reply(infos(30_000))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"status": {"status": 1 << 99}}, "larger than any"),
        ({"status": {"status": 2, "status_string": ["x"] * 17}}, "more than 16 of freeText"),
        ({"status": {"status": 2, "fail_info": (1,) * 1000}}, "without end"),
        ({"status": {"status": 2}, "details": ["x"] * 1000}, "more than 16 of freeText"),
    ],
)
def test_what_an_error_has_without_end(content: Any, said: str) -> None:
    head = Head(sender_kid=b"", transaction=bytes(16), nonce=bytes(16), now=NOW)
    der = build(head, PkiBody("error", content), MacProtector(b"secret", PBMAC1))
    with pytest.raises(UnreadableCmp, match=said):
        read_reply(der)


async def test_answers_are_read_beside_the_event_loop(
    ca: FakeCmp, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def reading(der: bytes) -> Reply:
        threads.append(threading.current_thread())
        return read_reply(der)

    monkeypatch.setattr("smimefilter.pki.cmp.read_reply", reading)
    assert isinstance(await ask(ca), Issued)
    assert threads
    assert threading.main_thread() not in threads


# through the desk


async def test_requested_and_stored(ca: FakeCmp, database: Database) -> None:
    ca.polls = 1
    desk = Desk(database, Cmp, settings(ca))
    waiting = await desk.request()
    assert waiting.state is RequestState.PENDING
    assert (await desk.again(waiting)).state is RequestState.ISSUED
    assert set(ca.issued.values()) <= set(await desk.stored())
    assert ca.confirmed == [True]


async def test_what_was_issued_survives_trouble(ca: FakeCmp, database: Database) -> None:
    ca.confirm_failure = "systemUnavail"
    desk = Desk(database, Cmp, settings(ca))
    waiting = await desk.request()
    assert waiting.state is RequestState.PENDING
    ca.confirm_failure = ""
    assert (await desk.again(waiting)).state is RequestState.ISSUED
    assert len(ca.issued) == 1
    assert ca.count("/cmp") == 3  # p10cr once, certConf twice


@pytest.mark.parametrize(
    ("special", "why"),
    [
        ({"public": other_key()}, "it is for another key"),
        ({"addresses": ("mallory@example.com",)}, "it names mallory@example.com, not"),
        ({"not_before": NOW + timedelta(days=30)}, "it is not valid before"),
    ],
)
async def test_a_ca_that_gives_something_else(
    ca: FakeCmp, database: Database, special: dict[str, Any], why: str
) -> None:
    ca.special = special
    refused = await Desk(database, Cmp, settings(ca)).request()
    assert refused.state is RequestState.REFUSED
    assert why in refused.outcome
    assert ca.confirmed == [False]  # and the CA knows
