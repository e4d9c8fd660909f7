"""Hypothesis strategies for preferences, settings and scopes as policy files may have them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from hypothesis import strategies as st

from smimefilter.base.algorithms import ContentCipher, KeyTransport, SignatureAlgorithm
from smimefilter.policy import preferences as p
from smimefilter.policy.preferences import ALL, Preference
from smimefilter.policy.scopes import level_of
from smimefilter.policy.tree import Setting

THUMBPRINT = "4f" * 64

LINES = st.sampled_from(["Alice Example", "Ärztekammer Süd", "O'Neill & Sons, Ltd."])
THUMBPRINTS = st.integers(0, 2**512 - 1).map(lambda number: f"{number:0128x}")
PATTERNS = st.sampled_from([r"\[secure\]", r"^x\s*+y", "(a|b)c", "[a-z]{2,3}:", "ü.*z", " x "])
TAGS = st.sampled_from(["[signed]", "(not good)", "{ok.}", "<geprüft>"])
SIGNER_TAGS = TAGS | st.sampled_from(["(signed by {signer})", "[{signer} signed]"])
SWITCHES = st.sampled_from(["yes", "no", True, False, "On", "false"])

_WORDS: dict[str, type[StrEnum]] = {
    "locality": p.Locality,
    "encrypt": p.Encrypt,
    "on-missing-certificate": p.OnMissing,
    "content-cipher": ContentCipher,
    "key-transport": KeyTransport,
    "sign": p.Sign,
    "signing-identity": p.SigningIdentity,
    "on-missing-signature": p.OnMissingSignature,
    "sign-format": p.SignFormat,
    "signature-algorithm": SignatureAlgorithm,
    "protect-headers": p.ProtectHeaders,
    "on-undecryptable": p.OnUndecryptable,
    "harvest": p.Harvest,
    "ca-key": p.KeyChoice,
    "ca-digest": p.Digest,
}
_OTHERS: dict[str, st.SearchStrategy[Any]] = {
    "encrypt-trigger-subject": PATTERNS,
    "sign-trigger-subject": PATTERNS,
    "encrypt-trigger-header": st.just("X-Encrypt") | PATTERNS.map(lambda x: f"X-Encrypt: {x}"),
    "sign-trigger-header": st.just("X-Sign") | PATTERNS.map(lambda x: f"X-Sign: {x}"),
    "encrypt-trigger-sensitivity": st.lists(st.sampled_from([str(s) for s in p.Sensitivity])),
    "max-smime-size": st.integers(1, 10**12)
    | st.builds(
        lambda size, unit: f"{size}{unit}", st.integers(1, 999), st.sampled_from("KMG")
    ),
    "max-crl-age": st.builds(
        lambda count, unit: f"{count}{unit}", st.integers(1, 9999), st.sampled_from("wdhms")
    ),
    "max-layers": st.integers(1, 16),
    "info-header-prefix": st.sampled_from(["X-Gateway-", "x-a-"]),
    "subject-tag-decrypted": TAGS,
    "subject-tag-signed": SIGNER_TAGS,
    "subject-tag-invalid": TAGS,
    "subject-tag-untrusted": TAGS,
    "decrypt-with": st.sampled_from([*map(str, p.DecryptWith), "x.test", "@x.test, *.b.test"])
    | st.lists(st.sampled_from(["x.test", "bücher.example"]), min_size=1),
    "minimum-rsa-bits": st.integers(1024, 16384),
    "may-sign-for": st.lists(st.sampled_from(["a@x.test", "*@x.test", "Ü@bücher.example"])),
    "encryption-certificates": st.lists(THUMBPRINTS, max_size=3),
    "additional-certificates": st.lists(THUMBPRINTS, max_size=3),
    "signing-certificate": THUMBPRINTS,
    "pkcs12-password": st.text(min_size=1),
    "ca-request-handler": st.sampled_from(["built-in", "csr", "my-own-1"]),
    "ca-common-name": LINES,
    "ca-organisation": LINES,
    "display-name": LINES,
    "sms-number": st.just("+49 30 123456"),
    "ca-validity": st.integers(1, 36_500),
    "ca-crl-url": st.sampled_from(["http://crl.x.test/{ca}.crl", "ldap://x.test/CN=CA"]),
    "ca-issuer-url": st.just("http://crl.x.test/{ca}.cer"),
    "ca-crl-days": st.integers(1, 366),
    "ca-mail-sender": st.just("ca@x.test"),
    "ca-password-length": st.integers(8, 64),
    "renew-before": st.integers(1, 365),
}


def raw_values(preference: Preference[Any]) -> st.SearchStrategy[Any]:
    """Values that the preference takes, as people write them."""
    if preference.name in _WORDS:
        return st.sampled_from([str(word) for word in _WORDS[preference.name]])
    return _OTHERS.get(preference.name, SWITCHES)


DOMAINS = ("example.com", "sub.example.com", "a.b.example.com", "other.test", "localhost",
           "[192.0.2.1]")  # fmt: skip
SCOPES = (
    "global", "*.com", "*.example.com", "*.sub.example.com", *DOMAINS,
    *(f"{name}@{domain}" for name in ("alice", "bob") for domain in DOMAINS),
)  # fmt: skip


@st.composite
def settings_at(
    draw: st.DrawFn, scope: str, source: str, *, secrets: bool = False
) -> dict[str, Setting]:
    """A few preferences set (or reset) at a scope."""
    fit = [
        found
        for found in ALL.values()
        if level_of(scope) in found.levels and (secrets or not found.secret)
    ]
    chosen = draw(st.lists(st.sampled_from(fit), max_size=5, unique=True))
    return {
        found.name: Setting(
            found.parse_setting(draw(st.sampled_from([None]) | raw_values(found))), source
        )
        for found in chosen
    }


@st.composite
def scopes(draw: st.DrawFn, source: str = "file") -> dict[str, dict[str, Setting]]:
    """Scopes with something set at each."""
    chosen = draw(st.lists(st.sampled_from(SCOPES), max_size=6, unique=True))
    return {scope: draw(settings_at(scope, f"{source}:{scope}")) for scope in chosen}
