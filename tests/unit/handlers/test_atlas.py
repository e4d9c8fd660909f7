"""Orders from Atlas, end to end: desk, SQLite, handler, mutual TLS, and what answers there."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from smimefilter.flow.requests import LEASE
from smimefilter.handlers import atlas as module
from smimefilter.handlers import atlas_client
from smimefilter.handlers.atlas import SHOWN_BY, Atlas
from smimefilter.ports.handlers import HandlerTrouble
from smimefilter.ports.requests import RequestState
from smimefilter.ports.stores import Shelf
from smimefilter.store.database import Database
from tests.support.cas.atlas import KEY, SECRET, AtlasService
from tests.support.cas.desks import ALICE, Desk, Died, closing, deadly
from tests.support.cas.globalsign import Behave, closes, huge, says, silent, stranger, tls
from tests.support.pki import NOW, key_of

PROBLEM = "application/problem+json"


@pytest.fixture
def atlas() -> Iterator[AtlasService]:
    with AtlasService() as service:
        yield service


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas_client, "PAUSES", (0.0, 0.0))


def settings(atlas: AtlasService, **special: Any) -> dict[str, Any]:
    return {
        "url": atlas.url,
        "api_key": KEY,
        "api_secret": SECRET,
        "mtls_certificate": tls().client.certificate,
        "mtls_key": tls().client.key,
        "roots": tls().roots,
        "timeout": 5,
    } | special


@pytest.fixture
def desk(database: Database, atlas: AtlasService) -> Desk:
    return Desk(database, Atlas, settings(atlas))


async def test_issued_at_once(desk: Desk, atlas: AtlasService) -> None:
    done = await desk.ask()
    assert (done.state, done.outcome) == (RequestState.ISSUED, "issued")
    stored = await desk.database.certificates.all(Shelf.CERTIFICATES)
    subjects = {one.certificate.subject for one in stored}
    assert subjects == {"CN=Alice", "CN=Atlas Issuing CA", "CN=Atlas Root"}
    assert await desk.database.certificates.key(done.thumbprint)
    (order,) = atlas.orders
    assert order["subject_dn"] == {"common_name": "Alice"}  # what is static is not sent
    assert order["san"] == {"emails": ["alice@in.test"]}
    assert order["extended_key_usages"] == ["1.3.6.1.5.5.7.3.4"]
    assert order["signature"] == {"algorithm": "RSA", "hash_algorithm": "SHA-256"}
    assert order["validity"]["not_after"] - order["validity"]["not_before"] == 90 * 86400
    assert await desk.database.certificates.all(Shelf.ROOTS) == []


async def test_a_policy_decides_what_is_sent(desk: Desk, atlas: AtlasService) -> None:
    subject = {
        "common_name": {"presence": "REQUIRED"},
        "organization": {"presence": "FORBIDDEN"},
        "given_name": {"presence": "OPTIONAL"},
        "email": {"presence": "REQUIRED"},
    }
    atlas.policy |= {
        "subject_dn": subject,
        "extended_key_usages": {"ekus": {"static": True}},
        "signature": {"algorithm": {"presence": "STATIC"}, "hash_algorithm": {}},
        "public_key_signature": "FORBIDDEN",
    }
    wanted = replace(
        ALICE,
        days=800,
        given_name="Alice",
        surname="A",
        organisation="Example",
        digest="sha512",
    )
    assert (await desk.ask(wanted)).state is RequestState.ISSUED
    (order,) = atlas.orders
    assert order["subject_dn"] == {
        "common_name": "Alice", "given_name": "Alice", "email": "alice@in.test",
    }  # fmt: skip
    assert order["validity"]["not_after"] - order["validity"]["not_before"] == 365 * 86400
    assert not {"extended_key_usages", "signature", "public_key_signature"} & order.keys()


async def test_a_csr_in_the_place_of_the_key(desk: Desk, atlas: AtlasService) -> None:
    atlas.policy["public_key"] = {"key_format": "PKCS10"}
    assert (await desk.ask()).state is RequestState.ISSUED
    (order,) = atlas.orders
    assert order["public_key"].startswith("-----BEGIN CERTIFICATE REQUEST")


@pytest.mark.parametrize("kind", ["rsa2048", "p256"])
async def test_the_proof_is_of_sha256_whatever_is_signed_with(
    desk: Desk, atlas: AtlasService, kind: str
) -> None:
    done = await desk.ask(replace(ALICE, key=kind, digest="sha384"))
    assert done.state is RequestState.ISSUED
    assert atlas.orders[0]["signature"]["hash_algorithm"] == "SHA-384"


@pytest.mark.parametrize(
    "policy", [{}, [], "x", {"validity": 7, "subject_dn": [], "san": None}]
)
async def test_a_policy_that_says_nothing_allows_what_is_usual(
    desk: Desk, atlas: AtlasService, policy: Any
) -> None:
    atlas.behave["GET /validationpolicy"] = says(json.dumps(policy))
    assert (await desk.ask(replace(ALICE, organisation=""))).state is RequestState.ISSUED


async def test_pending_then_issued(desk: Desk, atlas: AtlasService) -> None:
    atlas.unready = 4
    done = await desk.ask()
    assert done.state is RequestState.PENDING
    assert done.outcome == "Atlas is not ready with it"
    assert done.due == NOW + timedelta(minutes=2)
    done = await desk.again(done)
    assert done.state is RequestState.ISSUED
    assert len(atlas.orders) == 1


async def test_a_status_of_pending_is_waited_for(desk: Desk, atlas: AtlasService) -> None:
    atlas.behave["GET /certificates/"] = says('{"status": "PENDING"}')
    done = await desk.ask()
    assert "not issued yet" in done.outcome
    atlas.behave["GET /certificates/"] = says('{"status": "REVOKED"}')
    done = await desk.again(done)
    assert (done.state, done.outcome) == (RequestState.REFUSED, "Atlas has revoked it already")


async def test_no_chain_is_no_reason_to_refuse(desk: Desk, atlas: AtlasService) -> None:
    atlas.behave["GET /trustchain"] = says("[]")
    assert (await desk.ask()).state is RequestState.ISSUED


# the session


async def tested(desk: Desk) -> str:
    async with closing(desk.opened()) as handler:
        return await handler.test()


async def test_a_token_is_used_for_nine_minutes_and_given_up_on_401(
    desk: Desk, atlas: AtlasService
) -> None:
    async with closing(desk.opened()) as handler:
        await handler.test()
        await handler.test()
        assert atlas.logins == 1
        desk.now += timedelta(minutes=9)
        await handler.test()
        assert atlas.logins == 2
        atlas.forget_tokens()
        assert await handler.test()
        assert atlas.logins == 3


async def test_what_it_says_of_itself(desk: Desk, atlas: AtlasService) -> None:
    said = await tested(desk)
    assert said == "logged in; 7 certificates left; keys: RSA 2048, 4096, up to 365 days"
    atlas.quota = 0
    with pytest.raises(HandlerTrouble, match="quota of the Atlas account is used up"):
        await tested(desk)
    atlas.behave["GET /quotas"] = says("[1]")
    with pytest.raises(HandlerTrouble, match="does not say how many"):
        await tested(desk)


async def test_a_token_that_runs_out_between_policy_and_order(
    desk: Desk, atlas: AtlasService
) -> None:
    async def forgets(request: Any) -> Any:
        atlas.forget_tokens()
        return await says(json.dumps(atlas.policy))(request)

    atlas.behave["GET /validationpolicy"] = forgets
    assert (await desk.ask()).state is RequestState.ISSUED
    assert (atlas.logins, len(atlas.orders)) == (2, 1)


@pytest.mark.parametrize(
    ("special", "says_"),
    [
        ({"api_secret": "wrong"}, "does not take the API key and secret"),
        ({"roots": ""}, "certificate is not trusted"),
        ({"roots": stranger().root}, "certificate is not trusted"),
        ({"roots": "nonsense"}, "roots .* cannot be read"),
        ({"mtls_key": stranger().pair("x").key}, "do not fit"),
        ({"mtls_key": "nonsense"}, "do not fit"),
        ({"url": "http://127.0.0.1:1/v2"}, "one of https"),
        ({"url": "https://127.0.0.1:1/v2"}, "cannot be reached"),
    ],
)
async def test_trouble_is_told_without_secrets(
    database: Database, atlas: AtlasService, special: dict[str, str], says_: str
) -> None:
    desk = Desk(database, Atlas, settings(atlas, **special))
    with pytest.raises(HandlerTrouble, match=says_) as trouble:
        await tested(desk)
    assert SECRET not in str(trouble.value)
    assert "wrong" not in str(trouble.value)


async def test_a_client_certificate_of_a_stranger(
    database: Database, atlas: AtlasService
) -> None:
    pair = stranger().pair("mallory")
    special = {"mtls_certificate": pair.certificate, "mtls_key": pair.key}
    desk = Desk(database, Atlas, settings(atlas, **special))
    with pytest.raises(HandlerTrouble):
        await tested(desk)
    assert atlas.asked == []


MALFORMED: dict[str, Behave] = {
    "nothing": says(""),
    "no JSON": says("<html>"),
    "an array": says("[]"),
    "deep": says("[" * 100_000),
    "not UTF-8": says(b'{"a": "\xff"}'),
    "too much": huge,
    "closed": closes,
    "a redirect": says("", 302),
    "5xx": says("oops", 500),
    "no token": says('{"access_token": "a\\nb"}'),
}


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize("path", ["POST /login", "GET /quotas", "GET /certificates/"])
async def test_malformed_answers_are_trouble(
    desk: Desk, atlas: AtlasService, path: str, name: str
) -> None:
    atlas.behave[path] = MALFORMED[name]
    if "certificates" in path:
        done = await desk.ask()
        assert done.state is RequestState.PENDING
        assert desk.journal.troubles == []
        assert len(atlas.orders) == 1
        del atlas.behave[path]
        assert (await desk.again(done)).state is RequestState.ISSUED
        assert len(atlas.orders) == 1
        return
    with pytest.raises(HandlerTrouble):
        await tested(desk)


async def test_what_the_service_says_is_tamed(desk: Desk, atlas: AtlasService) -> None:
    text = '{"description": "no\\u001b[31m\\nand\\u202e ' + "x" * 2000 + '"}'
    atlas.behave["POST /certificates"] = says(text, 422, PROBLEM)
    done = await desk.ask()
    assert done.outcome.startswith("Atlas refuses it: no[31m and xxx")
    assert len(done.outcome) < 400
    assert done.outcome.isprintable()


async def test_what_it_says_of_a_request_is_told_without_its_secrets(
    desk: Desk, atlas: AtlasService
) -> None:
    async def echoes(request: web.Request) -> web.Response:
        told = {"description": f"no: {request.headers['Authorization']} {KEY} {SECRET}"}
        return web.json_response(told, status=422, content_type=PROBLEM)

    atlas.behave["POST /certificates"] = echoes
    done = await desk.ask()
    assert done.outcome == "Atlas refuses it: no: Bearer (secret) (secret) (secret)"


# refusals


async def test_what_the_policy_forbids_is_refused(desk: Desk, atlas: AtlasService) -> None:
    del atlas.policy["validity"]
    atlas.behave["POST /certificates"] = says(
        '{"description": "validation error", "errors": {"san": "not yours"}}', 422, PROBLEM
    )
    done = await desk.ask()
    assert done.state is RequestState.REFUSED
    assert done.outcome == "Atlas refuses it: validation error; san: not yours"


async def test_what_something_in_front_of_it_says_is_no_refusal(
    desk: Desk, atlas: AtlasService
) -> None:
    atlas.behave["POST /certificates"] = says("<h1>Bad Request</h1>", 400, "text/html")
    done = await desk.ask()
    assert (done.state, done.outcome) == (
        RequestState.PENDING, "Atlas says 400: no more than that",
    )  # fmt: skip
    atlas.behave.clear()
    assert (await desk.again(done)).state is RequestState.ISSUED


async def test_an_address_that_cannot_be_asked_for(desk: Desk, atlas: AtlasService) -> None:
    done = await desk.ask(replace(ALICE, address="älice@in.test"))
    assert done.state is RequestState.REFUSED
    assert "POST /certificates" not in atlas.asked


@pytest.mark.parametrize(
    ("status", "says_"),
    [(403, "Atlas says 403: no"), (404, "Atlas says 404: no"), (429, "no time for it: no"),
     (401, "Atlas says 401: no"), (503, "no time for it: no")],
)  # fmt: skip
async def test_what_may_be_over_later_is_sent_anew(
    desk: Desk, atlas: AtlasService, status: int, says_: str
) -> None:
    atlas.behave["POST /certificates"] = says('{"description": "no"}', status, PROBLEM)
    done = await desk.ask()
    assert done.state is RequestState.PENDING
    assert says_ in done.outcome
    assert await desk.state(done) == {}
    del atlas.behave["POST /certificates"]
    assert (await desk.again(done)).state is RequestState.ISSUED
    assert "GET /stats/issued" not in atlas.asked  # it was certain that nothing was ordered


async def test_a_busy_service(desk: Desk, atlas: AtlasService) -> None:
    atlas.behave["GET /validationpolicy"] = says("", 503)
    done = await desk.ask()
    assert (done.state, done.outcome) == (RequestState.PENDING, "Atlas is busy")
    atlas.behave = {"POST /login": says("", 503)}
    assert (await desk.again(done)).outcome == "Atlas is busy"
    assert await desk.state(done) == {}


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "another key": ({"key": key_of("rsa2048", "other").public_key()}, "for another key"),
    "another address": ({"addresses": ("mallory@in.test",)}, "names mallory@in.test"),
    "more": ({"addresses": ("alice@in.test", "boss@in.test")}, "others too: 'boss@in.test'"),
    "a CA": ({"ca": True}, "that of a CA"),
    "expired": ({"not_after": NOW - timedelta(days=1), "not_before": NOW - timedelta(days=2)},
                "has expired"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_certificates_are_refused(
    desk: Desk, atlas: AtlasService, name: str
) -> None:
    atlas.special, said = HOSTILE[name]
    done = await desk.ask()
    assert done.state is RequestState.REFUSED
    assert said in done.outcome
    assert await desk.database.certificates.keys() == []
    assert await desk.database.certificates.all(Shelf.CERTIFICATES) == []


# never twice


LOST: dict[str, Behave] = {
    "closed": closes,
    "silent": silent,
    "5xx": says("oops", 502),
    "busy, says a proxy": says("busy", 503, "text/html"),
    "accepted": says("", 202),
    "no location": says("", 201),
}


@pytest.mark.parametrize("name", LOST)
async def test_an_answer_that_is_lost_orders_nothing_twice(
    database: Database, atlas: AtlasService, name: str
) -> None:
    desk = Desk(database, Atlas, settings(atlas, timeout=0.3 if name == "silent" else 5))
    atlas.after["POST /certificates"] = LOST[name]
    done = await desk.ask()
    assert done.state is RequestState.PENDING
    assert "ordering" in await desk.state(done)
    atlas.after.clear()
    done = await desk.again(done)
    assert done.state is RequestState.ISSUED
    assert len(atlas.orders) == 1


async def test_an_order_that_got_lost_is_sent_anew_when_it_would_be_known(
    desk: Desk, atlas: AtlasService
) -> None:
    for number in range(3):  # of others
        atlas.behave.clear()
        assert (await desk.ask(replace(ALICE, common_name=f"N{number}"))).thumbprint
    atlas.most_per_page = 2
    atlas.behave["POST /certificates"] = closes
    done = await desk.ask()
    atlas.behave.clear()
    while "to be seen" in (done := await desk.again(done)).outcome:
        assert desk.now < NOW + SHOWN_BY
    assert done.state is RequestState.ISSUED
    assert desk.now >= NOW + SHOWN_BY
    assert len(atlas.orders) == 4


async def test_an_order_that_is_not_issued_yet_is_found_when_it_is(
    desk: Desk, atlas: AtlasService
) -> None:
    atlas.unready = 2
    atlas.after["POST /certificates"] = closes
    done = await desk.ask()
    atlas.after.clear()
    desk.now += timedelta(hours=1)
    for _ in range(2):
        done = await desk.again(done)
        assert done.outcome == "Atlas is not ready with it"
    assert (await desk.again(done)).state is RequestState.ISSUED
    assert len(atlas.orders) == 1


async def test_nothing_is_ordered_while_nobody_can_tell(
    desk: Desk, atlas: AtlasService, monkeypatch: pytest.MonkeyPatch
) -> None:
    atlas.after["POST /certificates"] = closes
    done = await desk.ask()
    atlas.after.clear()
    atlas.behave["GET /stats"] = says('{"description": "no"}', 403)
    desk.now += timedelta(hours=1)
    assert "403" in (await desk.again(done)).outcome
    for odd in ('{"a": 1}', "[1]", '[{"serial_number": "../login"}]', '[{"serial_number": 7}]'):
        atlas.behave["GET /stats"] = says(odd)
        assert "does not say what it issued" in (await desk.again(done)).outcome
    del atlas.behave["GET /stats"]
    monkeypatch.setattr(module, "MOST_PAGES", 0)
    assert "too many" in (await desk.again(done)).outcome
    monkeypatch.undo()
    assert (await desk.again(done)).state is RequestState.ISSUED
    assert len(atlas.orders) == 1


@pytest.mark.parametrize("at", range(1, 7))  # there are five
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_process_that_dies_orders_nothing_twice(
    desk: Desk, atlas: AtlasService, monkeypatch: pytest.MonkeyPatch, at: int, when: str
) -> None:
    """It dies before or after each of its requests to Atlas."""
    real: Callable[..., Any] = atlas_client.Remote.ask

    (stored,) = await desk.desk().submit([ALICE], "remote")
    monkeypatch.setattr(atlas_client.Remote, "ask", deadly(real, at, when))
    with contextlib.suppress(Died, BaseExceptionGroup):
        await desk.desk().work([stored.id])
    monkeypatch.setattr(atlas_client.Remote, "ask", real)
    desk.now += LEASE + timedelta(minutes=1)
    for _ in range(3):
        await desk.desk().work_due(9)
        desk.now += timedelta(hours=1)
    assert (await desk.desk().find(stored.id)).state is RequestState.ISSUED
    assert len(atlas.orders) == 1
