"""Where CRLs are fetched from, and who uses mail."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "crl_sources",
        sa.Column("url", sa.String(2000), primary_key=True),
        sa.Column("due", sa.BigInteger, nullable=False),
        sa.Column("tried", sa.BigInteger),
        sa.Column("succeeded", sa.BigInteger),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("last_modified", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("leased_until", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "active_users",
        sa.Column("address", sa.String(512), primary_key=True),
        sa.Column("purpose", sa.String(16), primary_key=True),
        sa.Column("seen", sa.BigInteger, nullable=False),
    )
