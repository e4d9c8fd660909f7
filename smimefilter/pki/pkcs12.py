"""PKCS#12 files, opened: every certificate, key and CRL in them, as DER.

Reads what OpenSSL 1 and 3, Windows, macOS, NSS (Thunderbird, Firefox) and Java write: several
keys in one file, BER with indefinite lengths, files without MAC, PBMAC1, empty passwords in
both spellings. The MAC is verified before anything is decrypted.

Leaves deriving keys and decrypting to `pbe.py`, what certificates and keys say to `keyfile.py`.
RFC 7292. Raises `UnreadableKeyFile`, `PasswordNeeded`, `WrongPassword`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from asn1crypto import cms, keys, pkcs12

from .pbe import (
    Effort,
    PasswordNeeded,
    Spelling,
    UnreadableKeyFile,
    WrongPassword,
    decrypt,
    spellings,
    verify_mac,
)

T = TypeVar("T")

_MALFORMED: Final = (ValueError, TypeError, KeyError, IndexError, OverflowError)
_DEEPEST: Final = 8  # SafeContents within SafeContents


@dataclass(slots=True)
class Contents:
    """What a file holds, each as DER; `others` names the items that are none of these."""

    certificates: list[bytes] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list, repr=False)  # PKCS#8, in clear
    crls: list[bytes] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def open_pkcs12(data: bytes, password: str | None, effort: Effort) -> Contents:
    """Everything in a PKCS#12 file (BER or DER).

    `password` None is for a file that has none; an empty one is tried in both spellings.
    Raises `PasswordNeeded` for None where there is one, `WrongPassword`, `UnreadableKeyFile`.
    """
    try:
        return _Opening(data, password, effort).contents()
    except WrongPassword:
        if password is None:
            raise PasswordNeeded("it is protected by a password") from None
        raise
    except UnreadableKeyFile:
        raise
    except _MALFORMED:
        raise UnreadableKeyFile("its PKCS#12 structure is damaged") from None


def open_encrypted_key(data: bytes, password: str | None, effort: Effort) -> bytes:
    """PKCS#8 in clear from an EncryptedPrivateKeyInfo. Raises as `open_pkcs12`."""
    if password is None:
        raise PasswordNeeded("a private key in it is protected by a password")
    try:
        shrouded = keys.EncryptedPrivateKeyInfo.load(data)
        return _unshroud(shrouded, spellings(password), effort)
    except UnreadableKeyFile:
        raise
    except _MALFORMED:
        raise UnreadableKeyFile("its encrypted private key is damaged") from None


class _Opening:
    """One file on its way to its contents."""

    def __init__(self, data: bytes, password: str | None, effort: Effort) -> None:
        pfx = pkcs12.Pfx.load(data)
        if pfx["auth_safe"]["content_type"].native != "data":
            raise UnreadableKeyFile("it is protected by a public key, which is not supported")
        self._content: Final[bytes] = pfx["auth_safe"]["content"].native
        self._effort: Final = effort
        self._passwords: Final = self._proven(pfx["mac_data"], spellings(password))
        self._found: Final = Contents()

    def _proven(
        self, mac: pkcs12.MacData, candidates: Sequence[Spelling]
    ) -> tuple[Spelling, ...]:
        """The spellings of the password that the MAC agrees with; all where there is none."""
        if not mac.native:
            return tuple(candidates)
        one_each = {way.bmp: way for way in reversed(candidates)}
        proven = {
            bmp
            for bmp, way in one_each.items()
            if verify_mac(mac, self._content, way, self._effort)
        }
        if not proven:
            raise WrongPassword("the password is wrong")
        return tuple(way for way in candidates if way.bmp in proven)

    def contents(self) -> Contents:
        for info in pkcs12.AuthenticatedSafe.load(self._content):
            kind = info["content_type"].native
            if kind == "data":
                self._walk(_safe_contents(info["content"].native))
            elif kind == "encrypted_data":
                self._walk(self._decrypted(info["content"]["encrypted_content_info"]))
            else:
                raise UnreadableKeyFile(f"a part of it is {kind}, which is not supported")
        return self._found

    def _decrypted(self, info: cms.EncryptedContentInfo) -> pkcs12.SafeContents:
        def attempt(password: Spelling) -> pkcs12.SafeContents:
            algorithm = info["content_encryption_algorithm"]
            ciphertext = info["encrypted_content"].native
            return _safe_contents(decrypt(algorithm, ciphertext, password, self._effort))

        return _first(attempt, self._passwords)

    def _walk(self, bags: pkcs12.SafeContents, depth: int = 0) -> None:
        if depth > _DEEPEST:
            raise UnreadableKeyFile("its parts are nested too deeply")
        for bag in bags:
            kind, value = bag["bag_id"].native, bag["bag_value"]
            if kind == "safe_contents":
                self._walk(value, depth + 1)
            elif kind == "key_bag":
                self._found.keys.append(value.untag().dump())
            elif kind == "pkcs8_shrouded_key_bag":
                self._found.keys.append(_unshroud(value, self._passwords, self._effort))
            elif kind == "cert_bag" and value["cert_id"].native == "x509":
                self._found.certificates.append(bytes(value["cert_value"]))
            elif kind == "crl_bag":
                self._found.crls.append(value["crl_value"].native)
            else:
                self._found.others.append(str(kind))


def _safe_contents(der: bytes) -> pkcs12.SafeContents:
    """Parsed to its bags at once, so that the bytes of a wrong password show as such."""
    bags = pkcs12.SafeContents.load(der, strict=True)
    for bag in bags:
        _ = bag["bag_id"].native
    return bags


def _unshroud(
    shrouded: keys.EncryptedPrivateKeyInfo, passwords: Sequence[Spelling], effort: Effort
) -> bytes:
    def attempt(password: Spelling) -> bytes:
        algorithm, ciphertext = shrouded["encryption_algorithm"], shrouded["encrypted_data"]
        plain = decrypt(algorithm, ciphertext.native, password, effort)
        _ = keys.PrivateKeyInfo.load(plain)["version"].native
        return plain

    return _first(attempt, passwords)


def _first(attempt: Callable[[Spelling], T], passwords: Sequence[Spelling]) -> T:
    """The result for the first spelling that opens it."""
    for password in passwords:
        try:
            return attempt(password)
        except WrongPassword:
            continue
        except UnreadableKeyFile:
            raise
        except _MALFORMED:
            continue  # padding that happened to be right over bytes that are not
    raise WrongPassword("the password is wrong")
