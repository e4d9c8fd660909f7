"""A handler of a CA elsewhere by its commands, as its documentation tells it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from smimefilter.pki.export import certificates_pem, identity_pkcs12
from tests.support.cas.ejbca import BASE, FakeEjbca
from tests.support.cas.server import PASSWORD, CaServer, client, tls_root
from tests.support.postoffice import Installation

ALICE = "alice@in.test"


@contextmanager
def serving(server: CaServer) -> Iterator[None]:
    """The server in a thread of its own: commands run in this one."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
    try:
        yield
    finally:
        ended = server.__aexit__(None, None, None)
        asyncio.run_coroutine_threadsafe(ended, loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_secret_is_not_taken_from_the_command_line(installation: Installation) -> None:
    said = installation.command.complaint("handler", "configure", "ejbca", "client-password=a")
    assert "client_password is a secret, and other users see command lines" in said
    shown = installation.command("handler", "show", "ejbca", "--json").json
    assert shown["client_password"] is None


def test_ejbca_from_its_settings_to_a_certificate(
    installation: Installation, tmp_path: Path
) -> None:
    run, ca = installation.command, FakeEjbca()
    now = datetime.now(UTC)
    ca.special = {"not_before": now - timedelta(hours=1), "not_after": now + timedelta(days=30)}
    ca.approvals = True
    key, password, roots = (tmp_path / name for name in ("us.p12.txt", "password", "roots"))
    key.write_bytes(identity_pkcs12(client().identity, PASSWORD))
    password.write_text(PASSWORD + "\n")
    roots.write_bytes(certificates_pem([tls_root().certificate]))
    with serving(ca):
        said = run(
            "handler", "configure", "ejbca", f"url={ca.url}{BASE}", f"ca-certificates=@{roots}",
            f"client-certificate=@{key}", f"client-password=@{password}", "timeout=10",
        ).out  # fmt: skip
        assert "still missing: certificate_authority" in said
        run(
            "handler", "configure", "ejbca", "certificate-authority=Mail CA",
            "certificate-profile=SMIME", "end-entity-profile=Employee",
        )  # fmt: skip
        shown = run("handler", "show", "ejbca").out
        assert PASSWORD not in shown
        assert "PEM, 1 in it" in shown
        assert "BEGIN" not in shown
        assert "The name of the CA." in " ".join(shown.split())
        assert "(secret)" in shown
        assert "has the CA 'Mail CA'" in run("handler", "test", "ejbca").out
        asked = ("certificate", "request", ALICE, "--cn", "Alice", "--handler", "ejbca")
        assert "pending: alice@in.test: waits to be approved" in run(*asked).out
        (waiting,) = run("pending", "list", "--json").json
        ca.decide(approve=True)
        assert "issued" in run("pending", "reschedule", waiting["id"]).out
        found = run("certificate", "list", "--json").json
        assert any(ALICE in str(one) for one in found)
    said = run.complaint("handler", "test", "ejbca")
    assert "cannot be reached: connection refused" in said
