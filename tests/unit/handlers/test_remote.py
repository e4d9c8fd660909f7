"""What handlers of CAs elsewhere share: credentials, TLS that is always verified, and answers
within limits."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import BaseModel, SecretStr

from smimefilter.handlers.registry import Registry, installed
from smimefilter.handlers.remote import (
    Answer,
    Link,
    NotDone,
    certificates_in,
    checked_url,
    chosen,
    cleaned,
    client_context,
    client_identity,
)
from smimefilter.pki.build import Identity
from smimefilter.pki.export import (
    certificates_pem,
    certificates_pkcs7,
    identity_pem,
    identity_pkcs12,
)
from smimefilter.pki.request import read_csr
from smimefilter.ports.audit import AuditRecord
from smimefilter.ports.handlers import HandlerTrouble
from smimefilter.store.database import Database
from tests.support.cas.desk import MASTER, Services, order
from tests.support.cas.server import (
    PASSWORD,
    Asked,
    CaServer,
    Fault,
    client,
    issue_for,
    stranger,
    tls_root,
)
from tests.support.pki import NOW, root

ROOTS = certificates_pem([tls_root().certificate]).decode()


class Echo(CaServer):
    """Says what it was asked."""

    busy = 0  # how often it says 503 first

    async def answer(self, asked: Asked) -> web.StreamResponse:
        if self.busy:
            self.busy -= 1
            return web.Response(status=503)
        return web.Response(body=asked.body or b"{}", content_type="application/json")


def link(
    server: CaServer, who: Identity | None = None, *, roots: str = ROOTS, timeout: float = 5
) -> Link:
    who = client().identity if who is None else who
    return Link(server.url, client_context(roots, who), timeout, pauses=(0.0, 0.0))


async def trouble(asking: Link, *, repeat: bool = False) -> HandlerTrouble:
    """What asking comes to."""
    try:
        with pytest.raises(HandlerTrouble) as caught:
            await asking.ask("POST", "/x", b"{}", query={"key": "hush"}, repeat=repeat)
    finally:
        await asking.close()
    text = str(caught.value)
    assert "\n" not in text
    assert "hush" not in text
    assert "Traceback" not in text
    return caught.value


# credentials


def as_settings(*texts: str | None) -> tuple[Any, ...]:
    return tuple(None if text is None else SecretStr(text) for text in texts)


ONE = client().identity
PEM = identity_pem(ONE, PASSWORD).decode()
PKCS12 = base64.encodebytes(identity_pkcs12(ONE, PASSWORD)).decode()
APART = (certificates_pem([ONE.certificate]).decode(), PEM[PEM.index("-----BEGIN ENC") :])


@pytest.mark.parametrize(
    "given", [(PEM, None, PASSWORD), (PKCS12, None, PASSWORD), (*APART, PASSWORD)]
)
def test_credentials_are_taken_in_every_form(given: tuple[str | None, ...]) -> None:
    found = client_identity(*as_settings(*given))
    assert found.certificate == ONE.certificate
    assert isinstance(client_context(ROOTS, found), ssl.SSLContext)


def test_certificates_above_ours_go_with_it() -> None:
    middle = root("R").issue("Middle", ca=True)
    ours = middle.issue("Us")
    pem = identity_pem(ours.identity, "pw").decode()
    assert middle.certificate in client_identity(*as_settings(pem, None, "pw")).chain


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((PEM, None, "wrong"), "client_password is not that of the client key"),
        ((PKCS12, None, "wrong"), "client_password is not that of the client key"),
        ((PEM, None, None), "the client key needs its password"),
        ((APART[0], None, None), "client_certificate has no certificate with its key"),
        (("rubbish", None, None), "the client certificate cannot be read"),
        ((PEM + identity_pem(stranger().identity, PASSWORD).decode(), None, PASSWORD), "more"),
    ],
)
def test_credentials_that_do_not_do_are_told_without_their_secrets(
    given: tuple[str | None, ...], said: str
) -> None:
    with pytest.raises(HandlerTrouble, match=said) as caught:
        client_identity(*as_settings(*given))
    assert PASSWORD not in str(caught.value)


def test_the_key_gets_to_no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    places = []
    load = ssl.SSLContext.load_cert_chain

    def watched(self: ssl.SSLContext, place: str, **given: Any) -> None:
        content = Path(place).read_bytes()
        places.append((str(Path(place).readlink()), b"ENCRYPTED PRIVATE KEY" in content))
        load(self, place, **given)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    before = len(list(Path("/proc/self/fd").iterdir()))
    client_context(ROOTS, ONE)
    assert places == [("/memfd:client (deleted)", True)]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_roots_that_are_none_are_told() -> None:
    with pytest.raises(HandlerTrouble, match="ca_certificates cannot be read"):
        client_context("rubbish", None)


@pytest.mark.parametrize(
    "url",
    [
        "http://ca.test", "ftp://ca.test", "ca.test", "https://", "https://a:b@ca.test",
        "https://ca.test/?q=1", "https://ca.test/#f", "https://ca.test:99999/",
        "https://ca.test/\n", "https://[::1", "",
    ],
)  # fmt: skip
def test_what_is_no_place_of_a_service_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        checked_url(url, ("https",))


def test_the_handlers_are_installed_and_describe_their_settings() -> None:
    for name in ("cmp", "ejbca", "intellicard"):
        kind = installed()[name]
        assert kind.answers_later
        for field, found in kind.settings.model_fields.items():
            assert found.description, field
        for secret in ("client_certificate", "client_key", "client_password"):
            annotation = kind.settings.model_fields[secret].annotation
            assert SecretStr in (annotation, *getattr(annotation, "__args__", ()))


# TLS


async def test_both_sides_know_each_other() -> None:
    async with Echo() as server:
        asking = link(server)
        answer = await asking.ask("POST", "/x", b'{"a": 1}')
        await asking.close()
        assert (answer.status, answer.body) == (200, b'{"a": 1}')


async def test_without_a_client_certificate_nothing_is_answered() -> None:
    async with Echo() as server:
        asking = Link(server.url, client_context(ROOTS, None), 5)
        assert "perhaps our certificate is not taken" in str(await trouble(asking))
        assert not server.asked


async def test_a_client_certificate_of_somebody_else_is_not_taken() -> None:
    async with Echo() as server:
        found = await trouble(link(server, stranger().identity))
        assert "perhaps our certificate is not taken" in str(found)
        assert not server.asked


async def test_a_server_of_another_root_is_not_trusted() -> None:
    async with Echo() as server:
        found = await trouble(
            link(server, roots=certificates_pem([stranger().chain[0]]).decode())
        )
        assert isinstance(found, NotDone)
        assert "certificate is not trusted" in str(found)
        assert not server.asked


async def test_a_server_of_another_name_is_not_trusted() -> None:
    async with Echo(host="other.example.com") as server:
        assert "certificate is not trusted" in str(await trouble(link(server)))
        assert not server.asked


async def test_a_server_that_is_not_there_has_done_nothing() -> None:
    async with Echo() as server:
        asking = link(server)
    found = await trouble(asking)
    assert isinstance(found, NotDone)
    assert "cannot be reached: connection refused" in str(found)


# answers


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.CLOSE, "closed the connection without an answer"),
        (Fault.SILENT, "no answer within 0.3 s"),
        (Fault.LARGE, "larger than 1 MiB"),
        (Fault.ENDLESS, "larger than 1 MiB"),
        (Fault.COMPRESSED, "compressed, which nobody asked for"),
        (Fault.CUT, "cut off"),
        (Fault.GARBLED, "TLS broke off before the answer"),
    ],
)
async def test_answers_that_are_none_are_trouble(fault: Fault, said: str) -> None:
    async with Echo() as server:
        server.fault = fault
        found = await trouble(link(server, timeout=0.3 if fault is Fault.SILENT else 10))
        assert said in str(found)
        assert not isinstance(found, NotDone)  # it may have done it


async def test_redirects_are_not_followed() -> None:
    async with Echo() as server:
        server.fault = Fault.REDIRECT
        asking = link(server)
        assert (await asking.ask("GET", "/x")).status == 302
        await asking.close()


async def test_only_what_may_be_asked_twice_is() -> None:
    async with Echo() as server:
        server.busy = 2
        asking = link(server)
        assert (await asking.ask("GET", "/x", repeat=True)).status == 200
        assert len(server.asked) == 3
        server.busy = 1
        assert (await asking.ask("POST", "/x", b"{}")).status == 503
        assert len(server.asked) == 4
        await asking.close()
        server.fault = Fault.CLOSE
        await trouble(link(server), repeat=True)
        assert len(server.asked) == 7


class Shape(BaseModel):
    number: int


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"number": "x"}',
        b"[" * 500_000,
        b"\xff",
        b'{"number": 1e9999}',
    ],
)
def test_json_that_is_none_is_trouble(body: bytes) -> None:
    with pytest.raises(HandlerTrouble, match="the CA's answer is not understood"):
        Answer(200, body).read_as(Shape)


def test_what_a_ca_says_is_one_short_line_without_secrets() -> None:
    asking = Link("https://ca.test", client_context("", None), 5)
    asking.hide("geheim")
    said = asking.shown("bad\r\n\x1b[31m word geheim\u202e " + "x" * 500)
    assert said.startswith("bad [31m word (secret) xxx")
    assert len(said) == 200
    assert cleaned("") == ""


# certificates

ALICE = issue_for(root(), order().csr)


@pytest.mark.parametrize(
    "text",
    [
        ALICE.der,
        certificates_pem([ALICE]),
        certificates_pkcs7([ALICE]),
        base64.b64encode(ALICE.der),
        base64.b64encode(base64.b64encode(ALICE.der)),
        base64.b64encode(certificates_pem([ALICE])),
    ],
)
def test_certificates_are_read_in_every_form(text: bytes) -> None:
    assert certificates_in(text) == [ALICE]


@pytest.mark.parametrize(
    "text", [b"", b"rubbish", b"AAAA", base64.b64encode(b"0" * 99), b"\x30"]
)
def test_what_holds_no_certificate_is_trouble(text: bytes) -> None:
    with pytest.raises(HandlerTrouble, match="holds no certificate"):
        certificates_in(text)


def test_the_certificate_for_our_key_is_chosen_wherever_it_stands() -> None:
    csr, other = read_csr(order().csr), root().issue("Other", mail="o@example.com").certificate
    ca = root().certificate
    found = chosen([ca, other, ALICE], csr)
    assert found is not None
    assert (found.certificate, found.chain) == (ALICE, (ca,))
    found = chosen([ca, other], csr)
    assert found is not None
    assert found.certificate == other
    assert chosen([ca], csr) is None


# settings in the store


async def test_settings_are_set_step_by_step_and_secrets_not_shown(database: Database) -> None:
    registry = Registry(database.handlers, MASTER, Services())
    record = AuditRecord(NOW, "ejbca", "configured")
    missing = await registry.configure(
        "ejbca", {"url": "https://ca.test/ejbca/", "client_password": PASSWORD}, record
    )
    assert "client_certificate" in missing
    with pytest.raises(HandlerTrouble, match="ejbca is not configured"):
        await registry.opened("ejbca")
    names = {"certificate_authority", "certificate_profile", "end_entity_profile"}
    rest = dict.fromkeys(names, "X") | {"client_certificate": PKCS12, "timeout": "30"}
    assert await registry.configure("ejbca", rest, record) == []
    await (await registry.opened("ejbca")).close()
    shown = await registry.shown("ejbca")
    assert shown["url"] == "https://ca.test/ejbca"
    assert shown["timeout"] == 30
    assert shown["client_certificate"] == shown["client_password"] == "(secret)"
