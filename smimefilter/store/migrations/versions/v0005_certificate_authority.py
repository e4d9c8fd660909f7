"""CAs of ours, what they issued and revoked, requests, handlers' settings, audit trail."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "authorities",
        sa.Column("thumbprint", sa.String(128), primary_key=True),
        sa.Column("is_default", sa.Boolean, nullable=False),
        sa.Column("crl_number", sa.BigInteger, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "issued",
        sa.Column("authority", sa.String(128), primary_key=True),
        sa.Column("serial", sa.String(64), primary_key=True),
        sa.Column("request", sa.String(32), nullable=False, index=True),
        sa.Column("der", sa.LargeBinary),
        sa.Column("revoked", sa.BigInteger),
        sa.Column("reason", sa.String(32), nullable=False),
    )
    op.create_table(
        "requests",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("batch", sa.String(64), nullable=False, index=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("handler", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False, index=True),
        sa.Column("address", sa.String(512), nullable=False),
        sa.Column("fields", sa.JSON, nullable=False),
        sa.Column("secrets", sa.LargeBinary),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("due", sa.BigInteger, nullable=False),
        sa.Column("give_up", sa.BigInteger, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("thumbprint", sa.String(128), nullable=False),
        sa.Column("leased_until", sa.BigInteger, nullable=False),
        sa.Column("lease", sa.String(32), nullable=False),
    )
    op.create_table(
        "handlers",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("settings", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("about", sa.String(160), nullable=False, index=True),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
