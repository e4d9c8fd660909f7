"""Every preference there is: name, values, default, and how its scopes combine.

One table for files, database, CLI, API and pages. A preference is a typed constant; a view of
the tree (`tree.py`) is asked with it: `view.get(ENCRYPT)` is a `Resolved[Encrypt]`.
Values are read and checked here (`parse`), wherever they come from.

Leaves resolution to `tree.py`, YAML and its positions to `load.py`, what a value means for a
mail to `plan/`. Raises `BadValue`, `UnknownPreference`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from pydantic import SecretStr

from smimefilter.base.algorithms import ContentCipher, KeyTransport, SignatureAlgorithm
from smimefilter.base.suggest import did_you_mean

from .kinds import (
    ADDRESS,
    DOMAIN,
    DURATION,
    FIELD_PREFIX,
    HEADER_PATTERN,
    LINE,
    PATTERN,
    PHONE,
    SECRET,
    SIGNER,
    SIGNER_TAG,
    SIZE,
    SWITCH,
    TAG,
    THUMBPRINT,
    URL,
    WORD,
    Kind,
    many,
    number,
    one_of,
    one_or_many,
    optional,
)
from .patterns import HeaderPattern
from .scopes import Level

T = TypeVar("T")


class BadValue(ValueError):
    """A value that the preference does not take; says what it takes."""


class UnknownPreference(ValueError):
    """A name that is no preference; says which one was probably meant."""


class Reset(Enum):
    """Set to the built-in default at a scope, whatever stands at farther scopes."""

    RESET = "default"


RESET: Final = Reset.RESET


class Follows(StrEnum):
    """Whose scope a preference is resolved at."""

    SENDER = "sender"
    RECIPIENT = "recipient"
    BOTH = "sender and recipient"
    TRUST = "the certificate's user"
    USER = "user"
    GLOBAL = "global"


class Locality(StrEnum):
    """Whether mail to this address is for our own people."""

    INTERNAL = "internal"
    EXTERNAL = "external"


class Encrypt(StrEnum):
    """How strictly mail is encrypted."""

    NEVER = "never"
    ALLOW = "allow"
    MANDATORY = "mandatory"


class OnMissing(StrEnum):
    """What becomes of a mail whose recipient has no usable certificate."""

    BOUNCE_RECIPIENT = "bounce-recipient"
    BOUNCE_ALL = "bounce-all"
    SEND_CLEAR = "send-clear"


class Sensitivity(StrEnum):
    """Values of the Sensitivity header field (RFC 4021 §2.1.55)."""

    PERSONAL = "personal"
    PRIVATE = "private"
    COMPANY_CONFIDENTIAL = "company-confidential"


class Sign(StrEnum):
    """When mail is signed."""

    NEVER = "never"
    WHEN_ENCRYPTING = "when-encrypting"
    ALWAYS = "always"


class OnMissingSignature(StrEnum):
    """What becomes of a mail that is to be signed and cannot be."""

    SEND_UNSIGNED = "send-unsigned"
    REFUSE = "refuse"


class SigningIdentity(StrEnum):
    """Whose key signs."""

    FROM_EQUALS_ENVELOPE = "from-equals-envelope"
    FROM = "from"
    ENVELOPE = "envelope"


class SignFormat(StrEnum):
    """Clear: multipart/signed. Opaque: application/pkcs7-mime."""

    CLEAR = "clear"
    OPAQUE = "opaque"


class ProtectHeaders(StrEnum):
    """Whether header fields are copied into the protected part."""

    NONE = "none"
    RFC9788 = "rfc9788"


class DecryptWith(StrEnum):
    """Whose private keys open a mail."""

    RECIPIENT = "recipient"
    DOMAIN = "domain"
    ANY = "any"


class OnUndecryptable(StrEnum):
    """What becomes of a mail that cannot be decrypted."""

    DELIVER = "deliver"
    REFUSE = "refuse"


class KeyChoice(StrEnum):
    """Kinds of keys of new certificates."""

    RSA2048 = "rsa2048"
    RSA3072 = "rsa3072"
    RSA4096 = "rsa4096"
    P256 = "p256"
    P384 = "p384"


class Digest(StrEnum):
    """Digests that new certificates are signed with."""

    SHA256 = "sha256"
    SHA384 = "sha384"
    SHA512 = "sha512"


class Harvest(StrEnum):
    """Which certificates of incoming signatures are kept."""

    NEVER = "never"
    TRUSTED = "trusted"
    ANY = "any"


@dataclass(frozen=True, slots=True, eq=False)
class Preference(Generic[T]):
    """One preference. `additive` ones collect the values of all scopes, the rest take the
    nearest. `secret` ones live in the database only, wrapped, and are never printed."""

    name: str
    default: T
    kind: Kind[T]
    follows: Follows
    doc: str
    additive: bool = False
    secret: bool = False

    @property
    def levels(self) -> frozenset[Level]:
        """The levels of scopes it can be set at."""
        return _LEVELS.get(self.follows, _ALL_LEVELS)

    def parse(self, raw: object) -> T:
        """A value as YAML, JSON or a command line gives it, checked. Raises `BadValue`."""
        try:
            return self.kind.read(raw)
        except ValueError as error:
            raise BadValue(f"{self.name}: {error}") from None

    def parse_setting(self, raw: object) -> T | Reset:
        """The same, where `None` and the word `default` reset the preference."""
        if raw is None or (raw == "default" and not self.secret):
            return RESET
        return self.parse(raw)

    def check_level(self, level: Level) -> None:
        """Raises `BadValue` where the preference is not set at such scopes."""
        if level not in self.levels:
            raise BadValue(f"{self.name}: is set at the level {min(self.levels)} only")

    def dump(self, value: T) -> object:
        """The value as YAML and JSON carry it; `parse(dump(v)) == v` unless v is None."""
        return self.kind.write(value)


_ALL_LEVELS: Final = frozenset(Level)
_LEVELS: Final = {
    Follows.GLOBAL: frozenset({Level.GLOBAL}),
    Follows.USER: frozenset({Level.USER}),
}

LOCALITY: Final = Preference(
    "locality", Locality.EXTERNAL, one_of(Locality), Follows.RECIPIENT,
    "Whether mail to this address is for our own people (internal: it is not encrypted on "
    "its way in) or for the world (external: it is signed and encrypted).",
)  # fmt: skip

# encryption

ENCRYPT: Final = Preference(
    "encrypt", Encrypt.ALLOW, one_of(Encrypt), Follows.BOTH,
    "never: mail goes unencrypted; allow: encrypted when the recipient has a certificate; "
    "mandatory: never unencrypted. Of sender and recipient, mandatory wins, then never.",
)  # fmt: skip
ON_MISSING_CERTIFICATE: Final[Preference[OnMissing | None]] = Preference(
    "on-missing-certificate", None, optional(one_of(OnMissing)), Follows.SENDER,
    "What happens when a recipient has no usable certificate. Without a value: "
    "bounce-recipient when encryption is mandatory, send-clear when it is allowed. "
    "send-clear never weakens mandatory.",
)  # fmt: skip
ENCRYPT_TRIGGER_SUBJECT: Final[Preference[re.Pattern[str] | None]] = Preference(
    "encrypt-trigger-subject", None, optional(PATTERN), Follows.SENDER,
    "A subject that matches makes encryption mandatory for this mail where it is allowed; "
    "what matched is taken out of the subject.",
)  # fmt: skip
ENCRYPT_TRIGGER_HEADER: Final[Preference[HeaderPattern | None]] = Preference(
    "encrypt-trigger-header", None, optional(HEADER_PATTERN), Follows.SENDER,
    "A header field that makes encryption mandatory for this mail where it is allowed.",
)  # fmt: skip
ENCRYPT_TRIGGER_SENSITIVITY: Final[Preference[tuple[Sensitivity, ...]]] = Preference(
    "encrypt-trigger-sensitivity", (), many(one_of(Sensitivity)), Follows.SENDER,
    "Values of the Sensitivity header field that make encryption mandatory for this mail "
    "where it is allowed; mail programs offer them as private, personal and confidential.",
)  # fmt: skip
CONTENT_CIPHER: Final = Preference(
    "content-cipher", ContentCipher.AES_256_CBC, one_of(ContentCipher), Follows.BOTH,
    "The cipher of encrypted mail. Every client reads CBC; GCM also protects against "
    "changes, and is for recipients known to read it (RFC 5083). What is set for the "
    "recipient's user or domain comes before what the sender has.",
)  # fmt: skip
KEY_TRANSPORT: Final = Preference(
    "key-transport", KeyTransport.PKCS1, one_of(KeyTransport), Follows.BOTH,
    "How the content key is encrypted for an RSA recipient. Every client reads pkcs1; oaep "
    "is for recipients known to read it. What is set for the recipient's user or domain "
    "comes before what the sender has.",
)  # fmt: skip
MAX_SMIME_SIZE: Final[Preference[int | None]] = Preference(
    "max-smime-size", None, optional(SIZE), Follows.SENDER,
    "Mail larger than this is neither signed nor encrypted; where encryption is mandatory "
    "it is refused. Without a value there is no limit.",
)  # fmt: skip

# signing

SIGN: Final = Preference(
    "sign", Sign.WHEN_ENCRYPTING, one_of(Sign), Follows.SENDER,
    "When mail of this sender is signed.",
)  # fmt: skip
SIGN_TRIGGER_SUBJECT: Final[Preference[re.Pattern[str] | None]] = Preference(
    "sign-trigger-subject", None, optional(PATTERN), Follows.SENDER,
    "A subject that matches asks for a signature on this mail, unless sign is never; what "
    "matched is taken out of the subject.",
)  # fmt: skip
SIGN_TRIGGER_HEADER: Final[Preference[HeaderPattern | None]] = Preference(
    "sign-trigger-header", None, optional(HEADER_PATTERN), Follows.SENDER,
    "A header field that asks for a signature on this mail, unless sign is never.",
)  # fmt: skip
SIGNING_IDENTITY: Final = Preference(
    "signing-identity", SigningIdentity.FROM_EQUALS_ENVELOPE, one_of(SigningIdentity),
    Follows.SENDER,
    "Whose key signs. from-equals-envelope: that of the From address, which has to be the "
    "envelope sender or one it may sign for; envelope: that of the envelope sender; from: "
    "that of the From address, also where it merely has this value set for itself.",
)  # fmt: skip
ON_MISSING_SIGNATURE: Final = Preference(
    "on-missing-signature", OnMissingSignature.SEND_UNSIGNED, one_of(OnMissingSignature),
    Follows.SENDER,
    "What happens to a mail that is to be signed when there is no usable certificate with a "
    "private key.",
)  # fmt: skip
MAY_SIGN_FOR: Final[Preference[tuple[str, ...]]] = Preference(
    "may-sign-for", (), many(SIGNER), Follows.SENDER,
    "From addresses that this envelope sender (or login) may sign for beside its own.",
)  # fmt: skip
SIGN_FORMAT: Final = Preference(
    "sign-format", SignFormat.CLEAR, one_of(SignFormat), Follows.SENDER,
    "clear: any mail program shows the text (multipart/signed); opaque: text and signature "
    "are one S/MIME part, which survives gateways that rewrite text.",
)  # fmt: skip
SIGNATURE_ALGORITHM: Final = Preference(
    "signature-algorithm", SignatureAlgorithm.SHA256, one_of(SignatureAlgorithm),
    Follows.SENDER,
    "The digest, and for RSA keys the padding, of signatures.",
)  # fmt: skip
PROTECT_HEADERS: Final = Preference(
    "protect-headers", ProtectHeaders.NONE, one_of(ProtectHeaders), Follows.SENDER,
    "rfc9788: the header fields of a mail are signed, and encrypted, together with its text; "
    "of an encrypted mail the subject is then hidden outside. Programs that do not know this "
    "show such a mail without its subject.",
)  # fmt: skip
SKIP_SIGNED: Final = Preference(
    "skip-signed", True, SWITCH, Follows.SENDER,
    "Leave mail that is signed already as it is, rather than sign it again.",
)  # fmt: skip
SKIP_ENCRYPTED: Final = Preference(
    "skip-encrypted", True, SWITCH, Follows.SENDER,
    "Leave mail that is encrypted already as it is, rather than encrypt it again; it counts "
    "as encrypted where that is mandatory.",
)  # fmt: skip
SKIP_CALENDAR: Final = Preference(
    "skip-calendar", False, SWITCH, Follows.SENDER,
    "Do not sign or encrypt invitations and other calendar mail, which some mail programs "
    "cannot handle within S/MIME. Where encryption is mandatory it is encrypted all the same.",
)  # fmt: skip

# incoming mail

DECRYPT: Final = Preference(
    "decrypt", True, SWITCH, Follows.RECIPIENT,
    "Decrypt mail to this internal recipient.",
)  # fmt: skip
DECRYPT_WITH: Final[Preference[DecryptWith | tuple[str, ...]]] = Preference(
    "decrypt-with", DecryptWith.DOMAIN, one_or_many(DecryptWith, DOMAIN), Follows.RECIPIENT,
    "Whose private keys open a mail to this recipient. recipient: those whose certificates "
    "name the recipient's address; domain: an address of the recipient's domain, as mail to "
    "aliases and lists needs it; domains: an address of one of these, as where one company has "
    "several, *.example.com for example.com and all domains below it; any: all in the store. "
    "Whoever gets hold of an encrypted mail can send it to an address of his own, and read "
    "what comes out.",
)  # fmt: skip
VERIFY: Final = Preference(
    "verify", True, SWITCH, Follows.RECIPIENT,
    "Verify the signatures of mail to this internal recipient.",
)  # fmt: skip
STRIP_SIGNATURE: Final = Preference(
    "strip-signature", False, SWITCH, Follows.RECIPIENT,
    "Take signatures off once they are verified, so that programs without S/MIME show a plain "
    "mail; no: leave them. A signature around an encrypted mail goes when that is decrypted.",
)  # fmt: skip
ON_UNDECRYPTABLE: Final = Preference(
    "on-undecryptable", OnUndecryptable.DELIVER, one_of(OnUndecryptable), Follows.RECIPIENT,
    "What happens to a mail that is to be decrypted and cannot be. deliver: it goes on as it "
    "came, with the reason in its header; refuse: it is refused, but for one that a key at "
    "hand fails to open: whoever sends it would learn from the reply how to open it. Behind a "
    "queue a refusal becomes a notice to a sender who may be forged: deliver there.",
)  # fmt: skip
MAX_LAYERS: Final = Preference(
    "max-layers", 8, number(1, 16), Follows.RECIPIENT,
    "How many layers of S/MIME are taken off a mail.",
)  # fmt: skip
HARVEST: Final = Preference(
    "harvest", Harvest.TRUSTED, one_of(Harvest), Follows.RECIPIENT,
    "Which certificates of verified signatures go into the store, for the next mail to their "
    "owners. trusted: those with a path to a root; any: all that are the author's.",
)  # fmt: skip
INFO_HEADERS: Final = Preference(
    "info-headers", True, SWITCH, Follows.RECIPIENT,
    "Tell in header fields what was found in an S/MIME mail: Authentication-Results, and one "
    "field a layer. Such fields that a mail brings along are removed in any case.",
)  # fmt: skip
INFO_HEADER_PREFIX: Final = Preference(
    "info-header-prefix", "X-Smimefilter-", FIELD_PREFIX, Follows.GLOBAL,
    "What the names of these fields begin with. Fields of mail from elsewhere whose names "
    "begin so are removed.",
)  # fmt: skip
SUBJECT_TAGS: Final = Preference(
    "subject-tags", False, SWITCH, Follows.RECIPIENT,
    "Tell in the subject as well, with the tags below. What looks like one of them in the "
    "subject of a mail from elsewhere is removed.",
)  # fmt: skip
SUBJECT_TAG_DECRYPTED: Final = Preference(
    "subject-tag-decrypted", "[decrypted]", TAG, Follows.RECIPIENT,
    "The tag of a mail that was decrypted.",
)  # fmt: skip
SUBJECT_TAG_SIGNED: Final = Preference(
    "subject-tag-signed", "[signed by {signer}]", SIGNER_TAG, Follows.RECIPIENT,
    "The tag of a mail that is signed by its author; {signer} stands for the address.",
)  # fmt: skip
SUBJECT_TAG_INVALID: Final = Preference(
    "subject-tag-invalid", "[signature invalid]", TAG, Follows.RECIPIENT,
    "The tag of a mail whose signature is wrong: its content is not what was signed.",
)  # fmt: skip
SUBJECT_TAG_UNTRUSTED: Final = Preference(
    "subject-tag-untrusted", "[signature untrusted]", TAG, Follows.RECIPIENT,
    "The tag of a mail whose signature says nothing of its author: the certificate is not to "
    "be trusted or somebody else's, or the digest is weak.",
)  # fmt: skip

# certificates

AUTO_SELECT_CERTIFICATES: Final = Preference(
    "auto-select-certificates", True, SWITCH, Follows.BOTH,
    "Use every valid certificate in the store whose address matches; no: only those chosen "
    "by hand.",
)  # fmt: skip
ENCRYPTION_CERTIFICATES: Final[Preference[tuple[str, ...]]] = Preference(
    "encryption-certificates", (), many(THUMBPRINT), Follows.RECIPIENT,
    "Certificates chosen by hand that mail to this recipient is encrypted to, whatever "
    "their addresses, beside those selected automatically.",
    additive=True,
)  # fmt: skip
SIGNING_CERTIFICATE: Final[Preference[str | None]] = Preference(
    "signing-certificate", None, optional(THUMBPRINT), Follows.SENDER,
    "The certificate to sign with, and no other; without a value, of the valid ones with a "
    "private key whose address matches, the one that is valid longest.",
)  # fmt: skip
ADDITIONAL_CERTIFICATES: Final[Preference[tuple[str, ...]]] = Preference(
    "additional-certificates", (), many(THUMBPRINT), Follows.SENDER,
    "Certificates that every encrypted mail of this sender is encrypted to as well, such as "
    "one for recovery.",
    additive=True,
)  # fmt: skip
ADDITIONAL_REQUIRED: Final = Preference(
    "additional-required", True, SWITCH, Follows.SENDER,
    "Keep a mail back while one of its additional certificates cannot be used; no: send it "
    "without that one.",
)  # fmt: skip
PKCS12_PASSWORD: Final[Preference[SecretStr | None]] = Preference(
    "pkcs12-password", None, optional(SECRET), Follows.USER,
    "The password last used for this user's PKCS#12 file, set by hand and kept for "
    "reference. Kept wrapped in the database, never printed.",
    secret=True,
)  # fmt: skip

# trust

REQUIRE_CRL: Final = Preference(
    "require-crl", False, SWITCH, Follows.TRUST,
    "A certificate is valid only when a CRL at hand says that it is not revoked; no: it is "
    "also valid when there is none. Mail to a certificate whose CRL exists and cannot be had, "
    "or is past its time, waits.",
)  # fmt: skip
MAX_CRL_AGE: Final[Preference[timedelta | None]] = Preference(
    "max-crl-age", None, optional(DURATION), Follows.TRUST,
    "A CRL issued longer ago counts as none, as does one past its next update.",
)  # fmt: skip
OCSP: Final = Preference(
    "ocsp", False, SWITCH, Follows.TRUST,
    "Ask the responders that certificates name as well: a good answer does where there is no "
    "CRL, one that says revoked counts beside any CRL.",
)  # fmt: skip
FETCH_ISSUERS: Final = Preference(
    "fetch-issuers", False, SWITCH, Follows.TRUST,
    "Fetch the certificate of an issuer that is not in the store from where the certificate "
    "says; it is trusted only as far as a root is.",
)  # fmt: skip
FETCH_USER_CRLS: Final = Preference(
    "fetch-user-crls", True, SWITCH, Follows.GLOBAL,
    "Fetch CRLs from where end-user certificates say as well, as far as a CA at hand signed "
    "them; no: only from where CA certificates say.",
)  # fmt: skip
ALLOW_SHA1_SIGNATURES: Final = Preference(
    "allow-sha1-signatures", False, SWITCH, Follows.GLOBAL,
    "Accept certificates and CRLs signed with SHA-1.",
)  # fmt: skip
ALLOW_MD5_SIGNATURES: Final = Preference(
    "allow-md5-signatures", False, SWITCH, Follows.GLOBAL,
    "Accept certificates and CRLs signed with MD5, which can be forged.",
)  # fmt: skip
MINIMUM_RSA_BITS: Final = Preference(
    "minimum-rsa-bits", 2048, number(1024, 16384), Follows.GLOBAL,
    "Certificates with shorter RSA or DSA keys are refused, and so is all they issued.",
)  # fmt: skip

# the certificate authority

CA_REQUEST_HANDLER: Final = Preference(
    "ca-request-handler", "built-in", WORD, Follows.SENDER,
    "The request handler that gets certificates for this address where none is named; "
    "`smimefilter handler list` shows those there are.",
)  # fmt: skip
CA_COMMON_NAME: Final[Preference[str | None]] = Preference(
    "ca-common-name", None, optional(LINE), Follows.SENDER,
    "The common name of a new certificate where none is given; without a value it has to be.",
)  # fmt: skip
CA_ORGANISATION: Final[Preference[str | None]] = Preference(
    "ca-organisation", None, optional(LINE), Follows.SENDER,
    "The organisation in a new certificate where none is given.",
)  # fmt: skip
CA_VALIDITY: Final = Preference(
    "ca-validity", 730, number(1, 36_500), Follows.SENDER,
    "For how many days a new certificate is valid; never longer than its CA.",
)  # fmt: skip
CA_KEY: Final = Preference(
    "ca-key", KeyChoice.RSA3072, one_of(KeyChoice), Follows.SENDER,
    "The kind of key of a new certificate. Every program reads RSA; those on curves are "
    "shorter and faster.",
)  # fmt: skip
CA_DIGEST: Final = Preference(
    "ca-digest", Digest.SHA256, one_of(Digest), Follows.SENDER,
    "The digest that new certificates and CRLs are signed with.",
)  # fmt: skip
CA_CRL_URL: Final[Preference[str | None]] = Preference(
    "ca-crl-url", None, optional(URL), Follows.SENDER,
    "Where the CRL of a CA of ours will be; `{ca}` in it stands for the CA's id. The filter "
    "serves it where `publish` in the settings says so, at /{ca}.crl.",
)  # fmt: skip
CA_ADD_CRL_URL: Final = Preference(
    "ca-add-crl-url", True, SWITCH, Follows.SENDER,
    "Write `ca-crl-url`, where it is set, into new certificates of the built-in CA.",
)  # fmt: skip
CA_ISSUER_URL: Final[Preference[str | None]] = Preference(
    "ca-issuer-url", None, optional(URL), Follows.SENDER,
    "Where the certificate of a CA of ours is to be had, for new certificates of it; `{ca}` "
    "stands for its id. The filter serves it where `publish` says so, at /{ca}.cer.",
)  # fmt: skip
CA_CRL_DAYS: Final = Preference(
    "ca-crl-days", 7, number(1, 366), Follows.GLOBAL,
    "After how many days the next CRL of a CA of ours comes.",
)  # fmt: skip
CA_CRL_RENEWAL: Final = Preference(
    "ca-crl-renewal", True, SWITCH, Follows.GLOBAL,
    "Make CRLs of our CAs anew when half of their time has passed, without anybody's doing.",
)  # fmt: skip
CA_MAIL_SENDER: Final[Preference[str | None]] = Preference(
    "ca-mail-sender", None, optional(ADDRESS), Follows.SENDER,
    "The sender of mails with keys and certificates; without a value none are sent.",
)  # fmt: skip
CA_PASSWORD_LENGTH: Final = Preference(
    "ca-password-length", 16, number(8, 64), Follows.SENDER,
    "How many random bytes a generated password for a key file has.",
)  # fmt: skip
CA_STORE_PASSWORD: Final = Preference(
    "ca-store-password", False, SWITCH, Follows.SENDER,
    "Keep the password of the key file that was sent last in the preference pkcs12-password of "
    "its owner, wrapped.",
)  # fmt: skip
RENEW_BEFORE: Final[Preference[int | None]] = Preference(
    "renew-before", None, optional(number(1, 365)), Follows.SENDER,
    "How many days before the last signing certificate of an internal user ends a new one is "
    "requested, in its last third at the earliest; without a value never. Old keys stay, for "
    "old mail.",
)  # fmt: skip
AUTO_REQUEST: Final = Preference(
    "auto-request", False, SWITCH, Follows.SENDER,
    "Request a certificate for an internal sender who has none to sign with, when one of our "
    "own clients brings a mail of his. The mail does not wait; docs/ca.md has the limits.",
)  # fmt: skip
DISPLAY_NAME: Final[Preference[str | None]] = Preference(
    "display-name", None, optional(LINE), Follows.USER,
    "The name of this person, for certificates that are requested automatically.",
)  # fmt: skip
SMS_NUMBER: Final[Preference[str | None]] = Preference(
    "sms-number", None, optional(PHONE), Follows.USER,
    "The telephone number that passwords are sent to.",
)  # fmt: skip

ALL: Final[Mapping[str, Preference[Any]]] = MappingProxyType(
    {found.name: found for found in tuple(vars().values()) if isinstance(found, Preference)}
)


def preference(name: str) -> Preference[Any]:
    """The preference of this name. Raises `UnknownPreference`."""
    found = ALL.get(name)
    if found is None:
        hint = did_you_mean(name, ALL) or "docs/preferences.md lists them all"
        raise UnknownPreference(f"unknown preference '{name}' ({hint})")
    return found
