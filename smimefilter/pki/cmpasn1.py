"""The ASN.1 structures of CMP, as far as asking for a certificate by PKCS#10 needs them.

Leaves what they mean to `cmp.py`. RFC 4210 Appendix F, RFC 9480 Appendix A (EXPLICIT TAGS).
Raises what asn1crypto raises.
"""

from __future__ import annotations

from typing import ClassVar

from asn1crypto import algos, core, csr, x509


class FreeText(core.SequenceOf):  # type: ignore[misc]
    """PKIFreeText."""

    _child_spec = core.UTF8String


class Certificates(core.SequenceOf):  # type: ignore[misc]
    """SEQUENCE OF CMPCertificate."""

    _child_spec = x509.Certificate


class Info(core.Sequence):  # type: ignore[misc]
    """InfoTypeAndValue."""

    _fields: ClassVar = [
        ("type", core.ObjectIdentifier),
        ("value", core.Any, {"optional": True}),
    ]


class Infos(core.SequenceOf):  # type: ignore[misc]
    """GenMsgContent, GenRepContent, generalInfo."""

    _child_spec = Info


def _at(tag: int) -> dict[str, object]:
    return {"explicit": tag, "optional": True}


class PkiHeader(core.Sequence):  # type: ignore[misc]
    """RFC 4210 §5.1.1."""

    _fields: ClassVar = [
        ("pvno", core.Integer),
        ("sender", x509.GeneralName),
        ("recipient", x509.GeneralName),
        ("message_time", core.GeneralizedTime, _at(0)),
        ("protection_alg", algos.AlgorithmIdentifier, _at(1)),
        ("sender_kid", core.OctetString, _at(2)),
        ("recip_kid", core.OctetString, _at(3)),
        ("transaction_id", core.OctetString, _at(4)),
        ("sender_nonce", core.OctetString, _at(5)),
        ("recip_nonce", core.OctetString, _at(6)),
        ("free_text", FreeText, _at(7)),
        ("general_info", Infos, _at(8)),
    ]


class StatusInfo(core.Sequence):  # type: ignore[misc]
    """PKIStatusInfo, RFC 4210 §5.2.3."""

    _fields: ClassVar = [
        ("status", core.Integer),
        ("status_string", FreeText, {"optional": True}),
        ("fail_info", core.BitString, {"optional": True}),
    ]


class CertOrEncCert(core.Choice):  # type: ignore[misc]
    """RFC 4210 §5.3.4."""

    _alternatives: ClassVar = [
        ("certificate", x509.Certificate, {"explicit": 0}),
        ("encrypted", core.Any, {"explicit": 1}),
    ]


class KeyPair(core.Sequence):  # type: ignore[misc]
    """CertifiedKeyPair."""

    _fields: ClassVar = [
        ("cert_or_enc_cert", CertOrEncCert),
        ("private_key", core.Any, _at(0)),
        ("publication_info", core.Any, _at(1)),
    ]


class CertResponse(core.Sequence):  # type: ignore[misc]
    """RFC 4210 §5.3.4."""

    _fields: ClassVar = [
        ("cert_req_id", core.Integer),
        ("status", StatusInfo),
        ("key_pair", KeyPair, {"optional": True}),
        ("rsp_info", core.OctetString, {"optional": True}),
    ]


class CertResponses(core.SequenceOf):  # type: ignore[misc]
    """SEQUENCE OF CertResponse."""

    _child_spec = CertResponse


class CertRep(core.Sequence):  # type: ignore[misc]
    """CertRepMessage."""

    _fields: ClassVar = [("ca_pubs", Certificates, _at(1)), ("response", CertResponses)]


class ErrorContent(core.Sequence):  # type: ignore[misc]
    """ErrorMsgContent, RFC 4210 §5.3.21."""

    _fields: ClassVar = [
        ("status", StatusInfo),
        ("code", core.Integer, {"optional": True}),
        ("details", FreeText, {"optional": True}),
    ]


class CertStatus(core.Sequence):  # type: ignore[misc]
    """RFC 9480 §2.10."""

    _fields: ClassVar = [
        ("cert_hash", core.OctetString),
        ("cert_req_id", core.Integer),
        ("status", StatusInfo, {"optional": True}),
        ("hash_alg", algos.DigestAlgorithm, _at(0)),
    ]


class CertStatuses(core.SequenceOf):  # type: ignore[misc]
    """CertConfirmContent, RFC 4210 §5.3.18."""

    _child_spec = CertStatus


class Poll(core.Sequence):  # type: ignore[misc]
    """One request that is asked for."""

    _fields: ClassVar = [("cert_req_id", core.Integer)]


class Polls(core.SequenceOf):  # type: ignore[misc]
    """PollReqContent, RFC 4210 §5.3.22."""

    _child_spec = Poll


class PollAnswer(core.Sequence):  # type: ignore[misc]
    """When to ask again."""

    _fields: ClassVar = [
        ("cert_req_id", core.Integer),
        ("check_after", core.Integer),
        ("reason", FreeText, {"optional": True}),
    ]


class PollAnswers(core.SequenceOf):  # type: ignore[misc]
    """PollRepContent."""

    _child_spec = PollAnswer


class PkiBody(core.Choice):  # type: ignore[misc]
    """The bodies that are used here, RFC 4210 §5.1.2."""

    _alternatives: ClassVar = [
        ("cp", CertRep, {"explicit": 3}),
        ("p10cr", csr.CertificationRequest, {"explicit": 4}),
        ("pkiconf", core.Null, {"explicit": 19}),
        ("genm", Infos, {"explicit": 21}),
        ("genp", Infos, {"explicit": 22}),
        ("error", ErrorContent, {"explicit": 23}),
        ("cert_conf", CertStatuses, {"explicit": 24}),
        ("poll_req", Polls, {"explicit": 25}),
        ("poll_rep", PollAnswers, {"explicit": 26}),
    ]


class PkiMessage(core.Sequence):  # type: ignore[misc]
    """RFC 4210 §5.1."""

    _fields: ClassVar = [
        ("header", PkiHeader),
        ("body", PkiBody),
        ("protection", core.OctetBitString, _at(0)),
        ("extra_certs", Certificates, _at(1)),
    ]
