"""Challenge mails as a CA sends them, and as others forge them."""

from __future__ import annotations

ALICE = "alice@example.com"
CA = "acme-generator@ca.test"
TOKEN = "LgYemJLy3F1LDkiJrdIGbEzyFJyOyf6vBdyZ1TG3sME"
DKIM = "mx.example.com; dkim=pass header.d=ca.test"


def challenge_mail(
    *,
    token: str = TOKEN,
    sender: str = CA,
    to: str = ALICE,
    subject: str | None = None,
    auto: str = "auto-generated; type=acme",
    message_id: str = "<challenge@ca.test>",
    reply_to: str = "",
    results: str = "",
) -> bytes:
    """One; fields that are empty are left out."""
    fields = {
        "Authentication-Results": results,
        "From": sender,
        "To": to,
        "Reply-To": reply_to,
        "Subject": f"ACME: {token}" if subject is None else subject,
        "Auto-Submitted": auto,
        "Date": "Mon, 23 Nov 2026 08:00:00 +0000",
        "Message-ID": message_id,
        "MIME-Version": "1.0",
        "Content-Type": "text/plain",
    }
    header = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    text = "This is an automatically generated ACME challenge.\r\n"
    return f"{header}\r\n{text}".encode()
