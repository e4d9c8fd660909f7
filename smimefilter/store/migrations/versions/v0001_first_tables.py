"""Certificates, private keys, CRLs, trust list, preferences, accounts, and the state row."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make all tables and the one row of state."""
    state = op.create_table(
        "state",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("check_value", sa.LargeBinary),
    )
    op.bulk_insert(state, [{"id": 1, "revision": 1}])
    op.create_table(
        "certificates",
        sa.Column("number", number, primary_key=True),
        sa.Column("shelf", sa.String(16), nullable=False),
        sa.Column("thumbprint", sa.String(128), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("der", sa.LargeBinary, nullable=False),
        sa.Column("addresses", sa.JSON, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("serial", sa.Text, nullable=False),
        sa.Column("not_before", sa.BigInteger, nullable=False),
        sa.Column("not_after", sa.BigInteger, nullable=False),
        sa.Column("is_ca", sa.Boolean, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("added", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("shelf", "thumbprint", name="one_of_each_certificate"),
    )
    op.create_table(
        "private_keys",
        sa.Column("thumbprint", sa.String(128), primary_key=True),
        sa.Column("blob", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "crls",
        sa.Column("number", number, primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("der", sa.LargeBinary, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("added", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "trust_list",
        sa.Column("thumbprint", sa.String(128), primary_key=True),
        sa.Column("listing", sa.String(16), nullable=False),
        sa.Column("allow_expired", sa.Boolean, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.create_table(
        "preferences",
        sa.Column("scope", sa.String(512), primary_key=True),
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("value", sa.JSON, nullable=False),
        sa.Column("wrapped", sa.LargeBinary),
    )
    op.create_table(
        "accounts",
        sa.Column("login", sa.String(255), primary_key=True),
        sa.Column("password_hash", sa.Text, nullable=False),
    )
