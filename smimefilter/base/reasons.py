"""Why a decision went as it did: codes, what they are about, and where the cause stands.

Code and tests speak in codes (`Because`); the wording for people lives in one table here and
nowhere else. A `Reason` is small and frozen; verdicts, selections and plans carry tuples of
them, and `explain`, logs and bounces only print them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Because(StrEnum):
    """What made a decision go the way it went."""

    # certificates: validity
    VALID_PATH = "valid-path"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    REVOKED = "revoked"
    NO_PATH = "no-path"
    PATH_INVALID = "path-invalid"
    BLACK_LISTED = "black-listed"
    ISSUER_BLACK_LISTED = "issuer-black-listed"
    WHITE_LISTED = "white-listed"
    WHITE_LISTED_EXPIRED = "white-listed-expired"
    NO_CRL = "no-crl"
    NO_CRL_REQUIRED = "no-crl-required"
    CRL_CHECKED = "crl-checked"
    CRL_STALE = "crl-stale"
    CRL_INVALID = "crl-invalid"
    CRL_INCONCLUSIVE = "crl-inconclusive"
    OCSP_GOOD = "ocsp-good"
    OCSP_INCONCLUSIVE = "ocsp-inconclusive"
    WEAK_ALGORITHM = "weak-algorithm"
    WEAK_KEY = "weak-key"
    PATH_LIMIT = "path-limit"
    MORE_REASONS = "more-reasons"
    # certificates: usage
    KEY_USAGE = "key-usage"
    EXTENDED_KEY_USAGE = "extended-key-usage"
    UNKNOWN_CRITICAL = "unknown-critical-extension"
    KEY_TYPE = "key-type"
    UNREADABLE = "unreadable"
    # certificates: selection
    ADDRESS_MATCH = "address-match"
    ADDRESS_MISMATCH = "address-mismatch"
    CHOSEN = "chosen"
    INHERITED = "inherited"
    ADDITIONAL = "additional"
    ADDITIONAL_UNUSABLE = "additional-unusable"
    NOT_IN_STORE = "not-in-store"
    AUTO_SELECT_OFF = "auto-select-off"
    NO_CERTIFICATE = "no-certificate"
    NO_PRIVATE_KEY = "no-private-key"
    NOT_FIRST = "not-first"
    # policy
    LOCALITY_INTERNAL = "locality-internal"
    ACME_CHALLENGE = "acme-challenge"
    ENCRYPT_NEVER = "encrypt-never"
    ENCRYPT_ALLOW = "encrypt-allow"
    ENCRYPT_MANDATORY = "encrypt-mandatory"
    ENCRYPT_TRIGGER = "encrypt-trigger"
    MISSING_SEND_CLEAR = "missing-send-clear"
    MISSING_BOUNCE = "missing-bounce"
    MISSING_BOUNCE_ALL = "missing-bounce-all"
    SIGN_NEVER = "sign-never"
    SIGN_WHEN_ENCRYPTING = "sign-when-encrypting"
    SIGN_ALWAYS = "sign-always"
    SIGN_TRIGGER = "sign-trigger"
    NO_SIGNING_CERTIFICATE = "no-signing-certificate"
    IDENTITY_FROM = "identity-from"
    IDENTITY_ENVELOPE = "identity-envelope"
    FOREIGN_ORIGIN = "foreign-origin"
    FROM_MISMATCH = "from-mismatch"
    LOGIN_MISMATCH = "login-mismatch"
    FROM_UNREADABLE = "from-unreadable"
    MAY_SIGN_FOR = "may-sign-for"
    ALREADY_SIGNED = "already-signed"
    ALREADY_ENCRYPTED = "already-encrypted"
    CALENDAR = "calendar"
    TOO_LARGE = "too-large"
    NULL_SENDER = "null-sender"
    BAD_ADDRESS = "bad-address"
    REVOCATION_UNKNOWN_NOW = "revocation-unknown-now"
    CAPABILITIES = "capabilities"
    DECRYPTED = "decrypted"
    NOT_DECRYPTED = "not-decrypted"
    NO_DECRYPTION_KEY = "no-decryption-key"
    KEY_WITHHELD = "key-withheld"
    KEY_TROUBLE = "key-trouble"
    DECRYPT_OFF = "decrypt-off"
    VERIFY_OFF = "verify-off"
    UNPACKED = "unpacked"
    NOT_UNPACKED = "not-unpacked"
    NEW_KEY = "new-key"
    SIGNATURE_GOOD = "signature-good"
    SIGNATURE_BAD = "signature-bad"
    SIGNATURE_MISMATCH = "signature-mismatch"
    SIGNATURE_UNTRUSTED = "signature-untrusted"
    SIGNATURE_WEAK = "signature-weak"
    SIGNATURE_UNREAD = "signature-unread"
    PARTLY_SIGNED = "partly-signed"
    PARTLY_ENCRYPTED = "partly-encrypted"
    LAYERS_LEFT = "layers-left"
    FORGED_REPORT = "forged-report"
    SIGNATURE_STRIPPED = "signature-stripped"
    HEADERS_RESTORED = "headers-restored"
    NOT_TAKEN_OPEN = "not-taken-open"
    UNDECRYPTABLE_REFUSED = "undecryptable-refused"
    SETTLED_BEFORE = "settled-before"


WORDING: Final[dict[Because, str]] = {
    Because.VALID_PATH: "the path to a trusted root is valid",
    Because.EXPIRED: "expired",
    Because.NOT_YET_VALID: "not valid yet",
    Because.REVOKED: "revoked by its issuer",
    Because.NO_PATH: "no path to a trusted root: import the issuer's certificate and its root",
    Because.PATH_INVALID: "the path to the root is not valid",
    Because.BLACK_LISTED: "black-listed in the trust list",
    Because.ISSUER_BLACK_LISTED: "an issuer in its path is black-listed in the trust list",
    Because.WHITE_LISTED: "white-listed in the trust list",
    Because.WHITE_LISTED_EXPIRED: "white-listed, but expired: the entry does not allow expired",
    Because.NO_CRL: "no CRL at hand, revocation unknown",
    Because.NO_CRL_REQUIRED: "no CRL at hand, and policy requires one",
    Because.CRL_CHECKED: "not on the issuer's CRL",
    Because.CRL_STALE: "the CRL at hand is past its next update",
    Because.CRL_INVALID: "the CRL at hand is not valid",
    Because.CRL_INCONCLUSIVE: "the CRL at hand cannot answer for it",
    Because.OCSP_GOOD: "not revoked, its issuer answers",
    Because.OCSP_INCONCLUSIVE: "no answer of OCSP that counts",
    Because.WEAK_ALGORITHM: "signed with an algorithm that is refused",
    Because.WEAK_KEY: "the key is too short",
    Because.PATH_LIMIT: "too many possible paths to a root to try them all",
    Because.MORE_REASONS: "and more of these kinds",
    Because.KEY_USAGE: "its key usage does not allow this",
    Because.EXTENDED_KEY_USAGE: "its extended key usage does not allow e-mail",
    Because.UNKNOWN_CRITICAL: "it has a critical extension that is not understood",
    Because.KEY_TYPE: "its kind of key cannot be used for this",
    Because.UNREADABLE: "it cannot be read",
    Because.ADDRESS_MATCH: "the address matches",
    Because.ADDRESS_MISMATCH: "its subjectAltName names other addresses than this one",
    Because.CHOSEN: "chosen by hand",
    Because.INHERITED: "inherited",
    Because.ADDITIONAL: "additional certificate of the policy",
    Because.ADDITIONAL_UNUSABLE: "an additional certificate of the policy cannot be used",
    Because.NOT_IN_STORE: "named in the policy, but not in the store",
    Because.AUTO_SELECT_OFF: "automatic selection is switched off",
    Because.NO_CERTIFICATE: "no certificate that can be used for encryption",
    Because.NO_PRIVATE_KEY: "no private key",
    Because.NOT_FIRST: "usable, but another one comes first",
    Because.LOCALITY_INTERNAL: "the recipient is internal",
    Because.ACME_CHALLENGE: "the challenge of a CA that a request waits for",
    Because.ENCRYPT_NEVER: "policy: never encrypt",
    Because.ENCRYPT_ALLOW: "policy: encrypt when possible",
    Because.ENCRYPT_MANDATORY: "policy: encryption is mandatory",
    Because.ENCRYPT_TRIGGER: "the sender asked for encryption in this mail",
    Because.MISSING_SEND_CLEAR: "no certificate: policy lets the mail go unencrypted",
    Because.MISSING_BOUNCE: "no certificate: policy refuses the mail for this recipient",
    Because.MISSING_BOUNCE_ALL: "a recipient has no certificate: policy refuses the whole mail",
    Because.SIGN_NEVER: "policy: never sign",
    Because.SIGN_WHEN_ENCRYPTING: "policy: sign when encrypting",
    Because.SIGN_ALWAYS: "policy: always sign",
    Because.SIGN_TRIGGER: "the sender asked for a signature in this mail",
    Because.NO_SIGNING_CERTIFICATE: "no usable signing certificate with a private key",
    Because.IDENTITY_FROM: "signed in the name of the From address",
    Because.IDENTITY_ENVELOPE: "signed in the name of the envelope sender",
    Because.FOREIGN_ORIGIN: "it was not brought by one of our own clients",
    Because.FROM_MISMATCH: "the From header is not the envelope sender",
    Because.LOGIN_MISMATCH: "the login is not that of the address to be signed for",
    Because.FROM_UNREADABLE: "the From header does not name exactly one address",
    Because.MAY_SIGN_FOR: "the envelope sender may sign for this From address",
    Because.ALREADY_SIGNED: "already signed: left as it is",
    Because.ALREADY_ENCRYPTED: "already encrypted: left as it is",
    Because.CALENDAR: "a calendar message: left as it is",
    Because.TOO_LARGE: "larger than S/MIME is applied to",
    Because.NULL_SENDER: "a delivery notice: left as it is",
    Because.BAD_ADDRESS: "the address cannot be read",
    Because.REVOCATION_UNKNOWN_NOW: "whether its certificate is revoked cannot be told now",
    Because.CAPABILITIES: "encrypted as the recipient's program said it reads",
    Because.DECRYPTED: "decrypted",
    Because.NOT_DECRYPTED: "encrypted, and cannot be decrypted",
    Because.NO_DECRYPTION_KEY: "encrypted to keys that are not in the store",
    Because.KEY_WITHHELD: "a key in the store opens it, but decrypt-with keeps it from this "
    "address",
    Because.KEY_TROUBLE: "encrypted to a private key that cannot be used now",
    Because.DECRYPT_OFF: "policy: do not decrypt",
    Because.VERIFY_OFF: "policy: do not verify signatures",
    Because.UNPACKED: "unpacked",
    Because.NOT_UNPACKED: "compressed, and cannot be unpacked",
    Because.NEW_KEY: "the author is known by other keys",
    Because.SIGNATURE_GOOD: "signed by its author",
    Because.SIGNATURE_BAD: "the signature is wrong, or the content was changed",
    Because.SIGNATURE_MISMATCH: "signed, but not by the author in From",
    Because.SIGNATURE_UNTRUSTED: "signed with a certificate that is not trusted",
    Because.SIGNATURE_WEAK: "signed with a digest that policy does not accept",
    Because.SIGNATURE_UNREAD: "more signatures, or more content, than a mail may have verified",
    Because.PARTLY_SIGNED: "only a part of it is signed, which does not count",
    Because.PARTLY_ENCRYPTED: "only a part of it is encrypted, which is left alone",
    Because.LAYERS_LEFT: "more layers of S/MIME than policy takes off",
    Because.NOT_TAKEN_OPEN: "the next hop does not take what was decrypted: sent as it came",
    Because.SIGNATURE_STRIPPED: "policy: take good signatures off",
    Because.HEADERS_RESTORED: "header fields replaced by those that were protected",
    Because.FORGED_REPORT: "what looked like this gateway's report was removed",
    Because.UNDECRYPTABLE_REFUSED: "policy: refuse what cannot be decrypted",
    Because.SETTLED_BEFORE: "done with at an earlier try of this mail: not done again",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One cause of a decision."""

    because: Because
    about: str = ""  # thumbprint, address or preference
    source: str = ""  # where the cause stands: "domains/acme.yaml:12", "database", "default"
    detail: str = ""  # a value worth showing: a date, a serial, the failing step

    def __str__(self) -> str:
        text = WORDING[self.because]
        if self.detail:
            text += f" [{self.detail}]"
        if self.source:
            text += f" ({self.source})"
        return text
