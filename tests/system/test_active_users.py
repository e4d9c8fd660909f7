"""Whoever uses mail and has a certificate that was revoked is heard of, without another mail:
in the log, as a metric, and from `doctor`."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.postoffice import ALICE, BOB, ERIN, Stock, filter_alone, letter

pytestmark = pytest.mark.system

GAUGE = "smimefilter_active_user_certificates_in_trouble"


def test_revoked_while_in_use(
    stock: Stock, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    with filter_alone(stock, tmp_path, metrics={"port": port}) as office:
        (reply,) = office.hand_over(ALICE, [BOB], letter(ALICE, BOB))
        assert reply.startswith("250")
        file = tmp_path / "authority.crl"
        file.write_bytes(office.people.crl(BOB, ERIN).read_bytes())
        office.command("crl", "import", str(file))
        (event,) = office.program.wait_for_event("certificate of an active user")
        assert (event["user"], event["purpose"]) == (BOB, "encrypt")
        assert (event["trouble"], event["covered"]) == ("revoked", False)
        assert event["thumbprint"] == office.who(BOB).thumbprint
        assert "revoked by its issuer" in event["why"]

        def shown() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=9) as page:
                return str(page.read(), "utf-8")

        office.program.wait_until(
            lambda: f'{GAUGE}{{purpose="encrypt",trouble="revoked"}} 1.0' in shown(), "gauge"
        )
        page = shown()
        assert f'{GAUGE}{{purpose="sign",trouble="revoked"}} 0.0' in page
        assert (
            'smimefilter_recipients_total{action="sign+encrypt",fate="delivered"} 1.0' in page
        )
        office.program.stop()

        about = f"{BOB}, CN=bob {office.who(BOB).thumbprint[:16]}"
        findings = office.command("doctor", "--json").json
        (finding,) = [one for one in findings if one["about"] == about]
        assert finding["grade"] == "warning"
        assert "used for mail (encrypt) and is revoked" in finding["what"]
        assert not any(ERIN in one["about"] for one in findings)  # nobody writes to Erin

        office.program.start()  # it is known who is active, and said once more
        office.program.wait_for_event("certificate of an active user")
