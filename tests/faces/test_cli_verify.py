"""`smimefilter certificate verify`: what mail would say of a certificate, and every step."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from smimefilter.pki.export import certificates_pem
from tests.support.pki import root
from tests.support.postoffice import BOB, FRANK, Installation


def verified(installation: Installation, which: str, *more: str, code: int = 0) -> Any:
    return installation.command("certificate", "verify", which, "--json", *more, code=code).json


def subjects(path: dict[str, Any]) -> list[str]:
    return [step["subject"] for step in path["steps"]]


def test_the_path_and_what_each_certificate_says(installation: Installation) -> None:
    bob = installation.who(BOB).certificate
    found = verified(installation, bob.thumbprint[:16], "--purpose", "encrypt")
    assert (found["standing"], found["usable"], found["sha512"]) == (
        "valid",
        True,
        bob.thumbprint,
    )
    (path,) = found["paths"]
    assert path["worth"] == "valid"
    assert subjects(path) == ["CN=bob", "CN=Test Sub CA", "CN=Test Root"]
    assert [step["root"] for step in path["steps"]] == [False, False, True]
    first = path["steps"][0]
    assert (first["key"], first["signature"]) == ("RSA 2048 bits", "RSA with SHA-256")
    assert first["valid-until"] == bob.not_after.isoformat()
    assert first["crls"] == []
    text = installation.command("certificate", "verify", bob.thumbprint[:16]).out
    assert "CN=Test Root" in text
    assert ", a trusted root" in text
    assert text.splitlines()[-1].strip().startswith("no CRL at hand")


def test_each_crl_and_what_it_said(installation: Installation) -> None:
    file = installation.people.crl(BOB)
    installation.command("crl", "import", str(file))
    bob = installation.who(BOB).thumbprint[:16]
    found = verified(installation, bob, code=1)
    assert (found["standing"], found["usable"]) == ("revoked", False)
    (path,) = found["paths"]
    (crl,) = path["steps"][0]["crls"]
    assert crl["says"].startswith("listed, ")
    assert (crl["number"], crl["entries"], crl["signed-by"]) == (1, 1, "CN=Test Sub CA")
    assert path["problems"][0]["because"] == "revoked"
    text = installation.command("certificate", "verify", bob, code=1).out
    assert "CRL no. 1 of " in text
    assert "1 entry, signed by CN=Test Sub CA: listed, " in text


def test_at_another_time(installation: Installation) -> None:
    frank = installation.who(FRANK).certificate
    found = verified(installation, frank.thumbprint[:16], code=1)
    assert found["standing"] == "expired"
    (path,) = found["paths"]
    assert path["worth"].startswith("not tried")
    assert subjects(path) == ["CN=frank", "CN=Test Sub CA", "CN=Test Root"]
    before = frank.not_after - timedelta(days=1)
    for at in (before.isoformat(), f"{before:%Y-%m-%d}"):
        found = verified(installation, frank.thumbprint[:16], "--at", at)
        assert found["standing"] == "valid"
    complaint = installation.command.complaint(
        "certificate", "verify", frank.thumbprint[:16], "--at", "tomorrow"
    )
    assert complaint.startswith("--at: 'tomorrow' is no time")


def test_for_a_purpose(installation: Installation, tmp_path: Path) -> None:
    people = installation.people
    only_signs = people.add("signs@x.test", key_usage=frozenset({"digitalSignature"}))
    file = tmp_path / "signs.pem"
    file.write_bytes(certificates_pem([only_signs.certificate]))
    assert verified(installation, str(file), "--purpose", "sign")["usable"]
    found = verified(installation, str(file), "--purpose", "encrypt", code=1)
    assert found["standing"] == "unsuitable"
    assert found["reasons"][0]["because"] == "key-usage"


@pytest.mark.parametrize("trusted", [True, False])
def test_a_file_brings_its_chain_and_no_trust(
    installation: Installation, tmp_path: Path, trusted: bool
) -> None:
    now = installation.people.now
    valid = {"not_before": now - timedelta(days=9), "not_after": now + timedelta(days=9)}
    top = installation.people.root if trusted else root("Elsewhere", **valid)
    sub = top.issue("Another Sub", ca=True, **valid)
    hans = sub.issue("Hans", mail="hans@x.test", **valid)
    file = tmp_path / "hans.pem"
    chain = [sub.certificate, hans.certificate, *([] if trusted else [top.certificate])]
    file.write_bytes(certificates_pem(chain))
    found = verified(installation, str(file), code=0 if trusted else 1)
    assert found["subject"] == "CN=Hans"
    assert found["standing"] == ("valid" if trusted else "untrusted")
    (path,) = found["paths"]
    assert path["worth"] == ("valid" if trusted else "leads to no root")
    alone = tmp_path / "alone.pem"
    alone.write_bytes(certificates_pem([hans.certificate]))
    found = verified(installation, str(alone), code=1)
    assert "CN=Another Sub is not at hand" in found["reasons"][0]["text"]


def test_other_paths_and_why_they_failed(installation: Installation, tmp_path: Path) -> None:
    """An intermediate that was renewed: the old one has expired, with the same key."""
    now = installation.people.now
    day = timedelta(days=1)
    people = installation.people
    top = people.root
    old = top.issue("Twin", ca=True, not_before=now - 9 * day, not_after=now - day)
    new = top.issue("Twin", ca=True, not_before=now - day, not_after=now + 9 * day)
    ida = new.issue("Ida", mail="ida@x.test", not_before=now - day, not_after=now + 9 * day)
    file = tmp_path / "ida.pem"
    for order in ([old, new], [new, old]):
        file.write_bytes(certificates_pem([ida.certificate, *(c.certificate for c in order)]))
        found = verified(installation, str(file))
        assert found["standing"] == "valid"
        worths = [path["worth"] for path in found["paths"]]
        valid = worths.index("valid")
        for path in found["paths"][:valid]:
            assert path["worth"] == "not valid"
            assert path["problems"][0]["because"] == "expired"
        assert len(worths) == 2
