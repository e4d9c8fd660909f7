"""The daemon's settings: one YAML file, typed, checked as a whole, frozen.

Unknown and misspelt names are errors with line and column, as in policy files. Paths are taken
relative to the file's folder. Nothing here changes in a running process: other settings are for
new workers. Preferences, which do, live in `policy/`.

Leaves reading the file to the caller (`parse(text, name)`), opening what it names to `app.py`.
Raises `AdminError`.
"""

from __future__ import annotations

import re
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, SecretStr, field_validator


def _dashed(name: str) -> str:
    return name.replace("_", "-")


class Settings(BaseModel):
    """Base of all settings: frozen, dashed names, nothing unknown."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=_dashed, populate_by_name=True
    )


class Protocol(StrEnum):
    """What a listener speaks."""

    SMTP = "smtp"
    LMTP = "lmtp"


class Tls(StrEnum):
    """How the connection to a next hop is protected."""

    NONE = "none"
    MAY = "may"  # STARTTLS when offered, certificate not verified
    ENCRYPT = "encrypt"  # STARTTLS always, certificate not verified
    VERIFY = "verify"  # STARTTLS always, certificate and name verified


MOST_WORKERS: Final = 512
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


def _network(text: object) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text if isinstance(text, str) else "")
    except ValueError:
        raise ValueError("should be a network such as 10.1.0.0/16 or fd00:1::/64") from None


Network = Annotated[IPv4Network | IPv6Network, PlainValidator(_network)]


class ServerTls(Settings):
    """Certificate chain and key of a listener that offers STARTTLS (PEM files)."""

    certificate: Path
    key: Path


class Listener(Settings):
    """One address that mail is taken on."""

    protocol: Protocol = Protocol.LMTP
    address: str = "127.0.0.1"
    port: Port = 10025
    clients: tuple[str, ...] = ("127.0.0.0/8", "::1/128")  # networks that need no login
    xforward_clients: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    originating: bool = False  # every mail here is from our own people, whatever its client
    tls: ServerTls | None = None
    auth: bool = False  # SMTP AUTH, over TLS only; logins in the store
    max_message_size: Annotated[int, Field(gt=0)] = 52_428_800  # bytes
    max_connections: Annotated[int, Field(gt=0)] = 200  # of each worker
    # of one client; mail servers in `xforward_clients` speak for many and are not limited
    max_connections_per_client: Annotated[int, Field(gt=0)] = 20
    max_recipients: Annotated[int, Field(gt=0)] = 1000
    timeout: Seconds = 300  # for a whole command, and for each pause within DATA


class NextHop(Settings):
    """Where mail goes."""

    host: str = "127.0.0.1"
    port: Port = 10026
    tls: Tls = Tls.NONE
    ca_file: Path | None = None  # roots for `tls: verify`; the system's when absent
    connections: Annotated[int, Field(gt=0)] = 20  # at once, of all workers; idle ones are kept
    connect_timeout: Seconds = 30
    timeout: Seconds = 300  # for each reply
    idle: Seconds = 60  # an idle connection is closed after


class Metrics(Settings):
    """Where Prometheus reads numbers, over HTTP, without a login."""

    address: str = "127.0.0.1"
    port: Port = 9125


_PROXY: Final = re.compile(r"http://(?:[^@/?#\s]+@)?(?:[\w.-]+|\[[0-9a-fA-F:]+\])(?::\d+)?/?")
_LDAP_SERVER: Final = re.compile(r"ldaps?://(?:[\w.-]+|\[[0-9a-fA-F:]+\])(?::\d+)?/?")


class Fetch(Settings):
    """How CRLs, answers of OCSP and issuers' certificates are fetched from the network."""

    crls: bool = True  # at all, but for `crl update`
    every: Annotated[float, Field(ge=60)] = 21_600  # seconds between looks for a new CRL
    mail_waits: Annotated[float, Field(ge=0)] = 10  # seconds, for what its verdicts miss
    allow: tuple[Network, ...] = ()  # networks beside the Internet
    deny: tuple[Network, ...] = ()  # networks never to fetch from, whatever `allow` says
    connect_timeout: Seconds = 10
    timeout: Seconds = 30  # for an answer, and for each pause in it
    total_timeout: Seconds = 300  # for the whole, redirects included
    max_crl_size: Annotated[int, Field(gt=0)] = 67_108_864  # bytes
    max_crls_size: Annotated[int, Field(gt=0)] = 536_870_912  # bytes, of all CRLs together
    redirects: Annotated[int, Field(ge=0, le=10)] = 3
    proxy: SecretStr | None = None  # for HTTP and HTTPS; may have a password in it
    ca_file: Path | None = None  # roots for https and ldaps, beside the system's
    ldap_server: str | None = None  # for LDAP URLs that name none, as Active Directory has

    @field_validator("proxy")
    @classmethod
    def _proxy(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not _PROXY.fullmatch(url.get_secret_value()):
            raise ValueError("should be http://HOST:PORT, or http://LOGIN:PASSWORD@HOST:PORT")
        return url

    @field_validator("ldap_server")
    @classmethod
    def _ldap_server(cls, url: str | None) -> str | None:
        if url is not None and not _LDAP_SERVER.fullmatch(url):
            raise ValueError("should be ldap://HOST or ldaps://HOST, with :PORT if need be")
        return url


class Sms(Settings):
    """How short messages are sent."""

    transport: str = "spool"
    settings: dict[str, str] = {}  # of the transport; may hold secrets

    def __repr__(self) -> str:
        return f"<Sms {self.transport}>"


class Notify(Settings):
    """How people are told something."""

    language: Annotated[str, Field(pattern="^[a-z]{2}$")] = "en"
    templates: Path | None = None  # a folder of one's own letters
    sms: Sms | None = None  # absent: none are sent


class Publish(Settings):
    """Where CRLs and certificates of our own CAs are served, over plain HTTP."""

    address: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9180


class Limits(Settings):
    """How much mail a worker has under way at once, over all its connections."""

    mails: Annotated[int, Field(gt=0)] = 100
    bytes: Annotated[int, Field(gt=0)] = 536_870_912  # of contents as they came
    wait: Annotated[float, Field(ge=0)] = 30  # seconds for a place, then 451


class Token(Settings):
    """The PKCS#11 token that private keys are kept in."""

    module: Path  # the library of its maker
    label: Annotated[str, Field(min_length=1)]
    pin_file: Path | None = None  # absent: the systemd credential `token-pin`
    timeout: Seconds = 10  # that a mail waits for an answer


class Log(Settings):
    """How the log is written, to standard error."""

    format: Annotated[str, Field(pattern="^(json|text)$")] = "json"
    level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"


class Config(Settings):
    """The whole file."""

    # processes that take mail; absent: one for each core this process may run on
    workers: Annotated[int, Field(ge=1, le=MOST_WORKERS)] | None = None
    hostname: str = ""  # of this host in greetings and Received lines; "" asks the system
    authserv_id: str = ""  # in Authentication-Results, RFC 8601; "" is the hostname
    listeners: tuple[Listener, ...] = (Listener(),)
    limits: Limits = Limits()
    next_hop: NextHop = NextHop()
    next_hops: dict[str, NextHop] = {}  # by name
    routes: dict[str, str] = {}  # recipient domain (or *.domain, or *) → name of a next hop
    # whose mail may be signed: networks of the first client (by XFORWARD), else of the peer
    own_clients: tuple[str, ...] = (
        "127.0.0.0/8",
        "::1/128",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fc00::/7",
    )
    # may have a password in it
    database: Annotated[str, Field(repr=False)] = "sqlite+aiosqlite:///smimefilter.db"
    master_key: Path | None = None  # absent: the systemd credential `master-key`
    # the journal of mails that came by SMTP; absent: beside a SQLite database
    hand_over: Path | None = None
    token: Token | None = None  # absent: all private keys are in the database
    policies: Path = Path("policies")
    # bytes of all its S/MIME layers together that one mail may have deciphered and hashed
    max_opened_size: Annotated[int, Field(gt=0)] = 167_772_160
    threads_from: Annotated[int, Field(gt=0)] = (
        262_144  # bytes; larger mail is worked on in a thread
    )
    fetch: Fetch = Fetch()
    log: Log = Log()
    metrics: Metrics | None = None  # absent: not shown
    publish: Publish | None = None  # absent: not served
    notify: Notify = Notify()


def shared(config: Config, workers: int) -> Config:
    """What one of so many workers goes by: connections to next hops are shared out."""

    def part(hop: NextHop) -> NextHop:
        return hop.model_copy(update={"connections": -(-hop.connections // workers)})

    hops = {name: part(hop) for name, hop in config.next_hops.items()}
    return config.model_copy(update={"next_hop": part(config.next_hop), "next_hops": hops})


_SQLITE = "sqlite+aiosqlite:///"


def rooted(config: Config, folder: Path) -> Config:
    """The same settings with relative paths (and a relative SQLite file) below `folder`."""
    database = config.database
    if database.startswith(_SQLITE):
        file = folder / database.removeprefix(_SQLITE)
        database = f"{_SQLITE}{file}"
    placed = _placed(config, folder)
    assert isinstance(placed, Config)
    return placed.model_copy(update={"database": database})


def hand_over_file(config: Config) -> Path | None:
    """The file of the hand-over journal; None where no place for it is said."""
    if config.hand_over is not None or not config.database.startswith(_SQLITE):
        return config.hand_over
    return Path(config.database.removeprefix(_SQLITE)).with_name("hand-over.db")


def _placed(value: object, folder: Path) -> object:
    match value:
        case Path():
            return folder / value
        case BaseModel():
            names = type(value).model_fields
            return value.model_copy(
                update={name: _placed(getattr(value, name), folder) for name in names}
            )
        case tuple():
            return tuple(_placed(part, folder) for part in value)
        case dict():
            return {name: _placed(part, folder) for name, part in value.items()}
        case _:
            return value
