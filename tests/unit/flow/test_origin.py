"""Whose mail it is."""

from __future__ import annotations

import pytest

from smimefilter.base.envelope import Client
from smimefilter.base.errors import AdminError
from smimefilter.flow.origin import Origins

OWN = Origins(["192.0.2.0/24", "2001:db8::/32", "127.0.0.0/8"])


@pytest.mark.parametrize(
    ("client", "ours"),
    [
        (Client("192.0.2.1"), True),
        (Client("198.51.100.1"), False),
        (Client("::ffff:192.0.2.1"), True),
        (Client(""), False),
        (Client("127.0.0.1", xforward={"ADDR": "198.51.100.1"}), False),
        (Client("127.0.0.1", xforward={"ADDR": "192.0.2.9"}), True),
        (Client("127.0.0.1", xforward={"ADDR": "IPV6:2001:db8::1"}), True),
        (Client("127.0.0.1", xforward={"ADDR": "unknown"}), False),
        (Client("127.0.0.1", xforward={"SOURCE": "LOCAL"}), True),
        (Client("127.0.0.1", xforward={"SOURCE": "REMOTE"}), False),
        (Client("127.0.0.1", xforward={"NAME": "x"}), False),
        (Client("198.51.100.1", originating=True), True),
    ],
)
def test_ours_or_not(client: Client, ours: bool) -> None:
    assert OWN.is_ours(client) is ours


def test_what_is_no_network_is_said_so() -> None:
    with pytest.raises(AdminError, match="own-clients"):
        Origins(["example.com"])
