"""Two nodes on one PostgreSQL, set up as docs/cluster.md says: Postfix spreads mail over both,
and whichever of the nodes or the database is gone, mail goes on."""

from __future__ import annotations

import re
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.support.commands import Commands
from tests.support.needs import need
from tests.support.ports import ReservedPort
from tests.support.postfix import PostfixLab, Variant
from tests.support.postgres import PASSWORD, Postgres
from tests.support.postoffice import ALICE, BOB, CAROL, DAVE, Stock, letter
from tests.support.program import Program, shipped_settings
from tests.support.sink import Mail, Sink

pytestmark = pytest.mark.system

SOON: Final = 2.0  # seconds within which a change is seen everywhere
ADDRESSES: Final = ("127.0.0.1", "127.0.0.2")
SECRET: Final = b"application/pkcs7-mime"
AWAY, BACK = "store not read, the old state stays", "store read again"


class Cluster(NamedTuple):
    """Postfix, the nodes behind it, their database, and where mail ends up."""

    lab: PostfixLab
    nodes: tuple[Program, ...]
    server: Postgres
    sink: Sink
    metrics: tuple[int, ...]

    @property
    def command(self) -> Commands:
        return Commands(self.nodes[0].config)

    def send(self, count: int, start: int = 0) -> None:
        """So many mails, to Bob, who gets them encrypted, and to Dave, who does not."""
        for number in range(start, start + count):
            to = (BOB, DAVE)[number % 2]
            self.lab.send(ALICE, [to], letter(ALICE, to, subject=f"number {number}."))

    def arrived(self, count: int, *, twice: int = 0) -> None:
        """Wait until nothing is under way; all of them are there, as policy wants them, and no
        more than so many of them twice."""
        self.lab.wait_for_empty_queue(60)
        numbers = Counter(map(_number, self.sink.mails))
        assert set(numbers) == set(range(count))
        assert sum(numbers.values()) <= count + twice
        for mail in self.sink.mails:
            assert (SECRET in mail.content) == (BOB in mail.addresses)

    def reachable(self, node: int) -> float:
        """What the node's metrics say of the database."""
        url = f"http://127.0.0.1:{self.metrics[node]}/metrics"
        with urllib.request.urlopen(url, timeout=10) as page:
            found = re.search(r"(?m)^smimefilter_store_reachable (.*)$", page.read().decode())
        assert found
        return float(found[1])


def _number(mail: Mail) -> int:
    found = re.search(rb"(?m)^Subject: number (\d+)\.", mail.content)
    assert found
    return int(found[1])


@pytest.fixture
def cluster(stock: Stock, tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Cluster]:
    need("postfix")
    with ExitStack() as stack:
        server = stack.enter_context(Postgres())
        lab = PostfixLab(Variant.LMTP)
        second = stack.enter_context(ReservedPort(ADDRESSES[1], lab.filter_port))
        assert second.number == lab.filter_port
        lab.filters = ADDRESSES
        lab.main["lmtp_host_lookup"] = "native"
        lab = stack.enter_context(lab)
        sink = stack.enter_context(Sink(port=lab.sink_port))
        database = server.new_database(empty=True)
        nodes: list[Program] = []
        metrics = tuple(free_port() for _ in ADDRESSES)
        for address, port in zip(ADDRESSES, metrics, strict=True):
            home = tmp_path / address
            home.mkdir()
            stock.copy_to(home, database=False)
            settings = shipped_settings(home, port=lab.filter_port, next_hop=lab.reinject_port)
            settings["listeners"][0]["address"] = address
            settings["database"] = database
            settings["metrics"] = {"port": port}
            nodes.append(Program(home, settings))
        stock.furnish(Commands(nodes[0].config))
        for node in nodes:
            stack.enter_context(node)
        yield Cluster(lab, tuple(nodes), server, sink, metrics)


def mails(node: Program) -> int:
    return len(node.events("mail"))


def test_postfix_spreads_over_both_and_a_change_reaches_both(cluster: Cluster) -> None:
    one, other = cluster.nodes
    cluster.send(30)
    cluster.arrived(30)
    assert mails(one) + mails(other) == 30
    assert mails(one)
    assert mails(other)

    cluster.command("policy", "set", "strict.test", "encrypt", "never")
    for node in cluster.nodes:
        node.wait_for_event("store reloaded", timeout=SOON)
    cluster.lab.send(ALICE, [CAROL], letter(ALICE, CAROL))  # who could not be encrypted to
    (mail,) = cluster.sink.wait_for(31)[30:]
    assert CAROL in mail.addresses
    for node in cluster.nodes:
        assert PASSWORD not in node.log()
        assert PASSWORD.encode() not in Path(f"/proc/{node.pid}/cmdline").read_bytes()


def test_a_node_that_is_killed_stops_no_mail(cluster: Cluster) -> None:
    one, other = cluster.nodes
    cluster.send(20)
    other.wait_until(lambda: mails(one) + mails(other) > 4, "some mail")
    other.kill()
    cluster.send(20, start=20)
    cluster.arrived(40, twice=20)  # what it had handed on and not answered for comes again
    assert mails(one)
    other.start()
    cluster.send(30, start=40)
    cluster.arrived(70, twice=20)
    assert mails(other)  # of this start


def test_without_the_database_mail_goes_on_from_memory(cluster: Cluster) -> None:
    """And with it again, changes come through; nobody was started anew."""
    cluster.send(5)
    cluster.server.kill()
    cluster.send(20, start=5)
    for number, node in enumerate(cluster.nodes):
        node.wait_for_event(AWAY)
        node.wait_until(lambda n=number: cluster.reachable(n) == 0, "its metric to say so")  # type: ignore[misc]
    cluster.send(5, start=25)
    cluster.arrived(30)

    said = cluster.command("policy", "set", BOB, "encrypt", "never", code=1).err
    started = cluster.nodes[0].run("serve", fails=True)  # another one of it
    for line in (said, started.stderr):
        assert re.fullmatch(r"smimefilter: postgresql.*cannot be opened.*\n", line)
        assert PASSWORD not in line

    cluster.server.start()
    for number, node in enumerate(cluster.nodes):
        node.wait_for_event(BACK, timeout=30)
        node.wait_until(lambda n=number: cluster.reachable(n) == 1, "its metric to say so")  # type: ignore[misc]
        assert len(node.events(AWAY)) == len(node.events(BACK)) == 1
        assert [line for line in node.events() if line["level"] == "error"] == []
    cluster.command("policy", "set", "strict.test", "encrypt", "never")
    for node in cluster.nodes:
        node.wait_for_event("store reloaded", timeout=SOON)
    cluster.sink.clear()
    cluster.lab.send(ALICE, [BOB], letter(ALICE, BOB))
    (mail,) = cluster.sink.wait_for(1)
    assert SECRET not in mail.content
    for node in cluster.nodes:
        assert PASSWORD not in node.log()
