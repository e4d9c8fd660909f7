"""What a CA of ours that is to be made is like: checked, and as certificates say it. Pure.

The intermediate is for mail alone, and where that is wanted for some domains alone.
RFC 5280 §4.2.1.10 (name constraints), §4.2.1.12 and Appendix A (length of names). Raises
`AdminError`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from cryptography.x509.oid import ExtendedKeyUsageOID

from smimefilter.base.address import BadAddress, address_key
from smimefilter.base.errors import AdminError
from smimefilter.pki.build import KEY_KINDS, SHA1, Profile
from smimefilter.trust.constraints import address_base

BACKDATED: Final = timedelta(hours=1)  # clocks of others may be behind
LONGEST: Final = 36_500  # days
LONGEST_NAME: Final = 64  # characters; ub-common-name, ub-organization-name
STRONG_KEYS: Final = ("rsa2048", "rsa3072", "rsa4096", "p256", "p384")
DIGESTS: Final = ("sha256", "sha384", "sha512")
_MAIL_ALONE: Final = frozenset({ExtendedKeyUsageOID.EMAIL_PROTECTION.dotted_string})


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAuthority:
    """A CA to be made."""

    root_name: str
    name: str
    days: int = 7300
    key: str = "rsa4096"
    digest: str = "sha256"
    email: str = ""
    crl_url: str = ""  # template of the root's CRL, for the intermediate; see `url_for`
    crl_days: int = 7
    domains: tuple[str, ...] = ()  # the intermediate speaks for these alone; none: for all
    make_default: bool = True
    force: bool = False  # weak keys and digests too


def check(wanted: NewAuthority) -> None:
    """Whether a CA may be like that. Raises `AdminError`."""
    if not wanted.root_name.strip() or not wanted.name.strip():
        raise AdminError("a CA needs a common name, and so does its root")
    if wanted.root_name.strip().casefold() == wanted.name.strip().casefold():
        raise AdminError(
            "root and intermediate have the same common name",
            mend="choose two: programs tell them apart by it",
        )
    for name in (wanted.root_name.strip(), wanted.name.strip()):
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise AdminError(
                f"takes at most {LONGEST_NAME} printable characters, this is {len(name)}",
                where=f"common name {name[:LONGEST_NAME]}",
                mend="choose another name",
            )
    _check_address(wanted.email)
    if wanted.key not in KEY_KINDS:
        raise AdminError(
            f"no such kind of key: {wanted.key}", mend=f"one of {', '.join(STRONG_KEYS)}"
        )
    if not 1 <= wanted.days <= LONGEST:
        raise AdminError(f"a CA is valid for 1 to {LONGEST} days, not {wanted.days}")
    if wanted.digest not in {*DIGESTS, SHA1}:
        raise AdminError(f"no digest: {wanted.digest}", mend=f"one of {', '.join(DIGESTS)}")
    weak = weakness(wanted.key, wanted.digest)
    if weak and not wanted.force:
        raise AdminError(weak, mend="choose something stronger, or say --force")
    _permitted(wanted.domains)


def _check_address(email: str) -> None:
    try:
        address_key(email or "nobody@localhost")
    except BadAddress as error:
        raise AdminError(str(error), mend="write one such as ca@example.com") from None


def root_profile(wanted: NewAuthority, now: datetime) -> Profile:
    """Of the root."""
    return _profile(wanted, now, wanted.root_name)


def issuing_profile(wanted: NewAuthority, now: datetime, crl_url: str) -> Profile:
    """Of the intermediate; `crl_url`: of the root's CRL, or empty. Raises `AdminError`."""
    return replace(
        _profile(wanted, now, wanted.name),
        path_length=0,
        crl_urls=(crl_url,) if crl_url else (),
        extended_key_usage=_MAIL_ALONE,
        permitted_addresses=_permitted(wanted.domains),
    )


def weakness(key: str, digest: str) -> str:
    """Why a kind of key or a digest is not fit for a new certificate; empty when it is."""
    if key not in STRONG_KEYS:
        return f"{key} keys can be broken, or are read by few programs"
    if digest not in DIGESTS:
        return f"signatures with {digest.upper()} can be forged"
    return ""


def _permitted(domains: Collection[str]) -> tuple[str, ...]:
    """Domains as name constraints have them, RFC 5280 §4.2.1.10. Raises `AdminError`."""
    found = []
    for domain in domains:
        base = "" if set(domain) & set("@*[") else address_base(domain.strip(), bad="")
        if not base:
            raise AdminError(
                f"'{domain}' is no domain",
                mend="write example.com, or .example.com for those below it",
            )
        found.append(base)
    return tuple(dict.fromkeys(found))


def _profile(wanted: NewAuthority, now: datetime, name: str) -> Profile:
    return Profile(
        common_name=name.strip(),
        not_before=now - BACKDATED,
        not_after=now + timedelta(days=wanted.days),
        addresses=(wanted.email,) if wanted.email else (),
        ca=True,
        digest=wanted.digest,
    )
