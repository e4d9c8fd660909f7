"""The account at GlobalSign Atlas: the domains it claims, and its CA certificates.

A domain is claimed, its token put into the DNS, and the claim validated. Leaves the session to
`atlas_client.py`, settings to `atlas_setup.py`, printing to `cli/atlas.py`, stores to
`flow/imports.py`. Raises `AdminError` for what an administrator can mend, `HandlerTrouble` for
what Atlas does not do.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from smimefilter.base.address import BadAddress, domain_key
from smimefilter.base.errors import AdminError
from smimefilter.flow.imports import Source, Summary, import_certificates
from smimefilter.pki.export import certificates_pem
from smimefilter.ports.handlers import HandlerTrouble
from smimefilter.ports.stores import Certificates, Shelf

from .atlas import trust_chain
from .atlas_client import AtlasClient, problem_of, total_count
from .globalsign import Answer

TXT: Final = "globalsign-domain-verification="
PAGE: Final = 100
MOST_CLAIMS: Final = 10_000
_DOMAIN: Final = re.compile(r"(?=.{4,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})+")
_ID: Final = re.compile(r"[0-9A-Za-z]{1,64}")
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,255}")


class Status(StrEnum):
    """How far a claim is."""

    PENDING = "PENDING"
    VERIFIED = "VERIFIED"


@dataclass(frozen=True, slots=True)
class Token:
    """What has to be in the DNS for a claim."""

    claim: str
    domain: str
    token: str
    assert_by: datetime | None

    @property
    def txt(self) -> str:
        """The line of a zone file."""
        return f'{self.domain}. 300 IN TXT "{TXT}{self.token}"'


@dataclass(frozen=True, slots=True)
class Claim:
    """A domain that the account claims."""

    id: str
    domain: str  # without the dot at its end
    status: str
    created: datetime | None
    expires: datetime | None
    assert_by: datetime | None
    log: tuple[str, ...]  # what became of tries to validate it, oldest first
    token: str = ""  # where Atlas gives it again


class Domains:
    """Claims of an account."""

    def __init__(self, client: AtlasClient) -> None:
        self._client = client

    async def register(self, domain: str) -> Token:
        """Claim a domain."""
        name = checked(domain)
        answer = await self._done("POST", f"/claims/domains/{name}", {201})
        return _token(answer, name)

    async def validate(self, claim: Claim, authorization_domain: str = "") -> bool:
        """Have the DNS looked at; whether the claim is verified now. The token may be in a
        domain above it."""
        at = checked(authorization_domain) if authorization_domain else claim.domain
        if claim.domain != at and not claim.domain.endswith(f".{at}"):
            raise AdminError(f"{at} is not a domain above {claim.domain}")
        path = f"/claims/domains/{claim.id}/dns"
        answer = await self._done("POST", path, {201, 204}, {"authorization_domain": at})
        return answer.status == 204

    async def reassert(self, claim: Claim) -> Token:
        """A new token for a claim whose time is over."""
        answer = await self._done("POST", f"/claims/domains/{claim.id}/reassert", {200, 201})
        return _token(answer, claim.domain, claim.id)

    async def delete(self, claim: Claim) -> None:
        """Claim a domain no longer."""
        await self._done("DELETE", f"/claims/domains/{claim.id}", {200, 204})

    async def claims(self, status: Status | None = None) -> list[Claim]:
        """All claims, or those of one status, by domain."""
        found: dict[str, Claim] = {}
        for one in [status] if status else Status:
            found |= {claim.id: claim for claim in await self._listed(one)}
        return sorted(found.values(), key=lambda claim: (claim.domain, claim.id))

    async def find(self, domain: str, id_: str = "") -> Claim:
        """The claim of a domain, or the one with an id. Of several the last one that is not
        verified yet, else the last one."""
        name = checked(domain)
        if id_:
            if not _ID.fullmatch(id_):
                raise AdminError("no claim has such an id", where=id_)
            found, _ = await self._client.read(f"/claims/domains/{id_}")
            claim = _claim(found)
            if claim.domain != name:
                raise AdminError(f"that claim is for {claim.domain}", where=id_)
            return claim
        claims = [one for one in await self.claims() if one.domain == name]
        if not claims:
            raise AdminError(
                "there is no claim for this domain", where=name,
                mend=f"make one: smimefilter atlas domain register {name}",
            )  # fmt: skip
        oldest = datetime.min.replace(tzinfo=UTC)
        return max(claims, key=lambda c: (c.status != Status.VERIFIED, c.created or oldest))

    async def _listed(self, status: Status) -> list[Claim]:
        claims: dict[str, Claim] = {}
        for page in range(1, MOST_CLAIMS // PAGE + 1):
            path = f"/claims/domains?page={page}&per_page={PAGE}&status={status}"
            found, headers = await self._client.read(path)
            if not isinstance(found, list):
                raise HandlerTrouble("Atlas gave something else than a list of claims")
            before = len(claims)
            claims |= {claim.id: claim for claim in map(_claim, found)}
            if len(claims) == before or len(claims) >= total_count(headers):
                return list(claims.values())
        raise HandlerTrouble(f"Atlas lists more than {MOST_CLAIMS} claims")

    async def _done(
        self, method: str, path: str, good: set[int], content: Any = None
    ) -> Answer:
        answer = await self._client.ask(method, path, content)
        if answer.status not in good:
            raise problem_of(answer)
        return answer


def checked(domain: str) -> str:
    """A domain as it is compared, in ASCII. Raises `AdminError`."""
    try:
        name = domain_key(domain.strip())
    except BadAddress as error:
        raise AdminError(str(error), where=domain) from None
    if not _DOMAIN.fullmatch(name):  # it becomes a part of a URL
        raise AdminError(f"'{domain}' is not a domain")
    return name


def _token(answer: Answer, domain: str, known: str = "") -> Token:
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    found = found if isinstance(found, dict) else {}
    location = answer.headers.get("Location", "").rstrip("/").rpartition("/")[2]
    id_ = known or str(found.get("id") or location)
    token = found.get("token")
    if not _ID.fullmatch(id_) or not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise HandlerTrouble(
            "Atlas took the claim and gave no token: see it with: smimefilter atlas domain list"
        )
    return Token(id_, domain, token, _time(found.get("assert_by")))


def _claim(found: Any) -> Claim:
    if not isinstance(found, dict):
        raise HandlerTrouble("Atlas gave something else than a claim")
    id_, domain, status = (found.get(name) for name in ("id", "domain", "status"))
    if not isinstance(id_, str) or not _ID.fullmatch(id_) or not isinstance(domain, str):
        raise HandlerTrouble("Atlas gave something else than a claim")
    log = found.get("log")
    return Claim(
        id=id_,
        domain=domain.rstrip(".").lower(),
        status=str(status),
        created=_time(found.get("created_at")),
        expires=_time(found.get("expires_at")),
        assert_by=_time(found.get("assert_by")),
        log=tuple(map(_entry, log)) if isinstance(log, list) else (),
        token=str(found.get("token") or ""),
    )


def _entry(found: Any) -> str:
    if not isinstance(found, dict):
        return str(found)
    at = _time(found.get("timestamp"))
    when = f"{at:%Y-%m-%d %H:%M} " if at else ""
    return f"{when}{found.get('status')}: {found.get('description')}"


def _time(found: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(found, UTC) if found else None
    except (TypeError, ValueError, OverflowError, OSError):
        return None


# the chain


async def import_chain(client: AtlasClient, store: Certificates) -> Summary:
    """Store the CA certificates of the account: roots as roots, the others beside them."""
    chain = await trust_chain(client)
    roots = [one for one in chain if one.is_self_issued]
    others = [one for one in chain if not one.is_self_issued]
    done: list[Summary] = []
    for certificates, shelf in ((roots, Shelf.ROOTS), (others, Shelf.CERTIFICATES)):
        if certificates:
            source = Source("trust chain of Atlas", certificates_pem(certificates))
            done.append(await import_certificates(store, [source], shelf))
    return Summary(tuple(item for one in done for item in one.items))
