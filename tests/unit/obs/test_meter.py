"""What Prometheus reads."""

from __future__ import annotations

import socket
import urllib.request

import pytest

from smimefilter.base.envelope import (
    Deferred,
    Delivered,
    Notified,
    Recipient,
    Refused,
    Transaction,
)
from smimefilter.base.errors import AdminError, Status
from smimefilter.config import Metrics
from smimefilter.obs.meter import PrometheusMeter
from smimefilter.ports.journal import MailRecord


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def shown(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        return page.read().decode()


def test_mails_and_concerns_are_shown_until_hidden() -> None:
    refused = Refused(Status(5, "7.5"), "no")
    fates = (Delivered("Q", "ok"), Deferred(Status(4, "2.0"), "x"), refused, Notified(refused))
    transaction = Transaction(
        "id", "a@x.test", tuple(Recipient("b@x.test") for _ in fates), b""
    )
    sut, port = PrometheusMeter(), free_port()
    sut.mail(MailRecord(transaction, None, fates, 7.0))
    sut.concerns({("encrypt", "revoked"): 2, ("sign", "revoked"): 0})
    sut.show(Metrics(port=port))
    page = shown(port)
    for fate in ("delivered", "deferred", "refused", "notified"):
        assert f'smimefilter_recipients_total{{action="none",fate="{fate}"}} 1.0' in page
    assert 'smimefilter_mail_seconds_bucket{le="0.005"} 0.0' in page
    assert 'smimefilter_mail_seconds_bucket{le="0.01"} 1.0' in page
    gauge = "smimefilter_active_user_certificates_in_trouble"
    assert f'{gauge}{{purpose="encrypt",trouble="revoked"}} 2.0' in page
    assert f'{gauge}{{purpose="sign",trouble="revoked"}} 0.0' in page
    sut.hide()
    with pytest.raises(OSError, match="refused"):
        shown(port)


def test_a_port_in_use_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AdminError, match="metrics cannot be shown: address already in use"):
            PrometheusMeter().show(Metrics(port=port))
