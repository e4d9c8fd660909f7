"""What correspondents' mail programs say they read."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "correspondents",
        sa.Column("address", sa.String(512), primary_key=True),
        sa.Column("capabilities", sa.Text, nullable=False),
        sa.Column("seen", sa.BigInteger, nullable=False),
    )
