"""The files that administrators copy: valid as shipped, in keeping with each other, safe."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from smimefilter.base.settings import load_settings
from smimefilter.config import Config, Fetch, Listener, NextHop, Protocol
from tests.support.needs import need

ROOT: Final = Path(__file__).parents[2]
UNIT: Final = ROOT / "systemd" / "smimefilter.service"
POSTFIX: Final = ROOT / "config" / "postfix"
TEXT: Final = (ROOT / "config" / "smimefilter.yaml").read_text()
EXAMPLES: Final = re.sub(r"(?m)^( *)#(?=[^ #\n]|  )", r"\1", TEXT)  # all of them taken in


def _settings(text: str) -> Config:
    return load_settings(text, "smimefilter.yaml", Config)


def test_the_settings_are_for_postfix_on_the_same_host_by_lmtp() -> None:
    config = _settings(TEXT)
    (listener,) = config.listeners
    assert (listener.protocol, listener.auth) == (Protocol.LMTP, False)
    assert listener.address == config.next_hop.host == "127.0.0.1"


def test_what_the_settings_spell_out_are_the_defaults() -> None:
    config, default = _settings(TEXT), Config()
    assert config.listeners == (Listener(),)
    assert config.next_hop == NextHop()
    assert config.fetch == Fetch()
    assert config.log == default.log
    assert config.limits == default.limits
    assert config.own_clients == default.own_clients


def test_the_commented_examples_are_valid_too() -> None:
    config = _settings(EXAMPLES)
    assert config.hostname
    assert config.threads_from == Config().threads_from
    _, own, relay = config.listeners
    assert own.originating
    assert relay.auth
    assert relay.tls
    assert set(config.routes.values()) == set(config.next_hops)


def test_every_setting_is_shown() -> None:
    config = _settings(EXAMPLES)
    assert config.model_fields_set == set(Config.model_fields)
    shown = [listener.model_fields_set for listener in config.listeners]
    assert set().union(*shown) == set(Listener.model_fields)
    assert config.fetch.model_fields_set == set(Fetch.model_fields)
    hops = [config.next_hop, *config.next_hops.values()]
    assert set().union(*(hop.model_fields_set for hop in hops)) == set(NextHop.model_fields)


def _postfix(name: str, pattern: str) -> int:
    """The one number that `pattern` finds in a snippet."""
    (found,) = re.findall(rf"(?m)^\s*{pattern}", (POSTFIX / name).read_text())
    return int(found)


@pytest.mark.parametrize("variant", ["lmtp", "smtp"])
def test_the_limits_of_postfix_and_filter_fit_together(variant: str) -> None:
    config = _settings(TEXT)
    listener, hop = config.listeners[0], config.next_hop
    there = f"master.cf.{variant}"
    mail_size = _postfix("main.cf.snippet", r"message_size_limit = (\d+)")
    processes = _postfix(there, r"smimefilter +unix(?: +[-n]){3} +-? +(\d+)")

    port = _postfix("main.cf.snippet", r"content_filter = smimefilter:\[127.0.0.1\]:(\d+)")
    assert port == listener.port
    assert _postfix("master.cf.reinject", r"127.0.0.1:(\d+) inet") == hop.port
    assert mail_size <= listener.max_message_size
    larger = r"-o message_size_limit=(\d+)\n\s+-o mynetworks"
    assert _postfix("master.cf.reinject", larger) >= 2 * mail_size
    assert (
        _postfix("main.cf.snippet", r"smimefilter_destination_recipient_limit = (\d+)")
        <= listener.max_recipients
    )
    assert (
        _postfix("main.cf.snippet", r"smimefilter_destination_concurrency_limit = (\d+)")
        <= processes
        <= listener.max_connections
    )
    assert hop.connections < _postfix("master.cf.reinject", r"127.*?(\d+) +smtpd$")
    assert hop.idle < _postfix("master.cf.reinject", r"-o smtpd_timeout=(\d+)s")
    assert 2 * hop.timeout < _postfix(there, rf"-o {variant}_data_done_timeout=(\d+)s")


@pytest.mark.system
def test_the_unit_is_hardened() -> None:
    done = subprocess.run(
        [need("systemd-analyze"), "security", "--no-pager", "--offline=true", UNIT],
        capture_output=True,
        text=True,
        check=True,
    )
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(exposure) < 2.0


@pytest.mark.system
def test_the_unit_is_understood_by_systemd() -> None:
    done = subprocess.run(
        [need("systemd-analyze"), "verify", UNIT], capture_output=True, text=True, check=False
    )
    complaints = done.stderr.splitlines()
    absent = "Command /opt/smimefilter/bin/smimefilter is not executable"
    assert [line for line in complaints if absent not in line] == []


def test_the_unit_starts_the_program_with_the_settings_and_the_key() -> None:
    unit = UNIT.read_text().splitlines()
    settings = "/etc/smimefilter/smimefilter.yaml"
    assert f"ExecStart=/opt/smimefilter/bin/smimefilter serve --config {settings}" in unit
    assert f"LoadCredential=master-key:{_settings(TEXT).master_key}" in unit
    assert {"Type=notify", "KillMode=mixed", "LimitCORE=0", "UMask=0077"} <= set(unit)
