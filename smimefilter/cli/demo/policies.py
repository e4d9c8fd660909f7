"""The policies of the demo, as an administrator would write them.

They are written into the folder of results and the filter reads them there: what is to be
seen afterwards is what was in force.
"""

from __future__ import annotations

from typing import Final

from .results import Results

GLOBAL: Final = """\
# What holds for everybody, unless a domain or a user says otherwise.

preferences:
  encrypt: allow              # encrypt when the recipient has a certificate
  sign: when-encrypting
"""

ACME: Final = """\
# Our own domain.

domain: acme.example

preferences:
  locality: internal          # mail to these addresses is not encrypted on its way in
  sign: always                # mail from them is always signed

users:
  # A shared mailbox without a key.
  sales@acme.example:
    sign: never

  # Written by a machine and signed by its own DKIM key: not to be touched.
  newsletter@acme.example:
    sign: never
    encrypt: never
"""

PARTNER: Final = """\
# A partner whose mail has to be encrypted, or must not leave.

domain: partner.example

preferences:
  encrypt: mandatory
"""

POLICIES: Final = {
    "global.yaml": GLOBAL,
    "domains/acme.example.yaml": ACME,
    "domains/partner.example.yaml": PARTNER,
}


def write_policies(results: Results) -> None:
    """The policy files, in `policies/`."""
    for name, text in POLICIES.items():
        results.write(f"policies/{name}", text.encode())
