"""Syntax of the arguments of MAIL and RCPT: a path in angle brackets, then parameters.

The address comes back as the client wrote it, but for a source route, which is dropped as the
RFC asks; parameters come back unmodified and in order. Local parts are taken a little more
freely than the grammar has them (dots anywhere), because such addresses are in use.

Leaves what an address means to `base/address.py`. RFC 5321 §4.1.2, RFC 1870, RFC 3461,
RFC 4954 §5, RFC 6152, RFC 6531 §3.3-3.4. Raises `Rejected`, which carries the reply.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_UTF8: Final = "\u0080-\U0010ffff"
_PATH: Final = re.compile(
    rf"""\x20?<(?:
        (?: @[A-Za-z0-9.\-,@{_UTF8}]+: )?                  # a source route
        (   (?: [A-Za-z0-9!\#$%&'*+\-/=?^_`{{|}}~.{_UTF8}]+
              | "(?: [\x20!\x23-\x5b\x5d-\x7e{_UTF8}] | \\[\x20-\x7e] )*" )
            @
            (?: [A-Za-z0-9_{_UTF8}][A-Za-z0-9_\-.{_UTF8}]* | \[[A-Za-z0-9.:\-]+\] )
        |   (?i:postmaster) | )
    )>(?:\x20+(.*))?""",
    re.VERBOSE | re.DOTALL,
)
_XTEXT: Final = r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})"
_MAIL_PARAMS: Final = {
    "SIZE": re.compile(r"=[0-9]{1,20}"),
    "BODY": re.compile(r"=(?:7BIT|8BITMIME)", re.IGNORECASE),
    "SMTPUTF8": re.compile(r""),
    "RET": re.compile(r"=(?:FULL|HDRS)", re.IGNORECASE),
    "ENVID": re.compile(rf"={_XTEXT}{{1,400}}"),
    "AUTH": re.compile(rf"={_XTEXT}{{1,500}}"),
}
_REPORTS: Final = "(?:SUCCESS|FAILURE|DELAY)"
_RCPT_PARAMS: Final = {
    "NOTIFY": re.compile(rf"=(?:NEVER|{_REPORTS}(?:,{_REPORTS})*)", re.IGNORECASE),
    "ORCPT": re.compile(rf"=[A-Za-z0-9\-]{{1,40}};[!-<>-~{_UTF8}]{{1,1500}}"),
}


class Rejected(Exception):
    """A command that is answered with `reply` and has no effect."""

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.reply = reply


def sender_path(argument: str, size_limit: int) -> tuple[str, tuple[str, ...]]:
    """Address ("" for the null sender) and parameters of `MAIL FROM:`'s argument.

    `size_limit` is the largest SIZE in octets that is taken.
    """
    address, params = _split(argument, "501 5.1.7 bad sender address syntax")
    if address and "@" not in address:
        raise Rejected("501 5.1.7 sender address needs a domain")
    values = _checked(params, _MAIL_PARAMS)
    if "SIZE" in values and int(values["SIZE"]) > size_limit:
        raise Rejected("552 5.3.4 message too big")
    if "SMTPUTF8" not in values and not argument.isascii():
        raise Rejected("553 5.6.7 non-ASCII address needs SMTPUTF8")
    return address, params


def declared_size(params: tuple[str, ...]) -> int:
    """Octets that the parameters of a MAIL command declare by SIZE; 0 where they do not."""
    for param in params:
        if param[:5].upper() == "SIZE=":
            return int(param[5:])
    return 0


def recipient_path(argument: str, *, smtputf8: bool) -> tuple[str, tuple[str, ...]]:
    """Address and parameters of `RCPT TO:`'s argument; `smtputf8` as MAIL asked for."""
    address, params = _split(argument, "501 5.1.3 bad recipient address syntax")
    if not address:
        raise Rejected("501 5.1.3 recipient address is empty")
    if not smtputf8 and not argument.isascii():
        raise Rejected("553 5.6.7 non-ASCII address needs SMTPUTF8")
    if params:
        _checked(params, _RCPT_PARAMS)
    return address, params


def _split(argument: str, complaint: str) -> tuple[str, tuple[str, ...]]:
    match = _PATH.fullmatch(argument)
    if match is None:
        raise Rejected(complaint)
    address, params = match.groups()
    if ".." in address and ".." in address.rpartition("@")[2]:
        raise Rejected(complaint)
    return address, tuple(params.split()) if params else ()


def _checked(params: tuple[str, ...], known: Mapping[str, re.Pattern[str]]) -> dict[str, str]:
    values: dict[str, str] = {}
    for param in params:
        key, _, value = param.partition("=")
        name = key.upper()
        pattern = known.get(name)
        if pattern is None:
            raise Rejected("555 5.5.4 parameter not recognized")
        if name in values or pattern.fullmatch(param, len(key)) is None:
            raise Rejected(f"501 5.5.4 bad {name} parameter")
        values[name] = value
    return values
