"""What an Atlas account may ask for: its validation policy, as far as it matters for mail.

A field is sent where the policy lets us choose; what is static there the CA puts in itself. A
part that the policy does not have is taken to allow what is usual. Leaves refusing to the CA.
Raises nothing: a policy that makes no sense allows what is usual.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

_OURS: Final = frozenset({"REQUIRED", "OPTIONAL"})
_DIGESTS: Final = {"sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}


@dataclass(frozen=True, slots=True)
class Policy:
    """A validation policy."""

    found: dict[str, Any]

    def takes(self, name: str, *, otherwise: bool = True) -> bool:
        """Whether we send this field of the subject; `otherwise`: where it is not told of."""
        presence = self._in("subject_dn", name, "presence")
        return presence in _OURS if isinstance(presence, str) else otherwise

    def requires(self, name: str) -> bool:
        """Whether a field of the subject has to be sent."""
        return bool(self._in("subject_dn", name, "presence") == "REQUIRED")

    @property
    def chooses_usages(self) -> bool:
        """Whether extended key usages are ours to say."""
        return self._in("extended_key_usages", "ekus", "static") is not True

    @property
    def longest(self) -> int | None:
        """Seconds of validity, at the most."""
        return _number(self._in("validity", "secondsmax"))

    @property
    def takes_csr(self) -> bool:
        """Whether a CSR goes in the place of the public key."""
        return bool(self._in("public_key", "key_format") == "PKCS10")

    @property
    def takes_proof(self) -> bool:
        """Whether the public key is sent with a signature by its private key."""
        return self._in("public_key_signature") != "FORBIDDEN"

    @property
    def keys(self) -> str:
        """The keys it takes, for people."""
        kind = self._in("public_key", "key_type")
        lengths = self._in("public_key", "allowed_lengths")
        sizes = (
            [str(one) for one in lengths if _number(one)] if isinstance(lengths, list) else []
        )
        return f"{kind} {', '.join(sizes)}".strip() if isinstance(kind, str) else "of any kind"

    def signature(self, digest: str) -> dict[str, str]:
        """How the certificate shall be signed, as far as that is ours to say."""
        wanted = {"algorithm": "RSA", "hash_algorithm": _DIGESTS[digest]}
        return {
            name: _chosen(value, self._in("signature", name, "list"))
            for name, value in wanted.items()
            if self._in("signature", name, "presence") in _OURS
        }

    def _in(self, *names: str) -> object:
        found: object = self.found
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return found


def _chosen(wanted: str, allowed: object) -> str:
    names = (
        [one for one in allowed if isinstance(one, str)] if isinstance(allowed, list) else []
    )
    return wanted if wanted in names or not names else names[0]


def _number(found: object) -> int | None:
    if isinstance(found, bool) or not isinstance(found, int):
        return None
    return found if found > 0 else None


def _listed(found: object) -> list[object]:
    return found if isinstance(found, list) else []
