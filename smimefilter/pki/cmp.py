"""Messages of the Certificate Management Protocol, as far as asking for a certificate by
PKCS#10 needs them: built, and read.

A message is built from a `Head` and a body, and protected by whatever has an algorithm and
makes bits of bytes: `cmpmac.py` for shared secrets, `Signer` here. What is read comes as a
`Reply`, with the very bytes that its protection covers; nothing in it may be believed before
that was verified. Since anybody may have sent it, its size is limited, and how many there are
of whatever it may have many of: an object for each costs far more than its octets.

Leaves verifying to who knows whom to believe, HTTP and the order of messages to the handler.
RFC 4210 §5 (Appendix F for the structures), RFC 9480 §2, RFC 9483 §3. Raises `UnreadableCmp`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final, Protocol

from asn1crypto import algos, core, csr, x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from . import tlv
from .certificate import Certificate
from .cmpasn1 import PkiBody, PkiHeader, PkiMessage

CMP2000, CMP2021 = 2, 3
ACCEPTED, GRANTED_WITH_MODS, REJECTION, WAITING = 0, 1, 2, 3  # PKIStatus
NO_CERT_REQ_ID: Final = -1  # of an answer to a p10cr, RFC 9480 §2.11
FAILURES: Final = (  # PKIFailureInfo by bit
    "badAlg", "badMessageCheck", "badRequest", "badTime", "badCertId", "badDataFormat",
    "wrongAuthority", "incorrectData", "missingTimeStamp", "badPOP", "certRevoked",
    "certConfirmed", "wrongIntegrity", "badRecipientNonce", "timeNotAvailable",
    "unacceptedPolicy", "unacceptedExtension", "addInfoNotAvailable", "badSenderNonce",
    "badCertTemplate", "signerNotTrusted", "transactionIdInUse", "unsupportedVersion",
    "notAuthorized", "systemUnavail", "systemFailure", "duplicateCertReq",
)  # fmt: skip
LARGEST: Final = 128 << 10  # octets of an answer
MOST_INFOS, MOST_CERTIFICATES, MOST_TEXTS = 64, 32, 16
_LONGEST_INTEGER: Final = 8  # octets
_LONGEST_FAILURES: Final = 16
_IMPLICIT_CONFIRM: Final = "1.3.6.1.5.5.7.4.13"
_IMPLICIT_CONFIRM_OCTETS: Final = core.ObjectIdentifier(_IMPLICIT_CONFIRM).contents
_MALFORMED: Final = (ValueError, TypeError, KeyError, IndexError, OverflowError)


class UnreadableCmp(ValueError):
    """Bytes that are no CMP message of a kind that is expected; says why."""


# building


class Protector(Protocol):
    """What protects a message: a shared secret, or a key."""

    @property
    def algorithm(self) -> bytes:
        """AlgorithmIdentifier, DER."""

    def protect(self, data: bytes) -> bytes:
        """The bits for these bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What stands in the header of a message."""

    sender: bytes = b"\x30\x00"  # Name, DER
    recipient: bytes = b"\x30\x00"
    sender_kid: bytes
    transaction: bytes
    nonce: bytes
    their_nonce: bytes = b""
    now: datetime
    implicit_confirm: bool = False
    version: int = CMP2000


def request_body(request: bytes) -> PkiBody:
    """p10cr: a certificate for this PKCS#10."""
    return PkiBody("p10cr", csr.CertificationRequest.load(request))


def poll_body(cert_req_id: int) -> PkiBody:
    """pollReq: how it stands."""
    return PkiBody("poll_req", [{"cert_req_id": cert_req_id}])


def question_body() -> PkiBody:
    """genm without a question: whether we are understood at all."""
    return PkiBody("genm", [])


def confirm_body(certificate: Certificate, cert_req_id: int, *, taken: bool) -> PkiBody:
    """certConf: the certificate is taken, or not."""
    name = _hash_of(certificate)
    status: dict[str, object] = {
        "cert_hash": hashlib.new(name or "sha512", certificate.der).digest(),
        "cert_req_id": cert_req_id,
        "status": {"status": ACCEPTED if taken else REJECTION},
    }
    if not name:  # the signature's algorithm says no hash: RFC 9480 §2.10, RFC 9481 §2.2
        status["hash_alg"] = {"algorithm": "sha512"}
    return PkiBody("cert_conf", [status])


def version_for(certificate: Certificate) -> int:
    """The protocol version that confirming this certificate takes."""
    return CMP2000 if _hash_of(certificate) else CMP2021


def _hash_of(certificate: Certificate) -> str:
    algorithm = certificate.parsed.signature_hash_algorithm
    return (
        algorithm.name if algorithm and algorithm.name in hashlib.algorithms_available else ""
    )


def build(
    head: Head, body: PkiBody, protector: Protector, certificates: Sequence[Certificate] = ()
) -> bytes:
    """A protected message, DER."""
    header = {
        "pvno": head.version,
        "sender": _directory_name(head.sender),
        "recipient": _directory_name(head.recipient),
        "message_time": head.now.replace(microsecond=0),
        "protection_alg": algos.AlgorithmIdentifier.load(protector.algorithm),
        "transaction_id": head.transaction,
        "sender_nonce": head.nonce,
    }
    if head.sender_kid:
        header["sender_kid"] = head.sender_kid
    if head.their_nonce:
        header["recip_nonce"] = head.their_nonce
    if head.implicit_confirm:
        header["general_info"] = [{"type": _IMPLICIT_CONFIRM, "value": core.Null()}]
    finished = PkiHeader(header)
    bits = protector.protect(covered_bytes(finished, body))
    message = {"header": finished, "body": body, "protection": bits}
    if certificates:
        message["extra_certs"] = [x509.Certificate.load(one.der) for one in certificates]
    return bytes(PkiMessage(message).dump())


def _directory_name(der: bytes) -> x509.GeneralName:
    return x509.GeneralName("directory_name", x509.Name.load(der))


def covered_bytes(header: PkiHeader, body: PkiBody) -> bytes:
    """What protection is made of: ProtectedPart, DER, RFC 4210 §5.1.3."""
    inside = header.dump() + body.dump()
    return bytes(core.Sequence(contents=inside).dump())


class Signer:
    """Protects by a signature. Raises `ValueError` for a key that makes none."""

    def __init__(self, key: PrivateKeyTypes) -> None:
        match key:
            case rsa.RSAPrivateKey():
                name = "sha256_rsa"
            case ec.EllipticCurvePrivateKey():
                name = "sha256_ecdsa"
            case ed25519.Ed25519PrivateKey():
                name = "ed25519"
            case ed448.Ed448PrivateKey():
                name = "ed448"
            case _:
                raise ValueError("a kind of key that does not sign")
        self._key = key
        self.algorithm = bytes(algos.SignedDigestAlgorithm({"algorithm": name}).dump())

    def protect(self, data: bytes) -> bytes:
        """The signature of these bytes."""
        match self._key:
            case rsa.RSAPrivateKey():
                return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
            case ec.EllipticCurvePrivateKey():
                return self._key.sign(data, ec.ECDSA(hashes.SHA256()))
            case ed25519.Ed25519PrivateKey() | ed448.Ed448PrivateKey():
                return self._key.sign(data)
            case _:
                raise AssertionError


# reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A message of a CA, not verified. What a kind does not have is empty."""

    kind: str  # cp, error, pkiconf, poll_rep, genp
    transaction: bytes
    nonce: bytes
    our_nonce: bytes
    algorithm: bytes  # of the protection, DER; empty without one
    protection: bytes
    covered: bytes
    implicit_confirm: bool = False
    status: int = ACCEPTED
    failures: tuple[str, ...] = ()
    text: str = ""
    cert_req_id: int = NO_CERT_REQ_ID
    certificate: bytes = b""
    others: tuple[bytes, ...] = ()  # certificates beside it
    check_after: int = 0  # seconds


def read_reply(der: bytes) -> Reply:
    """A message of a CA; of the largest ones this takes a moment. Raises `UnreadableCmp`."""
    if len(der) > LARGEST:
        raise UnreadableCmp(f"larger than {LARGEST >> 10} KiB")
    try:
        if tlv.element(der, 0, len(der))[2] != len(der):
            raise UnreadableCmp("something follows the message")
        return _reply(PkiMessage.load(der, strict=True))
    except UnreadableCmp:
        raise
    except _MALFORMED:
        raise UnreadableCmp("not a CMP message that was expected") from None


def _reply(message: PkiMessage) -> Reply:
    header, body = message["header"], message["body"]
    algorithm, bits = header["protection_alg"], message["protection"]
    facts = _facts(body.name, body.chosen)
    extra = _certificates(message["extra_certs"])
    others = facts.pop("others", ())
    return Reply(
        kind=body.name,
        transaction=header["transaction_id"].native or b"",
        nonce=header["sender_nonce"].native or b"",
        our_nonce=header["recip_nonce"].native or b"",
        algorithm=b"" if _absent(algorithm) else algorithm.untag().dump(),
        protection=b"" if _absent(bits) else bytes(bits.native),
        covered=covered_bytes(header, body),
        implicit_confirm=any(
            one["type"].contents == _IMPLICIT_CONFIRM_OCTETS
            for one in _few(header["general_info"], MOST_INFOS, "generalInfo")
        ),
        others=others + extra,
        **facts,
    )


def _absent(value: object) -> bool:
    return isinstance(value, core.Void)


def _facts(kind: str, content: Any) -> dict[str, Any]:
    match kind:
        case "cp":
            return _certificate_facts(content)
        case "error":
            told = _status_facts(content["status"])
            details = _text(content["details"])
            return told | {"text": f"{told['text']} {details}".strip()}
        case "poll_rep":
            first = _few(content, 1, "pollRep")[0]
            return {
                "cert_req_id": _integer(first["cert_req_id"]),
                "check_after": _integer(first["check_after"]),
                "text": _text(first["reason"]),
            }
        case "pkiconf" | "genp":
            return {}
        case _:
            raise UnreadableCmp(f"a message of a kind that is no answer: {kind}")


def _certificate_facts(content: Any) -> dict[str, Any]:
    responses = _few(content["response"], 1, "response")
    if not len(responses):
        raise UnreadableCmp("an answer to no request")
    response = responses[0]
    found = _status_facts(response["status"])
    found["cert_req_id"] = _integer(response["cert_req_id"])
    found["others"] = _certificates(content["ca_pubs"])
    pair = response["key_pair"]
    if not _absent(pair):
        choice = pair["cert_or_enc_cert"]
        if choice.name != "certificate":
            raise UnreadableCmp("the certificate is encrypted, which nobody asked for")
        found["certificate"] = bytes(choice.chosen.untag().dump())
    return found


def _status_facts(info: Any) -> dict[str, Any]:
    bits = info["fail_info"]
    if not _absent(bits) and len(bits.contents) > _LONGEST_FAILURES:
        raise UnreadableCmp("a failInfo without end")
    raised = () if _absent(bits) else bits.native
    numbers = [n for n, bit in enumerate(raised) if bit] if isinstance(raised, tuple) else []
    return {
        "status": _integer(info["status"]),
        "text": _text(info["status_string"]),
        "failures": tuple(FAILURES[n] if n < len(FAILURES) else str(n) for n in numbers),
    }


def _text(value: Any) -> str:
    return " ".join(one.native for one in _few(value, MOST_TEXTS, "freeText"))


def _certificates(value: Any) -> tuple[bytes, ...]:
    return tuple(one.dump() for one in _few(value, MOST_CERTIFICATES, "certificate"))


def _few(value: Any, most: int, what: str) -> Any:
    """A SEQUENCE OF that has no more than so many, counted before anything is made of them."""
    if _absent(value):
        return ()
    found = tlv.elements(value.contents, 0, len(value.contents))
    if sum(1 for _ in islice(found, most + 1)) > most:
        raise UnreadableCmp(f"more than {most} of {what}")
    return value


def _integer(value: Any) -> int:
    if len(value.contents) > _LONGEST_INTEGER:
        raise UnreadableCmp("a number larger than any that is meant")
    return int(value.native)
