"""Reading CRLs: facts, the index of revoked serials, and what is refused."""

from __future__ import annotations

import pickle
import random
from datetime import UTC, datetime, timedelta
from zlib import crc32

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from smimefilter.pki import revoked, tlv
from smimefilter.pki.crl import Crl, UnreadableCrl
from smimefilter.pki.points import ALL_REASONS, PointName
from smimefilter.pki.revoked import REMOVED, serial_octets
from tests.support.crls import special_crl
from tests.support.pki import NOW, root

EARLIER = NOW - timedelta(hours=1)


def encode(tag, *parts):
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


ALGORITHM = bytes.fromhex("300d06092a864886f70d01010b0500")
NAME = encode(
    0x30, encode(0x31, encode(0x30, bytes.fromhex("0603550403"), encode(0x0C, b"CA")))
)
THIS = encode(0x17, b"260601110000Z")
NEXT = encode(0x17, b"270101000000Z")
WHEN = encode(0x17, b"260101000000Z")


def entry(serial, when=WHEN, extensions=b""):
    return encode(0x30, encode(0x02, serial_octets(serial)), when, extensions)


def crl_of(entries, *, this=THIS, following=NEXT, inner=ALGORITHM, extensions=b"", version=1):
    """A CRL, DER, whose signature is nobody's."""
    signed = encode(
        0x30, encode(0x02, bytes([version])), inner, NAME, this, following,
        encode(0x30, *entries) if entries else b"", extensions,
    )  # fmt: skip
    return encode(0x30, signed, ALGORITHM, encode(0x03, b"\0" + bytes(256)))


def test_facts():
    ca = root()
    crl = Crl.read(special_crl(ca, [5, 2**150], number=7, delta_of=3))
    assert crl.issuer_der == ca.certificate.subject_der
    assert (crl.this_update, crl.next_update) == (EARLIER, NOW + timedelta(days=7))
    assert (crl.number, crl.base_number, crl.is_delta) == (7, 3, True)
    assert crl.count == 2
    assert (crl.scope, crl.unprocessed, crl.other_issuers) == (None, False, False)


def test_signed_bytes_and_signature_are_as_they_came():
    der = special_crl(root(), [1])
    crl, other = Crl.read(der), x509.load_der_x509_crl(der)
    assert bytes(crl.signed) == other.tbs_certlist_bytes
    assert crl.signature == other.signature


def test_no_entries_no_number():
    crl = Crl.read(special_crl(root(), number=None))
    assert (crl.count, crl.number, crl.base_number) == (0, None, None)
    assert crl.find(1) is None


def test_what_an_entry_says():
    der = special_crl(root(), [9], reason=x509.ReasonFlags.key_compromise, date=NOW)
    found = Crl.read(der).find(9)
    assert found is not None
    assert (found.date, found.reason) == (NOW, "keyCompromise")


def test_scope():
    scope = {"only_contains_user_certs": True, "url": "http://crl.example.com/a.crl"}
    crl = Crl.read(special_crl(root(), scope=scope))
    assert crl.scope is not None
    url = bytes([0x86, 28]) + b"http://crl.example.com/a.crl"
    assert (crl.scope.users_only, crl.scope.point) == (True, PointName(full=(url,)))
    rest = (crl.scope.authorities_only, crl.scope.indirect, crl.scope.reasons)
    assert rest == (False, False, ALL_REASONS)


@pytest.mark.parametrize("special", ["unknown", "unknown_in_entry"])
def test_critical_extensions_nobody_processes(special):
    assert Crl.read(special_crl(root(), [1], **{special: True})).unprocessed


def of_issuer(*names):
    """Entry extensions that name another issuer."""
    issuer = x509.CertificateIssuer(list(names))
    value = encode(0x04, issuer.public_bytes())
    return encode(0x30, encode(0x30, bytes.fromhex("0603551d1d0101ff"), value))


def named(name):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def test_an_entry_is_for_the_issuer_last_named():
    one, two = named("One"), named("Two")
    crl = Crl.read(
        crl_of([
            entry(1), entry(2, extensions=of_issuer(x509.DirectoryName(one))), entry(3),
            entry(1, extensions=of_issuer(x509.DirectoryName(two))),
        ])
    )  # fmt: skip
    assert (crl.other_issuers, crl.unprocessed, crl.is_indirect) == (True, False, False)
    listed = {
        name: {serial for serial in range(5) if crl.find(serial, name.__eq__)}
        for name in (NAME, one.public_bytes(), two.public_bytes())
    }
    assert list(listed.values()) == [{1}, {2, 3}, {1}]
    assert all(map(crl.find, (1, 2, 3)))


def test_an_entry_of_an_issuer_without_a_name_clears_nobody():
    crl = Crl.read(crl_of([entry(1, extensions=of_issuer(x509.DNSName("a.example")))]))
    assert crl.unprocessed
    assert crl.find(1, NAME.__eq__)


@given(st.sets(st.integers(min_value=-(2**159), max_value=2**159), max_size=40), st.data())
def test_finds_what_is_listed_and_nothing_else(serials, data):
    crl = Crl.read(crl_of([entry(serial) for serial in serials]))
    assert crl.count == len(serials)
    assert all(crl.find(serial) for serial in serials)
    other = data.draw(st.integers(min_value=-(2**159), max_value=2**159))
    assert (crl.find(other) is not None) == (other in serials)


def test_a_revoking_entry_comes_before_one_that_takes_back():
    removed = bytes.fromhex("300c300a0603551d1504030a0108")
    crl = Crl.read(
        crl_of([entry(1, extensions=removed), entry(1), entry(2, extensions=removed)])
    )
    revoked, taken_back = crl.find(1), crl.find(2)
    assert revoked is not None
    assert revoked.reason == ""
    assert taken_back is not None
    assert taken_back.reason == REMOVED


def test_an_entry_with_an_impossible_date_revokes_since_ever():
    found = Crl.read(crl_of([entry(1, when=encode(0x17, b"261399000000Z"))])).find(1)
    assert found is not None
    assert found.date == datetime(1, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "tag", "year"),
    [(b"490101000000Z", 0x17, 2049), (b"500101000000Z", 0x17, 1950),
     (b"20600101000000Z", 0x18, 2060)],
)  # fmt: skip
def test_years(text, tag, year):
    assert Crl.read(crl_of([], this=encode(tag, text))).this_update.year == year


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"garbage",
        crl_of([entry(1)])[:-1],
        crl_of([entry(1)]) + b"\0",
        crl_of([entry(1)], inner=bytes.fromhex("300d06092a864886f70d01010c0500")),
        crl_of([entry(1)], this=encode(0x17, b"2606011100Z")),
        crl_of([entry(1)], this=encode(0x18, b"20260601110000.5Z")),
        crl_of([encode(0x31, b"")]),
        crl_of([encode(0x30, encode(0x02, b""), WHEN)]),
        crl_of([encode(0x30, encode(0x02, b"\1"), encode(0x0C, b"x"))]),
        crl_of([encode(0x30, encode(0x02, b"\0\1"), WHEN)]),  # would not be found by value
        crl_of([encode(0x30, encode(0x02, b"\1"), WHEN, b"\x05\x00")]),
        crl_of([encode(0x30, encode(0x02, b"\1"), WHEN)[:-3]]),
        crl_of([entry(1)], extensions=encode(0xA0, encode(0x30, b"\x05\x00"))),
    ],
)
def test_what_is_refused(der):
    with pytest.raises(UnreadableCrl):
        Crl.read(der)


@given(st.data())
def test_damaged_bytes_are_refused_or_read_never_more(data):
    der = bytearray(special_crl(root(), [1, 2**100], number=4, scope={"indirect_crl": True}))
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    try:
        crl = Crl.read(bytes(der))
    except UnreadableCrl:
        return
    crl.find(1)
    crl.find(2**100)


def test_many_entries_cost_little_and_are_all_found():
    numbers = random.Random(1)  # noqa: S311 - serial numbers to look for
    serials = [numbers.getrandbits(159) for _ in range(20_000)]
    crl = Crl.read(crl_of([entry(serial) for serial in serials]))
    assert crl._index.size_in_bytes <= 8 * len(serials)
    assert all(crl.find(serial) for serial in serials)
    assert not any(crl.find(numbers.getrandbits(159)) for _ in range(1000))


def test_goes_to_another_process_and_back():
    crl = Crl.read(crl_of([entry(1)]))
    again = pickle.loads(pickle.dumps(crl))  # noqa: S301 - our own bytes
    assert again == crl
    assert again.find(1)


def test_tlv_lengths_are_the_shortest():
    assert tlv.element(b"\x04\x81\x80" + bytes(128), 0, 131) == (4, 3, 131)
    for der in (
        b"\x04\x81\x01\0",
        b"\x04\x80\0\0",
        b"\x04\x82\0\x80" + bytes(128),
        b"\x1f\1\0",
    ):
        with pytest.raises(tlv.BadDer):
            tlv.element(der, 0, len(der))


def test_serials_made_to_collide_cost_no_more_than_others():
    """Chosen so that a few buckets get them all."""
    buckets = 4000 // 2 + 1
    serials, n = [], 1 << 64
    while len(serials) < 4000:
        n += 1
        if crc32(serial_octets(n)) % buckets < 40:
            serials.append(n)
    crl = Crl.read(crl_of([entry(serial) for serial in serials]))
    assert all(crl.find(serial) for serial in serials)
    assert crl.find(1) is None


def test_one_serial_a_thousand_times_is_looked_at_so_often_and_revoked(monkeypatch):
    monkeypatch.setattr(revoked, "_LOOKED_AT", 50)
    reason = encode(0x30, bytes.fromhex("0603551d15"), encode(0x04, bytes.fromhex("0a0108")))
    taken_back = entry(7, extensions=encode(0x30, reason))
    crl = Crl.read(crl_of([taken_back] * 1000))
    found = crl.find(7)
    assert found is not None
    assert found.reason == "unreadable"
