"""The audit log becomes a chain with a sealed head; old records are carried over."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import context, op

from smimefilter.base.chain import NOTHING
from smimefilter.base.errors import AdminError
from smimefilter.ports.audit import AuditHead, AuditRecord, Scribe
from smimefilter.store.audit import extended, sealed
from smimefilter.store.tables import moment

revision = "0007"
down_revision = "0006"

_BEGUN = "audit log chained"


def upgrade() -> None:
    """Make the tables, and the chain of what there is."""
    connection = op.get_bind()
    state = sa.table("state", sa.column("check_value"))
    in_use = connection.execute(sa.select(state.c.check_value)).scalar() is not None
    old = sa.table("audit", *map(sa.column, ("number", "at", "about", "event", "detail")))
    told = connection.execute(sa.select(old).order_by(old.c.number)).all()
    scribe: Scribe = context.config.attributes.get("scribe") or Scribe()
    if in_use and scribe.sealer is None:
        raise AdminError(
            "the master key is needed to bring the database up to date",
            mend="put it where `master-key` in the settings says",
        )
    op.drop_table("audit")
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("seal", sa.LargeBinary, nullable=False),
    )
    audit = op.create_table(
        "audit",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("about", sa.Text, nullable=False, index=True),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    first = AuditHead(0, NOTHING, b"")
    records = [AuditRecord(moment(row.at), row.about, row.event, row.detail) for row in told]
    last, rows = extended(first, records, Scribe())  # nobody knows any more who did it
    if in_use or records:
        begun = AuditRecord(datetime.now(UTC), "", _BEGUN, f"{len(records)} records of before")
        last, more = extended(last, [begun], scribe)
        rows += more
        op.bulk_insert(audit, rows)
    op.bulk_insert(
        head,
        [
            {
                "id": 1,
                "number": last.number,
                "hash": last.hash,
                "seal": sealed(first, last, None, scribe.sealer, begins=bool(rows)),
            }
        ],
    )
