"""Answers of OCSP."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "ocsp_answers",
        sa.Column("key", sa.String(160), primary_key=True),
        sa.Column("der", sa.LargeBinary, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
