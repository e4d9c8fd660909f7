"""The tables, as SQLAlchemy Core sees them; `migrations/` is what makes them.

Times are whole seconds since 1970, UTC: compact, and read without parsing. What a snapshot of
100 000 certificates needs stands in columns, so that no certificate is parsed to load one.
The types are those that SQLite and PostgreSQL share.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa

SCHEMA: Final = "0007"  # the migration that makes exactly these tables; names sort by age

metadata: Final = sa.MetaData()

_Number = sa.BigInteger().with_variant(
    sa.Integer(), "sqlite"
)  # SQLite counts INTEGER keys only
_THUMBPRINT: Final = 128  # hex digits of SHA-512

state: Final = sa.Table(
    "state",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),  # one row: 1
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("check_value", sa.LargeBinary),
)

certificates: Final = sa.Table(
    "certificates",
    metadata,
    sa.Column("number", _Number, primary_key=True),  # in the order of arrival
    sa.Column("shelf", sa.String(16), nullable=False),
    sa.Column("thumbprint", sa.String(_THUMBPRINT), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("der", sa.LargeBinary, nullable=False),
    sa.Column("addresses", sa.JSON, nullable=False),  # list of keys
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("issuer", sa.Text, nullable=False),
    sa.Column("serial", sa.Text, nullable=False),  # hex digits
    sa.Column("not_before", sa.BigInteger, nullable=False),
    sa.Column("not_after", sa.BigInteger, nullable=False),
    sa.Column("is_ca", sa.Boolean, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("added", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("shelf", "thumbprint", name="one_of_each_certificate"),
)

private_keys: Final = sa.Table(
    "private_keys",
    metadata,
    sa.Column("thumbprint", sa.String(_THUMBPRINT), primary_key=True),
    sa.Column("blob", sa.LargeBinary, nullable=False),
)

crls: Final = sa.Table(
    "crls",
    metadata,
    sa.Column("number", _Number, primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("der", sa.LargeBinary, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("added", sa.BigInteger, nullable=False),
)

trust_list: Final = sa.Table(
    "trust_list",
    metadata,
    sa.Column("thumbprint", sa.String(_THUMBPRINT), primary_key=True),
    sa.Column("listing", sa.String(16), nullable=False),
    sa.Column("allow_expired", sa.Boolean, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)

preferences: Final = sa.Table(
    "preferences",
    metadata,
    sa.Column("scope", sa.String(512), primary_key=True),
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("value", sa.JSON, nullable=False),
    sa.Column("wrapped", sa.LargeBinary),
)

crl_sources: Final = sa.Table(
    "crl_sources",
    metadata,
    sa.Column("url", sa.String(2000), primary_key=True),
    sa.Column("due", sa.BigInteger, nullable=False),
    sa.Column("tried", sa.BigInteger),
    sa.Column("succeeded", sa.BigInteger),
    sa.Column("failures", sa.Integer, nullable=False),  # in a row
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("etag", sa.Text, nullable=False),
    sa.Column("last_modified", sa.Text, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),  # of the CRL it gave last
    sa.Column("leased_until", sa.BigInteger, nullable=False),  # somebody is fetching it
)

ocsp_answers: Final = sa.Table(
    "ocsp_answers",
    metadata,
    sa.Column("key", sa.String(160), primary_key=True),
    sa.Column("der", sa.LargeBinary, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),  # of no use from then on
)

active_users: Final = sa.Table(
    "active_users",
    metadata,
    sa.Column("address", sa.String(512), primary_key=True),
    sa.Column("purpose", sa.String(16), primary_key=True),
    sa.Column("seen", sa.BigInteger, nullable=False),
)

correspondents: Final = sa.Table(
    "correspondents",
    metadata,
    sa.Column("address", sa.String(512), primary_key=True),
    sa.Column("capabilities", sa.Text, nullable=False),  # what they say they read
    sa.Column("seen", sa.BigInteger, nullable=False),
)

authorities: Final = sa.Table(
    "authorities",
    metadata,
    sa.Column("thumbprint", sa.String(_THUMBPRINT), primary_key=True),  # of what it signs with
    sa.Column("is_default", sa.Boolean, nullable=False),
    sa.Column("crl_number", sa.BigInteger, nullable=False),  # of the last one
    sa.Column("created", sa.BigInteger, nullable=False),
)

issued: Final = sa.Table(
    "issued",
    metadata,
    sa.Column("authority", sa.String(_THUMBPRINT), primary_key=True),
    sa.Column("serial", sa.String(64), primary_key=True),  # hex digits
    sa.Column("request", sa.String(32), nullable=False, index=True),  # empty: of none
    sa.Column("der", sa.LargeBinary),  # null: revoked by its serial, not issued here
    sa.Column("revoked", sa.BigInteger),
    sa.Column("reason", sa.String(32), nullable=False),
)

requests: Final = sa.Table(
    "requests",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("batch", sa.String(64), nullable=False, index=True),  # empty: of none
    sa.Column("position", sa.Integer, nullable=False),  # row of the batch
    sa.Column("handler", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("address", sa.String(512), nullable=False),
    sa.Column("fields", sa.JSON, nullable=False),  # what is asked for
    sa.Column("secrets", sa.LargeBinary),  # wrapped: key, password, what the handler keeps
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("due", sa.BigInteger, nullable=False),
    sa.Column("give_up", sa.BigInteger, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("thumbprint", sa.String(_THUMBPRINT), nullable=False),  # of what was issued
    sa.Column("leased_until", sa.BigInteger, nullable=False),
    sa.Column("lease", sa.String(32), nullable=False),  # who has it
    sa.Column("awaits", sa.JSON(none_as_null=True)),  # a challenge mail
)

challenge_mails: Final = sa.Table(
    "challenge_mails",
    metadata,
    sa.Column("number", _Number, primary_key=True),
    sa.Column(
        "request", sa.String(32), sa.ForeignKey("requests.id", ondelete="CASCADE"), index=True,
        nullable=False,
    ),
    sa.Column("token", sa.String(1024), nullable=False),
    sa.Column("sender", sa.String(512), nullable=False),
    sa.Column("reply_to", sa.String(512), nullable=False),
    sa.Column("message_id", sa.String(1024), nullable=False),
    sa.UniqueConstraint("request", "token", name="one_of_each_challenge"),
)  # fmt: skip

handlers: Final = sa.Table(
    "handlers",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("settings", sa.LargeBinary, nullable=False),  # wrapped JSON
)

audit: Final = sa.Table(
    "audit",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),  # no gaps
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("node", sa.Text, nullable=False),
    sa.Column("event", sa.String(64), nullable=False),
    sa.Column("about", sa.Text, nullable=False, index=True),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),  # of this record and the one before
)

audit_head: Final = sa.Table(
    "audit_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),  # one row: 1
    sa.Column("number", sa.BigInteger, nullable=False),  # of the last record
    sa.Column("hash", sa.String(64), nullable=False),  # of that
    sa.Column("seal", sa.LargeBinary, nullable=False),  # of both; empty: was not to be sealed
)

accounts: Final = sa.Table(
    "accounts",
    metadata,
    sa.Column("login", sa.String(255), primary_key=True),
    sa.Column("password_hash", sa.Text, nullable=False),
)


def seconds(moment: datetime) -> int:
    """A time as the tables hold it."""
    return int(moment.timestamp())


def moment(since_1970: int) -> datetime:
    """A time of the tables."""
    return datetime.fromtimestamp(since_1970, UTC)
