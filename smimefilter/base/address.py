"""Mail addresses as this gateway compares them.

An address is compared by its *key*: the local part in lower case, the domain in lower case
A-labels (IDNA 2008), joined by `@`. `Müller@Bücher.example` and `müller@xn--bcher-kva.example`
have one key. The local part is matched without regard to case because mail systems do so in
practice and two certificates that differ in case alone belong to one person
(`docs/decisions/0003-address-comparison.md`).

Leaves header parsing to `message/`, and SMTP path syntax to `smtp/`.
RFC 5321 §4.1.2, RFC 5891, RFC 6531, RFC 8398. Raises `BadAddress`.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import idna

NULL_SENDER = ""
LONGEST = 998  # characters; RFC 5322 §2.1.1: no line is longer


class BadAddress(ValueError):
    """A text that is not one mail address; the message says what is wrong with it."""


def domain_key(domain: str) -> str:
    """A domain in its comparable form: lower case A-labels, no trailing dot.

    Raises `BadAddress` for an empty label or one that IDNA does not allow.
    """
    domain = domain.removesuffix(".")
    if not domain:
        raise BadAddress("the domain is empty")
    if domain.startswith("["):
        return domain.lower()
    if domain.isascii():
        lowered = domain.lower()
        if "" in lowered.split(".") or _has_space_or_control(lowered):
            raise BadAddress(f"'{domain}' is not a domain")
        return lowered
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise BadAddress(f"'{domain}' is not a domain: {error}") from None


@lru_cache(maxsize=65536)
def address_key(address: str) -> str:
    """The comparable form of `address` (without angle brackets).

    Raises `BadAddress` when it has no local part, no domain, or characters no address has.
    """
    if len(address) > LONGEST:
        raise BadAddress(f"'{address[:60]}...' is too long for a mail address")
    local, at, domain = address.rpartition("@")
    if not at or not local:
        raise BadAddress(
            f"'{address}' is not a mail address: it needs a name before and a domain after '@'"
        )
    quoted = len(local) > 1 and local[0] == local[-1] == '"'
    if not quoted and ("@" in local or _has_space_or_control(local)):
        raise BadAddress(
            f"'{address}' is not a mail address: a space, control character or second '@'"
        )
    return f"{_local_key(local)}@{domain_key(domain)}"


def domain_of(address: str) -> str:
    """The domain part of an address or of a key, as written (empty when there is none)."""
    return address.rpartition("@")[2] if "@" in address else ""


def _local_key(local: str) -> str:
    if len(local) > 1 and local[0] == local[-1] == '"':
        inner = local[1:-1].replace("\\", "")
        if inner and not set(inner) & set(' ()<>[]:;@\\,"') and ".." not in inner:
            local = inner  # a quoted string that did not need its quotes is the same address
    return local.lower() if local.isascii() else _wide_local_key(local)


def _wide_local_key(local: str) -> str:
    """NFC and lower case, each character for itself: nothing that is another mailbox becomes
    this one (`ß` is not `ss`), and what only looks like ASCII (the Kelvin sign) is refused."""
    if any(not c.isascii() and unicodedata.normalize("NFKC", c).isascii() for c in local):
        raise BadAddress(f"'{local}' has a character that stands for an ASCII one")
    composed = unicodedata.normalize("NFC", local)
    return "".join(low if len(low := c.lower()) == 1 else c for c in composed)


def _has_space_or_control(text: str) -> bool:
    return any(c <= " " or c == "\x7f" for c in text)
