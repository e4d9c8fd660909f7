"""What trusting costs: a verdict cold and remembered, and a CRL of a million entries.

`python -m tests.bench.trust` prints all as JSON. Every function returns one number; seconds
unless its name says otherwise.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from statistics import median

import uvloop
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from smimefilter.pki.certificate import Certificate
from smimefilter.pki.crl import Crl
from smimefilter.trust.cache import Trust
from smimefilter.trust.knowledge import Knowledge
from smimefilter.trust.signature import scheme_of, verifies
from smimefilter.trust.verdict import Purpose, TrustRules
from tests.support.pki import NOW, Issued, root

MILLION = 1_000_000
ROUNDS = 200
TICK = 0.005  # seconds
RULES = TrustRules(require_crl=True)


@cache
def chain() -> tuple[Issued, Issued, Issued]:
    """A root, a CA below it, and an end entity; RSA-2048 throughout."""
    top = root("Bench Root")
    sub = top.issue("Bench CA", ca=True)
    return top, sub, sub.issue("Alice", mail="alice@example.com")


@cache
def crls() -> tuple[Crl, Crl]:
    """CRLs of the root and the CA, with a hundred entries each."""
    top, sub, _ = chain()
    return Crl.read(top.crl(range(1000, 1100))), Crl.read(sub.crl(range(1000, 1100)))


@cache
def large_crl() -> bytes:
    """A CRL with a million random serials, DER."""
    return crl_of(chain()[0], MILLION, NOW - timedelta(hours=1), NOW + timedelta(days=200))


def crl_of(issuer: Issued, count: int, this: datetime, until: datetime) -> bytes:
    """A CRL of a CA with an RSA key, with so many random serials, DER."""
    numbers = random.Random(1)  # noqa: S311 - serial numbers
    when = b"\x17\x0d260101000000Z"
    entries = b"".join(
        b"\x30\x20\x02\x0f\x40" + numbers.randbytes(14) + when for _ in range(count)
    )
    algorithm = Crl.read(issuer.crl([1])).signature_algorithm
    times = b"".join(b"\x17\x0d" + f"{time:%y%m%d%H%M%SZ}".encode() for time in (this, until))
    name = issuer.certificate.subject_der
    signed = _sequence(b"\x02\x01\x01", algorithm, name, times, _sequence(entries))
    assert isinstance(issuer.key, rsa.RSAPrivateKey)
    signature = issuer.key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return _sequence(signed, algorithm, b"\x03\x82\x01\x01\x00" + signature)


def verdict_cold() -> float:
    """The first verdict on a chain of three with CRLs, nothing parsed or checked before."""
    return median(_cold() for _ in range(ROUNDS))


def bare_signatures() -> float:
    """What the signatures of that chain and its CRLs alone cost, keys and bytes at hand."""
    top, sub, alice = chain()
    checks: list[tuple[Issued, bytes, bytes]] = []
    for one, issuer in ((alice, sub), (sub, top)):
        parsed = one.certificate.parsed
        checks.append((issuer, parsed.signature, parsed.tbs_certificate_bytes))
    checks += [
        (one, crl.signature, bytes(crl.signed))
        for one, crl in zip(chain(), crls(), strict=False)
    ]
    scheme = scheme_of(crls()[0].signature_algorithm)
    assert scheme is not None
    keys = [(issuer.certificate.public_key, *rest) for issuer, *rest in checks]

    def check() -> None:
        for key, signature, signed in keys:
            assert verifies(key, scheme, signature, signed)

    return median(_seconds(check) for _ in range(ROUNDS))


def verdict_hit() -> float:
    """A verdict that is remembered."""
    trust = Trust(_knowledge())
    alice = Certificate(chain()[2].certificate.der)
    trust.verdict(alice, Purpose.ENCRYPT, NOW, RULES)

    def thousand() -> None:
        for _ in range(1000):
            trust.verdict(alice, Purpose.ENCRYPT, NOW, RULES)

    return median(_seconds(thousand) for _ in range(20)) / 1000


def verdict_mesh() -> float:
    """A verdict where eight CAs have certified each other, and none leads to a root: as many
    ways as there are to try."""
    bridges = [root(f"Bridge {n}", key="p256") for n in range(8)]
    mesh = [
        a.issue(f"Bridge {n}", ca=True, key=b.key).certificate.der
        for n, b in enumerate(bridges)
        for a in bridges
        if a is not b
    ]
    bob = bridges[0].issue("Bob", mail="bob@example.com", key="p256").certificate.der

    def once() -> float:
        trust = Trust(Knowledge(authorities=map(Certificate, mesh)))
        leaf = Certificate(bob)
        return _seconds(lambda: trust.verdict(leaf, Purpose.ENCRYPT, NOW, RULES))

    return max(once() for _ in range(20))


def crl_1m_load() -> float:
    """Reading and indexing a million entries."""
    der = large_crl()
    return min(_seconds(lambda: Crl.read(der)) for _ in range(2))


def crl_1m_bytes() -> float:
    """Bytes of memory an entry, those of the CRL itself included."""
    der = large_crl()
    before = _resident()
    crl = Crl.read(der)
    return (_resident() - before + len(der)) / crl.count


def crl_1m_lookup() -> float:
    """Finding out whether a serial is among a million; half of those asked for are."""
    crl = Crl.read(large_crl())
    numbers = random.Random(1)  # noqa: S311 - those of `large_crl`
    serials = [int.from_bytes(b"\x40" + numbers.randbytes(14), "big") for _ in range(5000)]
    serials += [serial ^ 1 << 119 for serial in serials]
    assert crl.find(serials[0])

    def every() -> None:
        for serial in serials:
            crl.find(serial)

    return _seconds(every) / len(serials)


def _cold() -> float:
    knowledge = _knowledge()
    alice = Certificate(chain()[2].certificate.der)
    trust = Trust(knowledge)
    found = []
    at = NOW + timedelta(minutes=1)
    spent = _seconds(lambda: found.append(trust.verdict(alice, Purpose.ENCRYPT, at, RULES)))
    assert found[0].usable
    return spent


def _knowledge() -> Knowledge:
    top, sub, _ = chain()
    return Knowledge(
        roots=[Certificate(top.certificate.der)],
        authorities=[Certificate(sub.certificate.der)],
        crls=crls(),
    )


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


def _sequence(*parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content).to_bytes(4, "big").lstrip(b"\0")
    return (
        b"\x30" + (bytes([0x80 | len(size)]) + size if len(content) > 127 else size) + content
    )


def crl_1m_gap() -> float:
    """The longest time that an event loop is kept waiting while a million entries are read in
    a thread beside it."""
    der = large_crl()
    gaps: list[float] = []

    async def tick() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(TICK)
            now = time.perf_counter()
            gaps.append(now - last - TICK)
            last = now

    async def measure() -> None:
        ticking = asyncio.create_task(tick())
        await asyncio.to_thread(Crl.read, der)
        ticking.cancel()

    uvloop.run(measure())
    return max(gaps)


def measured() -> dict[str, tuple[float, str, float]]:
    """Value, unit and what it may be, of every row. Memory first: nothing is in it yet."""
    entry = crl_1m_bytes()
    allowed = 3 * bare_signatures() + 1e-3
    return {
        "verdict-cold": (verdict_cold() * 1e6, "µs", allowed * 1e6),
        "verdict-hit": (verdict_hit() * 1e6, "µs", 5.0),
        "verdict-mesh": (verdict_mesh() * 1e3, "ms", 100.0),
        "crl-1m-load": (crl_1m_load(), "s", 10.0),
        "crl-1m-gap": (crl_1m_gap() * 1e3, "ms", 50.0),
        "crl-1m-bytes": (entry, "bytes", 64.0),
        "crl-1m-lookup": (crl_1m_lookup() * 1e6, "µs", 50.0),
    }


if __name__ == "__main__":
    print(json.dumps(measured()))
