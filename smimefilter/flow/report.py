"""The copy of a mail for our own people: opened, cleaned of forgeries, and told of.

What is told: Authentication-Results (RFC 8601, with the results of RFC 7281), one field of our
own a layer, outermost first, and tags in the subject; each as policy wants it. Nothing of the
mail itself gets into the subject but addresses of certificates that were verified.

Leaves finding out to `opening.py`, syntax to `message/report.py`. Raises nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from smimefilter.message.report import cleaned, info_field, quoted, reported, results_field
from smimefilter.message.wire import Message
from smimefilter.pki.certificate import Certificate, UnreadableCertificate
from smimefilter.plan.opened import (
    SIGNER,
    CompressedLayer,
    EncryptedLayer,
    Opening,
    Reading,
    Signature,
    SignedLayer,
    SignerReport,
)

_Pairs = list[tuple[str, str]]
_RESULTS: Final = {
    Signature.GOOD: "pass",
    Signature.BAD: "fail",
    Signature.UNTRUSTED: "policy",
    Signature.MISMATCH: "policy",
    Signature.WEAK: "policy",
    Signature.UNREAD: "policy",
}


def told(message: Message, opening: Opening, reading: Reading) -> Message:
    """The copy."""
    opened = (reading.strip and opening.stripped) or opening.kept or message
    patterns = reading.tags.patterns if reading.tags else ()
    clean = cleaned(opened, reading.prefix, reading.authserv_id, patterns)
    if not opening.layers and not opening.partly:
        return clean
    fields = list(_fields(opening, reading, clean.newline)) if reading.inform else []
    return reported(clean, fields, list(_tags(opening, reading)))


def _tags(opening: Opening, reading: Reading) -> Iterator[str]:
    tags = reading.tags
    if tags is None:
        return
    if opening.was_decrypted:
        yield tags.decrypted
    signer = opening.signed_by
    if signer is not None:
        yield tags.signed.replace(SIGNER, _safe_in_tag(signer))
    elif Signature.BAD in opening.signatures:
        yield tags.invalid
    elif any(one is not Signature.NOT_ASKED for one in opening.signatures):
        yield tags.untrusted


def _safe_in_tag(signer: SignerReport) -> str:
    address = signer.addresses[0] if signer.addresses else ""
    return "".join(one for one in address if one.isprintable() and one not in "[]")


def _fields(opening: Opening, reading: Reading, newline: bytes) -> Iterator[bytes]:
    yield results_field(reading.authserv_id, list(_results(opening)), newline)
    signer = opening.signed_by
    if signer is not None and signer.addresses:
        yield info_field(f"{reading.prefix}Signed-By", signer.addresses[0], (), newline)
    for number, layer in enumerate(opening.layers, 1):
        name = f"{reading.prefix}Layer-{number}"
        match layer:
            case EncryptedLayer():
                yield info_field(name, "encrypted", _encrypted(layer), newline)
            case CompressedLayer():
                yield info_field(name, "compressed", [("outcome", layer.outcome)], newline)
            case SignedLayer():
                yield from _signed(name, layer, newline)
    if opening.partly_signed:
        yield info_field(f"{reading.prefix}Note", "only a part is signed", (), newline)
    if opening.partly_encrypted:
        yield info_field(f"{reading.prefix}Note", "only a part is encrypted", (), newline)
    if opening.cut_short:
        yield info_field(f"{reading.prefix}Note", "there are more layers", (), newline)


def _encrypted(layer: EncryptedLayer) -> _Pairs:
    pairs: _Pairs = [("outcome", layer.outcome)]
    if layer.cipher:
        pairs += [
            ("cipher", layer.cipher),
            ("key-transport", layer.transport),
            ("authenticated", "yes" if layer.authenticated else "no"),
        ]
    if layer.certificate is not None:
        pairs.append(("certificate", layer.certificate.thumbprint[:16]))
    return [*pairs, *(("recipient", one) for one in layer.recipients)]


def _signed(name: str, layer: SignedLayer, newline: bytes) -> Iterator[bytes]:
    form = ("form", "clear" if layer.clear else "opaque")
    changed = ("changed-headers", ",".join(layer.changed))
    if not layer.signers:
        pairs = [form, ("signature", Signature.BAD), ("flaw", "malformed")]
        yield info_field(name, "signed", pairs, newline)
    for number, signer in enumerate(layer.signers, 1):
        of = f"{name}-Signer-{number}" if len(layer.signers) > 1 else name
        yield info_field(of, "signed", [form, *_signer(signer), changed], newline)


def _signer(signer: SignerReport) -> _Pairs:
    pairs: _Pairs = [("signature", signer.signature), ("flaw", signer.flaw or "")]
    if signer.certificate is not None:
        pairs += [
            ("address", ",".join(signer.addresses[:5])),
            *_names(signer.certificate),
            ("certificate", signer.certificate.thumbprint[:16]),
            ("standing", signer.standing or ""),
        ]
    if signer.new_key:
        pairs.append(("key", "new"))
    pairs.append(("digest", signer.digest))
    if signer.signing_time is not None:
        pairs.append(("claimed-time", signer.signing_time.isoformat(timespec="seconds")))
    return pairs


def _names(certificate: Certificate) -> _Pairs:
    try:
        return [
            ("subject", certificate.subject),
            ("issuer", certificate.issuer),
            ("serial", certificate.serial_hex),
        ]
    except UnreadableCertificate:
        return []


def _results(opening: Opening) -> Iterator[str]:
    """One result for each signer of the outermost signed layer."""
    outermost = next(iter(opening.signed_layers), None)
    if outermost is None:
        yield "smime=none"
        return
    if not outermost.signers:
        yield 'smime=permerror reason="malformed"'
    spoilt = opening.signed_by is None
    for signer in outermost.signers:
        result = _RESULTS.get(signer.signature, "neutral")
        if result == "pass" and spoilt:
            result = "policy"
        yield _result(signer, result)


def _result(signer: SignerReport, result: str) -> str:
    found = f"smime={result}"
    if result != "pass":
        found += f" reason={quoted(signer.flaw or signer.signature)}"
    if signer.certificate is None:
        return found
    if signer.addresses:
        found += f" body.smime-identifier={quoted(signer.addresses[0])}"
    for name, value in _names(signer.certificate):
        if name in {"serial", "issuer"}:
            found += f" body.smime-{name}={quoted(value)}"
    return found
