"""Importing certificates, private keys and CRLs, with a summary of what became of each.

One command is one change of the store: either everything in its files that can be taken is
stored, or nothing. A file that cannot be read at all ends the command; an item that cannot be
taken is refused, with the reason, beside those that are.

Leaves file formats to `pki/keyfile.py`, trust to `trust/`. Raises `AdminError`,
`NeedsPassword`, `StoreTrouble`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from smimefilter.base.errors import AdminError, KeyTrouble, joined
from smimefilter.pki.build import Identity
from smimefilter.pki.certificate import Certificate
from smimefilter.pki.details import crl_issuer
from smimefilter.pki.export import key_pkcs8
from smimefilter.pki.keyfile import (
    KeyFile,
    PasswordNeeded,
    UnreadableKeyFile,
    WrongPassword,
    read,
)
from smimefilter.pki.privatekey import belongs_together
from smimefilter.ports.keys import PRIVATE_KEY, Sealer
from smimefilter.ports.stores import Certificates, Crls, Shelf, WrappedKey

NOT_A_CA: Final = (
    "not a CA certificate, and only those can be roots: "
    "import it as a certificate, and white-list it to trust it alone"
)
NOT_SELF_ISSUED: Final = (
    "an intermediate CA, not a root: import it as a certificate, "
    "or force it to trust it like a root"
)
NO_CERTIFICATE: Final = "no certificate of this key in the file or in the store"
CERTIFICATE_HERE: Final = "a certificate: import it as one"
CRL_HERE: Final = "a CRL: import it as one"
_LONGEST_ORIGIN: Final = 200


class NeedsPassword(AdminError):
    """A file is protected by a password, and none was given."""


class Outcome(StrEnum):
    """What became of an item."""

    ADDED = "added"
    REPLACED = "replaced"  # a private key, which was there and could not be opened
    PRESENT = "already there"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Source:
    """A file to import: its name, as messages call it, and its bytes."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Item:
    """One certificate, key or CRL of an import."""

    outcome: Outcome
    what: str  # the subject of a certificate, the issuer of a CRL, or a place in the file
    thumbprint: str = ""  # of a certificate (SHA-512) or CRL (SHA-256)
    with_key: bool = False  # its private key was in the file
    reason: str = ""  # of a refusal


@dataclass(frozen=True, slots=True)
class Summary:
    """All items, in the order of the files."""

    items: tuple[Item, ...]

    def count(self, outcome: Outcome) -> int:
        """How many items fared so."""
        return sum(item.outcome is outcome for item in self.items)


async def import_certificates(
    store: Certificates, sources: Sequence[Source], shelf: Shelf, *, force: bool = False
) -> Summary:
    """Store certificates. Private keys and CRLs in the files are refused.

    Only CAs become roots, and without `force` only self-issued ones: an intermediate in a
    chain file must not become a trust anchor by accident.
    """
    files = await _read_all(sources, keys=False)
    taken: dict[Certificate, None] = {}
    refused = _refused(files) + _crls_refused(files)
    for certificate in _certificates(files):
        reason = _no_root(certificate, force) if shelf is Shelf.ROOTS else ""
        if reason:
            refused.append(_item(certificate, Outcome.REFUSED, reason=reason))
        else:
            taken[certificate] = None
    new = await store.add(list(taken), shelf, _origin(sources))
    items = [
        _item(certificate, _outcome(is_new))
        for certificate, is_new in zip(taken, new, strict=True)
    ]
    return Summary((*items, *refused))


async def import_keys(
    store: Certificates, sealer: Sealer, sources: Sequence[Source], password: str | None
) -> Summary:
    """Store private keys with their certificates; chain certificates in the files as well.

    A key alone is stored when its certificate is in the store already. One that is stored and
    cannot be opened is replaced. Everything goes to the certificates shelf: a root that came
    with a key is not trusted for that.
    Raises `NeedsPassword` when `password` is None and a file has one.
    """
    files = await _read_all(sources, password=password)
    refused = _refused(files) + _crls_refused(files)
    identities, homeless = await _at_home(store, files)
    refused += [
        Item(Outcome.REFUSED, "a private key", with_key=True, reason=NO_CERTIFICATE)
        for _ in homeless
    ]
    stored = {key.thumbprint: key for key in await store.keys()}
    certificates = list(
        dict.fromkeys([*(one.certificate for one in identities), *_certificates(files)])
    )
    keys = [_wrapped(identity, sealer) for identity in identities]
    with_key = {key.thumbprint for key in keys}
    there = [stored[one] for one in with_key if one in stored]
    spoilt = [key for key in there if not _opens(key, sealer)]
    new = await store.add_with_keys(certificates, keys, _origin(sources), spoilt)
    added, replaced = with_key - stored.keys(), {key.thumbprint for key in spoilt}
    items = [
        _item(
            one,
            Outcome.REPLACED
            if one.thumbprint in replaced
            else _outcome(is_new or one.thumbprint in added),
            with_key=one.thumbprint in with_key,
        )
        for one, is_new in zip(certificates, new, strict=True)
    ]
    return Summary((*items, *refused))


async def import_crls(store: Crls, sources: Sequence[Source]) -> Summary:
    """Store CRLs. Whether their signatures are good is found when they are used."""
    files = await _read_all(sources, keys=False)
    crls = list(dict.fromkeys(der for file in files for der in file.crls))
    new = await store.add(crls, _origin(sources))
    items = [_crl_item(der, _outcome(is_new)) for der, is_new in zip(crls, new, strict=True)]
    others = [
        _item(certificate, Outcome.REFUSED, reason=CERTIFICATE_HERE)
        for certificate in _certificates(files)
    ]
    return Summary((*items, *others, *_refused(files)))


# reading


async def _read_all(
    sources: Sequence[Source], *, password: str | None = None, keys: bool = True
) -> list[KeyFile]:
    """All files, in a thread: a password takes its time. Raises `AdminError`, a line for each
    that cannot be read: then none is imported."""
    files: list[KeyFile] = []
    errors: list[AdminError] = []
    for source in sources:
        try:
            files.append(await asyncio.to_thread(_read, source, password=password, keys=keys))
        except NeedsPassword:
            raise
        except AdminError as error:
            errors.append(error)
    if errors:
        raise joined(errors)
    return files


def _read(source: Source, *, password: str | None, keys: bool) -> KeyFile:
    try:
        return read(source.content, password, keys=keys)
    except PasswordNeeded as error:
        raise NeedsPassword(str(error), where=source.name, mend="give its password") from None
    except WrongPassword as error:
        raise AdminError(str(error), where=source.name, mend="try the right one") from None
    except UnreadableKeyFile as error:
        raise AdminError(
            f"nothing could be imported: {error}", where=source.name, mend="see what is in it"
        ) from None


def _certificates(files: Iterable[KeyFile]) -> list[Certificate]:
    return list(dict.fromkeys(one for file in files for one in file.certificates))


def _origin(sources: Sequence[Source]) -> str:
    return f"import {', '.join(source.name for source in sources)}"[:_LONGEST_ORIGIN]


# rules


def _no_root(certificate: Certificate, force: bool) -> str:
    """Why a certificate is not taken as a root; empty when it is."""
    if not certificate.is_ca:
        return NOT_A_CA
    if not certificate.is_self_issued and not force:
        return NOT_SELF_ISSUED
    return ""


async def _at_home(
    store: Certificates, files: Sequence[KeyFile]
) -> tuple[list[Identity], list[PrivateKeyTypes]]:
    """Keys with their certificates, of the files or of the store, and keys with none."""
    identities = [one for file in files for one in file.identities]
    lone = [key for file in files for key in file.lone_keys]
    if not lone:
        return identities, []
    known = _certificates(files)
    known += [entry.certificate for entry in await store.all(Shelf.CERTIFICATES)]
    homeless = []
    for key in lone:
        found = [Identity(one, key) for one in known if belongs_together(one, key)]
        identities += found
        if not found:
            homeless.append(key)
    return identities, homeless


def _wrapped(identity: Identity, sealer: Sealer) -> WrappedKey:
    thumbprint = identity.certificate.thumbprint
    return WrappedKey(thumbprint, sealer.seal(PRIVATE_KEY, thumbprint, key_pkcs8(identity.key)))


def _opens(key: WrappedKey, sealer: Sealer) -> bool:
    try:
        sealer.open(PRIVATE_KEY, key.thumbprint, key.blob)
    except KeyTrouble:
        return False
    return True


# the summary


def _outcome(is_new: bool) -> Outcome:
    return Outcome.ADDED if is_new else Outcome.PRESENT


def _item(
    certificate: Certificate, outcome: Outcome, *, with_key: bool = False, reason: str = ""
) -> Item:
    return Item(outcome, certificate.subject, certificate.thumbprint, with_key, reason)


def _crl_item(der: bytes, outcome: Outcome, *, reason: str = "") -> Item:
    sha256 = hashlib.sha256(der).hexdigest()
    return Item(outcome, f"CRL of {crl_issuer(der)}", sha256, reason=reason)


def _refused(files: Iterable[KeyFile]) -> list[Item]:
    return [
        Item(Outcome.REFUSED, one.what, reason=one.why)
        for file in files
        for one in file.refused
    ]


def _crls_refused(files: Iterable[KeyFile]) -> list[Item]:
    return [
        _crl_item(der, Outcome.REFUSED, reason=CRL_HERE) for file in files for der in file.crls
    ]
