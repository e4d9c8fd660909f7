"""A large set-up beside a small one: 100 000 users with policies, 100 000 certificates, a CRL
of a million entries. How long it takes from the start to the first mail, what a mail costs
then, and the memory.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from smimefilter.pki.certificate import Certificate
from smimefilter.ports.stores import Shelf
from smimefilter.store.database import Database
from tests.bench import load
from tests.bench.installation import ALICE, BOB, POLICY, Installation
from tests.bench.rows import Row, at_most, in_turn
from tests.bench.trust import MILLION, crl_of
from tests.support.people import People

USERS = CERTIFICATES = 100_000
AT_ONCE = 10_000
MEGABYTE = 1 << 20


def policy(users: int = USERS) -> str:
    """A policy file in which each of so many users has something of his own."""
    lines = (f"  user{number}@in.test: {{sign: always}}\n" for number in range(users))
    return POLICY + "users:\n" + "".join(lines)


def certificates(people: People, count: int = CERTIFICATES) -> list[Certificate]:
    """Certificates of so many other people, of one CA and, to be quick, over one key."""
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    issuer = people.root.issue("Large CA", ca=True, key="p256", **_times())
    now = datetime.now(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .issuer_name(issuer.certificate.parsed.subject)
        .public_key(public)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
    )
    found = [issuer.certificate]
    for number in range(count):
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Other {number}")])
        address = x509.SubjectAlternativeName([x509.RFC822Name(f"other{number}@far.test")])
        one = (
            builder.subject_name(name)
            .serial_number(number + 1)
            .add_extension(address, critical=False)
            .sign(issuer.key, hashes.SHA256())  # type: ignore[arg-type]
        )
        found.append(Certificate.read(one.public_bytes(Encoding.DER)))
    return found


def fill(installation: Installation, users: int = USERS, others: int = CERTIFICATES) -> None:
    """Make an installation that is set up already a large one."""
    (installation.home / "policies" / "global.yaml").write_text(policy(users))
    found = certificates(installation.people, others)

    async def store() -> None:
        url = f"sqlite+aiosqlite:///{installation.home / 'smimefilter.db'}"
        async with Database(url) as database:
            for start in range(0, len(found), AT_ONCE):
                part = found[start : start + AT_ONCE]
                await database.certificates.add(part, Shelf.CERTIFICATES, "bench")

    asyncio.run(store())


def revoke_a_million(installation: Installation) -> None:
    """Give the CA of all who send and receive here a CRL with a million entries."""
    file = installation.home / "large.crl"
    authority = installation.people.authority
    now = datetime.now(UTC).replace(microsecond=0)
    file.write_bytes(crl_of(authority, MILLION, now - timedelta(hours=1), now + timedelta(7)))
    installation.run("crl", "import", str(file))


def rows() -> list[Row]:
    """What is measured."""
    with (
        tempfile.TemporaryDirectory() as home,
        tempfile.TemporaryDirectory() as other,
        Installation(Path(home)) as large,
        Installation(Path(other)) as small,
    ):
        fill(large)
        revoke_a_million(large)
        file = load.mail_file(large.home, 5_000, ALICE, BOB)
        began = time.perf_counter()
        large.restart()
        load.rate(large.port, file, ALICE, BOB, 1)
        first = time.perf_counter() - began
        per_mail = in_turn(
            "permail-large",
            partial(load.rate, large.port, file, ALICE, BOB, 1000),
            partial(load.rate, small.port, file, ALICE, BOB, 1000),
            0.90,
        )
        resident = [load.memory(one.pid)["VmRSS"] / MEGABYTE for one in (large, small)]
        return [
            at_most("start-large", first, 10.0, 1.0, "s"),
            per_mail,
            at_most("memory-large", *resident, None, "MiB"),
        ]


def _times() -> dict[str, datetime]:
    now = datetime.now(UTC).replace(microsecond=0)
    return {"not_before": now - timedelta(days=1), "not_after": now + timedelta(days=365)}
