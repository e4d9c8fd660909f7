"""Challenge mails that requests wait for, and those that came."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the column, make the table."""
    op.add_column("requests", sa.Column("awaits", sa.JSON))
    op.create_table(
        "challenge_mails",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column(
            "request", sa.String(32), sa.ForeignKey("requests.id", ondelete="CASCADE"),
            index=True, nullable=False,
        ),
        sa.Column("token", sa.String(1024), nullable=False),
        sa.Column("sender", sa.String(512), nullable=False),
        sa.Column("reply_to", sa.String(512), nullable=False),
        sa.Column("message_id", sa.String(1024), nullable=False),
        sa.UniqueConstraint("request", "token", name="one_of_each_challenge"),
    )  # fmt: skip
