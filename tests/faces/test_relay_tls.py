"""TLS to the next hop, as its settings ask, and the probe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smimefilter import config
from smimefilter.base.envelope import Deferred, Delivered, Fate, Recipient
from smimefilter.base.errors import AdminError
from smimefilter.ports.relay import Outgoing
from smimefilter.smtp.connect import probe
from smimefilter.smtp.relay import SmtpRelay
from tests.support.smtp import EXTENSIONS, Certificates, Hop, both_loops

OFFERING = (*EXTENSIONS, "STARTTLS")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("strangers"))


async def deliver(hop: Hop, **settings: Any) -> Fate:
    next_hop = config.NextHop(port=hop.port, **settings)
    relay = SmtpRelay(config.Config(next_hop=next_hop), "gw.test")
    content = [b"x" * 1_000_000 + b"\r\n"]
    (fate,) = await relay.deliver(Outgoing("a@x.test", (Recipient("b@y.test"),), content))
    relay.close()
    return fate


def refused(fate: Fate) -> str:
    assert isinstance(fate, Deferred)
    assert str(fate.status) == "4.7.5"
    return fate.text


@both_loops
async def test_verified(certificates: Certificates) -> None:
    for host in ("127.0.0.1", "localhost"):
        async with Hop(OFFERING).running() as hop:
            hop.tls = certificates.server()
            fate = await deliver(hop, host=host, tls="verify", ca_file=certificates.certificate)
        assert isinstance(fate, Delivered)
        assert hop.verbs() == ["EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "DATA"]


@both_loops
async def test_a_certificate_that_does_not_verify(
    certificates: Certificates, strangers: Certificates
) -> None:
    async with Hop(OFFERING).running() as hop:
        hop.tls = strangers.server()
        fate = await deliver(hop, tls="verify", ca_file=certificates.certificate)
        assert "certificate" in refused(fate).lower() or "self" in refused(fate)
        assert "MAIL" not in hop.verbs()
        assert isinstance(await deliver(hop, tls="encrypt"), Delivered)
        assert isinstance(await deliver(hop, tls="may"), Delivered)
        assert hop.verbs().count("STARTTLS") == 3


@both_loops
async def test_tls_that_is_not_offered_or_fails(certificates: Certificates) -> None:
    for offer in (EXTENSIONS, OFFERING):
        async with Hop(offer).running() as hop:
            hop.on("STARTTLS", *["454 4.7.0 not now"] * 3)
            verified = await deliver(hop, tls="verify", ca_file=certificates.certificate)
            refused(verified)
            refused(await deliver(hop, tls="encrypt"))
            assert "MAIL" not in hop.verbs()
            assert isinstance(await deliver(hop, tls="may"), Delivered)
            assert isinstance(await deliver(hop, tls="none"), Delivered)


@pytest.mark.parametrize("slipped_in", [b"250 evil\r\n", b"250-ev", b"\x16\x03"])
async def test_octets_slipped_in_before_the_handshake(
    slipped_in: bytes, certificates: Certificates
) -> None:
    async with Hop(OFFERING).running() as hop:
        hop.tls = certificates.server()
        hop.on("STARTTLS", b"220 go\r\n" + slipped_in)
        fate = await deliver(hop, tls="verify", ca_file=certificates.certificate)
    assert isinstance(fate, Deferred)
    assert "MAIL" not in hop.verbs()


async def test_a_handshake_that_breaks_off(certificates: Certificates) -> None:
    async with Hop(OFFERING).running() as hop:
        hop.on("STARTTLS", *[b"220 go\r\nhello, I am no TLS server\r\n"] * 2)
        refused_or_garbled = await deliver(hop, tls="encrypt")
    assert isinstance(refused_or_garbled, Deferred)


@both_loops
async def test_probe(certificates: Certificates) -> None:
    async with Hop(OFFERING).running() as hop:
        hop.tls = certificates.server()
        settings = config.NextHop(port=hop.port, tls="verify", ca_file=certificates.certificate)
        found = await probe(settings, "gw.test")
        assert found.banner == "hop.test ESMTP"
        assert found.extensions["SIZE"] == "1000000"
        assert "8BITMIME" in found.extensions
        hop.on("CONNECT", "554 5.7.1 no")
        with pytest.raises(AdminError) as caught:
            await probe(settings, "gw.test")
        assert str(hop.port) in caught.value.where
    with pytest.raises(AdminError) as caught:
        await probe(settings, "gw.test")
    assert "\n" not in str(caught.value)
    assert caught.value.mend


def test_roots_that_cannot_be_read(tmp_path: Path) -> None:
    for text in (None, "garbage"):
        if text:
            (tmp_path / "roots.pem").write_text(text)
        hop = config.NextHop(tls="verify", ca_file=tmp_path / "roots.pem")
        with pytest.raises(AdminError) as caught:
            SmtpRelay(config.Config(next_hop=hop), "gw.test")
        assert "roots.pem" in caught.value.where
