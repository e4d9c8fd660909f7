"""A private Postfix for tests, configured with the snippets of `config/postfix` as shipped.

    client ─▶ Postfix ─▶ filter_port (the filter under test, LMTP or SMTP)
                 ▲              │
                 └─ reinject_port ◀┘      then everything ─▶ sink_port

All mail that comes back from the filter goes to the sink, whatever its domain; bounces do too.
The instance lives in a directory of its own with ports of its own; the Postfix of the system
is neither used nor touched. What is read from `config/postfix` is changed in its addresses
only, so what administrators get is what runs here. Needs root, as Postfix does.

Raises `PostfixTrouble` with the tail of the log when Postfix does not start.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from tests.support.ports import ReservedPort
from tests.support.started import Started

SNIPPETS: Final = Path(__file__).parents[2] / "config" / "postfix"
CLUSTER: Final = SNIPPETS.parents[1] / "docs" / "cluster.md"
SHIPPED_FILTER: Final = "[127.0.0.1]:10025"
SHIPPED_REINJECT: Final = "127.0.0.1:10026"
PATH: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

_MAIN: Final = """
compatibility_level = 3.6
config_directory = {home}/etc
queue_directory = {home}/spool
data_directory = {home}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {home}/log/mail.log
maillog_file_prefixes = {home}
myhostname = gw.test
myorigin = gw.test
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
disable_dns_lookups = yes
smtp_host_lookup = native
default_transport = smtp:[127.0.0.1]:{sink}
smtpd_relay_restrictions = permit_mynetworks, reject
in_flow_delay = 0
queue_run_delay = 1s
minimal_backoff_time = {retry}s
maximal_backoff_time = {retry}s
"""
_MASTER: Final = """
127.0.0.1:{port} inet n - n - - smtpd -o smtpd_authorized_xforward_hosts=127.0.0.0/8
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp -o smtp_line_length_limit=0
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class PostfixTrouble(AssertionError):
    """Postfix did not do what the test needs; the message ends with its log."""


class Variant(StrEnum):
    """Which master.cf snippet leads to the filter."""

    LMTP = "lmtp"
    SMTP = "smtp"


class PostfixLab(Started):
    """One instance. Its ports are known, and ours, from the start."""

    def __init__(self, variant: Variant, *, retry: int = 2) -> None:
        """Prepare an instance.

        Args:
            variant: How mail gets to the filter.
            retry: Seconds after which deferred mail is tried again, at least 2: after 1 the
                queue manager may look while the delivery agent still holds the mail's lock,
                and then leaves it alone for a minute.
        """
        self.variant = variant
        # filters on these addresses, in the place of the one that is shipped: `filters.test`
        # is all of them to this Postfix, which chooses as docs/cluster.md says
        self.filters: tuple[str, ...] = ()
        self.main: dict[str, str] = {}  # more of main.cf, read at `start`; wins over the rest
        self._reserved = [ReservedPort() for _ in range(4)]
        self.port, self.filter_port, self.reinject_port, self.sink_port = (
            reserved.number for reserved in self._reserved
        )
        self._retry = retry
        self._started: subprocess.Popen[bytes] | None = None
        self.home = Path(tempfile.mkdtemp(prefix="smimefilter-postfix-", dir="/var/tmp"))

    # life

    def start(self) -> None:
        """Write the configuration, start Postfix and wait until it takes mail."""
        self._lay_out()
        self._reserved[0].release()
        self._reserved[2].release()
        with (self.home / "log" / "stderr").open("wb") as complaints:
            self._started = subprocess.Popen(
                ["postfix", "-c", self.home / "etc", "start-fg"],
                env={**os.environ, "PATH": PATH},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
            )
        try:
            self.wait_until(self._is_up, "Postfix to start")
        except PostfixTrouble:
            self.stop()
            raise

    def _is_up(self) -> bool:
        return _greets(self.port) and _greets(self.reinject_port)

    def stop(self) -> None:
        """Stop the instance and remove its directory."""
        if self._started:
            self._terminate(self._started)
        for reserved in self._reserved:
            reserved.release()
        shutil.rmtree(self.home)

    def _terminate(self, started: subprocess.Popen[bytes]) -> None:
        """End the master, which takes its processes with it; then its starter ends, too.

        `postfix stop` would do the same and sleep for a second in between.
        """
        with contextlib.suppress(FileNotFoundError):  # it did not come as far as that
            pid = int((self.home / "spool" / "pid" / "master.pid").read_text())
            os.kill(pid, signal.SIGTERM)
        try:
            started.wait(timeout=10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()

    # mail

    def send(
        self,
        sender: str,
        recipients: Sequence[str],
        content: bytes,
        *,
        params: Sequence[str] = (),
        rcpt_params: Mapping[str, Sequence[str]] | None = None,
        xforward: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> str:
        """Hand a mail to Postfix as a client does, and return its queue id.

        Args:
            sender: Without angle brackets; empty is the null sender.
            recipients: Without angle brackets.
            content: CRLF lines, sent as it is but for dot-stuffing.
            params: Of MAIL FROM, such as `RET=HDRS`.
            rcpt_params: Of RCPT TO, by address.
            xforward: XFORWARD attributes, sent before MAIL FROM.
            port: Another port of Postfix to send to, such as `reinject_port`.

        Raises smtplib.SMTPResponseException when Postfix refuses a command.
        """
        with smtplib.SMTP("127.0.0.1", port or self.port, "client.test", timeout=60) as client:
            client.command_encoding = "utf-8"
            _ask(client, 250, "EHLO client.test")
            if xforward:
                pairs = " ".join(f"{name}={value}" for name, value in xforward.items())
                _ask(client, 250, f"XFORWARD {pairs}")
            _ask(client, 250, " ".join([f"MAIL FROM:<{sender}>", *params]))
            for recipient in recipients:
                more = (rcpt_params or {}).get(recipient, ())
                _ask(client, 250, " ".join([f"RCPT TO:<{recipient}>", *more]))
            _ask(client, 354, "DATA")
            stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
            client.send(stuffed + (b".\r\n" if stuffed.endswith(b"\r\n") else b"\r\n.\r\n"))
            code, text = client.getreply()
            if code != 250:
                raise smtplib.SMTPDataError(code, text)
            return text.decode().rpartition("queued as ")[2]

    def submit(self, sender: str, recipients: Sequence[str], content: bytes) -> None:
        """Hand a mail to sendmail(1), as programs on the same host do. Lines end with LF."""
        subprocess.run(
            ["sendmail", "-C", str(self.home / "etc"), "-i", "-f", sender, "--", *recipients],
            env={**os.environ, "PATH": PATH},
            input=content,
            timeout=60,
            check=True,
        )

    def queue(self) -> list[dict[str, Any]]:
        """The mails in the queue, as `postqueue -j` describes them."""
        lines = self.run("postqueue", "-j").splitlines()
        return [json.loads(line) for line in lines]

    def flush(self) -> None:
        """Try all deferred mail again now."""
        self.run("postqueue", "-f")

    def clear(self) -> None:
        """Remove all mail from the queue."""
        self.run("postsuper", "-d", "ALL")

    def wait_for_empty_queue(self, timeout: float = 30) -> None:
        """Return as soon as the queue is empty; `PostfixTrouble` when it does not become so."""
        self.wait_until(lambda: not self.queue(), "an empty queue", timeout)

    # looking in

    def log(self) -> str:
        """The mail log so far."""
        return self._written("mail.log")

    def complaints(self) -> str:
        """What Postfix finds unknown, unused or wrong in its configuration; "" when nothing."""
        checks = (("postconf", "-n"), ("postconf", "-M"), ("postfix", "check"))
        return "".join(self._run(*check).stderr for check in checks)

    def run(self, program: str, *arguments: str) -> str:
        """Run one of Postfix's own programs on this instance and return what it printed."""
        done = self._run(program, *arguments)
        if done.returncode:
            raise PostfixTrouble(f"{program} {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, "-c", str(self.home / "etc"), *arguments],
            env={**os.environ, "PATH": PATH},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def wait_until(self, holds: Callable[[], bool], what: str, timeout: float = 30) -> None:
        """Return as soon as `holds()`; `PostfixTrouble` after `timeout` seconds."""
        end = time.monotonic() + timeout
        while not holds():
            if time.monotonic() > end:
                tail = "\n".join(self.log().splitlines()[-40:])
                said = self._written("stderr")
                raise PostfixTrouble(f"waited {timeout:g} s for {what}\n{tail}\n{said}")
            time.sleep(0.03)

    def _written(self, name: str) -> str:
        path = self.home / "log" / name
        return path.read_text(errors="replace") if path.exists() else ""

    # set-up

    def _lay_out(self) -> None:
        for name in ("etc", "spool", "data", "log"):
            (self.home / name).mkdir()
        self.home.chmod(0o755)  # Postfix works as user postfix
        os.chown(self.home / "data", pwd.getpwnam("postfix").pw_uid, -1)
        if self.filters:
            (self.home / "spool" / "etc").mkdir()
            hosts = "".join(f"{one} filters.test\n" for one in self.filters)
            (self.home / "spool" / "etc" / "hosts").write_text(hosts)
            (self.home / "spool" / "etc" / "host.conf").write_text("multi on\n")
        main = _MAIN.format(home=self.home, sink=self.sink_port, retry=self._retry)
        main += self._shipped("main.cf.snippet")
        for name, value in self.main.items():
            # in place of it, not after it: postlogd(8) can block on its own warning about two
            main = re.sub(rf"(?m)^{name} =.*\n", "", main) + f"{name} = {value}\n"
        (self.home / "etc" / "main.cf").write_text(main)
        master = _MASTER.format(port=self.port)
        master += self._shipped(f"master.cf.{self.variant}")
        master += self._shipped("master.cf.reinject")
        (self.home / "etc" / "master.cf").write_text(master)

    def _shipped(self, name: str) -> str:
        text = (SNIPPETS / name).read_text()
        host = "127.0.0.1"
        if self.filters:  # a client in the chroot looks for names there
            host = "filters.test"
            text = re.sub(r"(?m)^    -o lmtp_bind_address=.*\n", "", text)
            text = re.sub(r"(?m)^(smimefilter unix - +- +)n", r"\1y", text)
            if name.startswith("master.cf.lmtp"):
                text += "".join(re.findall(r"(?m)^    -o lmtp_.*\n", CLUSTER.read_text()))
        text = text.replace(SHIPPED_FILTER, f"[{host}]:{self.filter_port}")
        return text.replace(SHIPPED_REINJECT, f"127.0.0.1:{self.reinject_port}")


def _ask(client: smtplib.SMTP, expected: int, command: str) -> None:
    code, text = client.docmd(command)
    if code != expected:
        raise smtplib.SMTPResponseException(code, text)


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            return connection.recv(4).startswith(b"220")
    except OSError:
        return False
