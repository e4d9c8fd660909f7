"""The key of an ACME account, and what is signed by it.

The key is P-256, made once and kept by the gateway's vault as a private JWK. Requests are JWS
in the flattened JSON serialisation; an external account is bound by one with the CA's HMAC key.

Leaves JWS and JWK to joserfc. RFC 7515 §7.2.2, RFC 7638 (thumbprints), RFC 8555 §6.2 and
§7.3.4, RFC 8823 §3 (key authorisation). Raises `HandlerTrouble` for an HMAC key that is none.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey

from smimefilter.ports.handlers import HandlerTrouble

ES256, HS256 = "ES256", "HS256"


class _Registry(jws.JWSRegistry):
    """With room for what an account's requests have in their headers: URLs, nonces and keys."""

    max_header_length = 1 << 14


_REGISTRY: Final = _Registry(algorithms=[ES256, HS256], strict_check_header=False)


class AccountKey:
    """A key that an account is known by."""

    def __init__(self, secret: bytes) -> None:
        """`secret` as `made` gave it."""
        self._key: Final = ECKey.import_key(json.loads(secret))
        self.public: Final[Mapping[str, Any]] = self._key.as_dict(private=False)
        self.thumbprint: Final = self._key.thumbprint()

    @staticmethod
    def made() -> bytes:
        """A new one, to be kept secret."""
        return json.dumps(ECKey.generate_key("P-256").as_dict(private=True)).encode()

    def __repr__(self) -> str:
        return f"<AccountKey {self.thumbprint}>"

    def signed(self, header: Mapping[str, Any], payload: bytes) -> bytes:
        """A JWS, as JSON; the algorithm is put into the header."""
        return json.dumps(_signed(header, payload, self._key, ES256)).encode()

    def bound(self, key_id: str, hmac_key: str, url: str) -> Mapping[str, Any]:
        """What binds this key to an account that the CA knows already. Raises
        `HandlerTrouble`."""
        try:
            key = OctKey.import_key({"kty": "oct", "k": hmac_key.strip().rstrip("=")})
            payload = json.dumps(self.public).encode()
            return _signed({"kid": key_id, "url": url}, payload, key, HS256)
        except (JoseError, ValueError):  # its text may have the key in it
            raise HandlerTrouble("eab_hmac_key is no key in base64url") from None

    def authorisation(self, token_part1: str, token_part2: str) -> str:
        """The digest of the key authorisation: the answer to a challenge mail."""
        text = f"{token_part1}{token_part2}.{self.thumbprint}"
        return base64url(hashlib.sha256(text.encode()).digest())


def base64url(data: bytes) -> str:
    """Without padding (RFC 7515 §2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _signed(
    header: Mapping[str, Any], payload: bytes, key: ECKey | OctKey, algorithm: str
) -> Mapping[str, Any]:
    protected = {"alg": algorithm, **header}
    return jws.serialize_json({"protected": protected}, payload, key, registry=_REGISTRY)
