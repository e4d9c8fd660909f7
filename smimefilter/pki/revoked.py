"""What a CRL revokes, by serial number: an index over the DER of its entries.

Offsets into the bytes, in buckets by a hash of the serial (`array`, no object per entry), so
that a million entries cost their bytes and six more each, and a lookup costs microseconds. Made
in one walk that looks at every entry, in a time that grows with their number alone, whatever
the serials are; what an entry says is read when it is found. In an indirect CRL an entry may
name another issuer, for itself and those that follow (§5.3.3): where that changes is kept
beside the buckets.

Leaves the rest of the CRL to `crl.py`. RFC 5280 §5.1.2.6 and §5.3. Raises `BadDer`, and
`IndexError` where the bytes end too early.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from typing import Final
from zlib import crc32

from . import tlv
from .points import directory_names

_REASON: Final = bytes.fromhex("551d15")
_INVALIDITY_DATE: Final = bytes.fromhex("551d18")
_CERTIFICATE_ISSUER: Final = bytes.fromhex("551d1d")
_KNOWN: Final = frozenset({_REASON, _INVALIDITY_DATE, _CERTIFICATE_ISSUER})  # when critical

REMOVED: Final = "removeFromCRL"
REASONS: Final = {
    0: "unspecified", 1: "keyCompromise", 2: "cACompromise", 3: "affiliationChanged",
    4: "superseded", 5: "cessationOfOperation", 6: "certificateHold", 8: REMOVED,
    9: "privilegeWithdrawn", 10: "aACompromise",
}  # fmt: skip

_SINCE_EVER: Final = datetime(1, 1, 1, tzinfo=UTC)
_SEEN_LIMIT: Final = 4096  # distinct entry extensions remembered while walking
_LOOKED_AT: Final = 4096  # entries of one bucket; serials that share one are made to


@dataclass(frozen=True, slots=True)
class Revocation:
    """One entry: when, and why if it says so (a name of `REASONS`)."""

    date: datetime
    reason: str


class RevokedIndex:
    """Where in the DER the entry of a serial number begins; two entries to a bucket."""

    __slots__ = ("_der", "_issuers", "_positions", "_starts", "unprocessed")

    def __init__(self, der: bytes, start: int, end: int) -> None:
        self._der: Final = der
        self.unprocessed = False
        self._issuers: Final = array("I")  # where entries begin that name their issuer
        hashes, positions = self._walk(start, end)
        buckets = len(positions) // 2 + 1
        ends = array("I", bytes(4 * (buckets + 1)))
        for digest in hashes:
            ends[digest % buckets + 1] += 1
        ends = array("I", accumulate(ends))
        self._starts: Final = ends[:]  # of each bucket among the positions
        self._positions: Final = array("I", bytes(4 * len(positions)))
        for digest, position in zip(hashes, positions, strict=True):
            bucket = digest % buckets
            self._positions[ends[bucket]] = position
            ends[bucket] += 1

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def size_in_bytes(self) -> int:
        """Memory it takes beside the DER."""
        arrays = (self._starts, self._positions, self._issuers)
        return sum(one.itemsize * len(one) for one in arrays)

    @property
    def other_issuers(self) -> bool:
        """An entry names the issuer of its certificate."""
        return bool(self._issuers)

    def _walk(self, position: int, end: int) -> tuple[array[int], array[int]]:
        """Hash of the serial and offset of every entry; checks each entry on the way."""
        der = self._der
        hashes, positions = array("I"), array("I")
        seen: dict[bytes, bool] = {}
        while position < end:
            start, stop = position + 2, position + 2 + der[position + 1]
            if der[position] != tlv.SEQUENCE or der[position + 1] >= 0x80:
                start, stop = tlv.expect(der, position, end, tlv.SEQUENCE)
            size = der[start + 1]
            when = start + 2 + size
            after = when + 2 + der[when + 1]
            if (
                der[start] != tlv.INTEGER
                or not 0 < size < 0x80
                or (size > 1 and _padded(der[start + 2], der[start + 3]))
                or (der[when] != tlv.UTC_TIME and der[when] != tlv.GENERALIZED_TIME)
                or after > stop
                or stop > end
            ):
                raise tlv.BadDer(f"the entry at byte {position} is malformed")
            if after < stop:
                extensions = der[after:stop]
                names_issuer = seen.get(extensions)
                if names_issuer is None:
                    names_issuer = self._names_issuer(extensions)
                    if len(seen) < _SEEN_LIMIT:
                        seen[extensions] = names_issuer
                if names_issuer:
                    self._issuers.append(position)
            hashes.append(crc32(der[start + 2 : when]))
            positions.append(position)
            position = stop
        return hashes, positions

    def _names_issuer(self, extensions: bytes) -> bool:
        """Whether these entry extensions do; notes critical ones that are not processed."""
        found = False
        whole = tlv.whole(extensions, tlv.SEQUENCE)
        for oid, critical, value in extensions_in(extensions, *whole):
            if oid == _CERTIFICATE_ISSUER:
                found = True
                if not _issuer_names(value):
                    self.unprocessed = True
            elif critical and oid not in _KNOWN:
                self.unprocessed = True
        return found

    def find(
        self, serial: int, among: Callable[[tuple[bytes, ...]], bool] | None = None
    ) -> Revocation | None:
        """The entry for a serial number, by `Crl.find`'s rules.

        `among` is given the names of the issuer an entry is for, none for the CRL's own. Where
        too many serials share a bucket, this one counts as revoked.
        """
        der = self._der
        content = serial_octets(serial)
        if len(content) >= 0x80:
            return None
        needle = b"\x02%c%b" % (len(content), content)
        bucket = crc32(content) % (len(self._starts) - 1)
        start, end = self._starts[bucket], self._starts[bucket + 1]
        removed = None
        asked: dict[int, bool] = {}  # by where the names of an issuer are; that is asked once
        for position in self._positions[start : min(end, start + _LOOKED_AT)]:
            at = position + 2 + (der[position + 1] & 0x7F if der[position + 1] > 0x7F else 0)
            if not der.startswith(needle, at):
                continue
            if among is not None:
                named = bisect_right(self._issuers, position)
                if named not in asked:
                    asked[named] = among(self._issuer(named))
            if among is None or asked[named]:
                entry = self._entry(position, at + len(needle))
                if entry.reason != REMOVED:
                    return entry
                removed = entry
        if end - start > _LOOKED_AT:
            return Revocation(_SINCE_EVER, "unreadable")
        return removed

    def __iter__(self) -> Iterator[tuple[int, Revocation]]:
        """Serial number and entry of each."""
        der = self._der
        for position in self._positions:
            start, _ = tlv.expect(der, position, len(der), tlv.SEQUENCE)
            when = start + 2 + der[start + 1]
            yield (
                int.from_bytes(der[start + 2 : when], "big", signed=True),
                self._entry(position, when),
            )

    def _issuer(self, before: int) -> tuple[bytes, ...]:
        """Names of the issuer of entries with so many before or at them that name theirs; none
        when it is the CRL's own."""
        if not before:
            return ()
        der = self._der
        entry = tlv.Cursor(
            der, *tlv.expect(der, self._issuers[before - 1], len(der), tlv.SEQUENCE)
        )
        entry.take(tlv.INTEGER)
        entry.take(tlv.UTC_TIME if entry.at(tlv.UTC_TIME) else tlv.GENERALIZED_TIME)
        for oid, _, value in extensions_in(der, *entry.take(tlv.SEQUENCE)):
            if oid == _CERTIFICATE_ISSUER:
                return _issuer_names(value)
        return ()

    def _entry(self, position: int, when: int) -> Revocation:
        try:
            return self._read(position, when)
        except ValueError:
            return Revocation(_SINCE_EVER, "unreadable")

    def _read(self, position: int, when: int) -> Revocation:
        der = self._der
        _, stop = tlv.expect(der, position, len(der), tlv.SEQUENCE)
        rest = tlv.Cursor(der, when, stop)
        date = time_in(der, rest)
        reason = ""
        if rest.at(tlv.SEQUENCE):
            for oid, _, value in extensions_in(der, *rest.take(tlv.SEQUENCE)):
                if oid == _REASON:
                    start, end = tlv.whole(value, tlv.ENUMERATED)
                    code = int.from_bytes(value[start:end], "big")
                    reason = REASONS.get(code, f"reason {code}")
        return Revocation(date, reason)


def _issuer_names(value: bytes) -> tuple[bytes, ...]:
    return directory_names(value, *tlv.whole(value, tlv.SEQUENCE))


def _padded(first: int, second: int) -> bool:
    """An INTEGER not in its shortest form would not be found by its value."""
    return (first == 0x00 and second < 0x80) or (first == 0xFF and second >= 0x80)


def serial_octets(serial: int) -> bytes:
    """The content octets of a serial number as DER has them, negative ones included."""
    size = (serial if serial >= 0 else ~serial).bit_length() // 8 + 1
    return serial.to_bytes(size, "big", signed=True)


def extensions_in(der: bytes, position: int, end: int) -> list[tuple[bytes, bool, bytes]]:
    """OID (content octets), critical and value of each extension in `der[position:end]`."""
    found = []
    for tag, start, stop in tlv.elements(der, position, end):
        if tag != tlv.SEQUENCE:
            raise tlv.BadDer("an extension is malformed")
        extension = tlv.Cursor(der, start, stop)
        oid, oid_end = extension.take(tlv.OID)
        critical = False
        if extension.at(tlv.BOOLEAN):
            flag, flag_end = extension.take(tlv.BOOLEAN)
            critical = der[flag:flag_end] != b"\0"
        value, value_end = extension.take(tlv.OCTET_STRING)
        extension.finish()
        found.append((der[oid:oid_end], critical, der[value:value_end]))
    return found


def time_in(der: bytes, cursor: tlv.Cursor) -> datetime:
    """The next element: a Time, to the second and in UTC as RFC 5280 §4.1.2.5 wants it."""
    utc = cursor.at(tlv.UTC_TIME)
    start, end = cursor.take(tlv.UTC_TIME if utc else tlv.GENERALIZED_TIME)
    text = der[start:end]
    if utc:
        text = (b"19" if text[:2] >= b"50" else b"20") + text
    if len(text) != 15 or not text[:14].isdigit() or not text.endswith(b"Z"):
        raise tlv.BadDer("a time is malformed")
    month, day, hour, minute, second = (int(text[at : at + 2]) for at in range(4, 14, 2))
    return datetime(int(text[:4]), month, day, hour, minute, second, tzinfo=UTC)
