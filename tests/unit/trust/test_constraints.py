"""Name constraints on mail addresses: none by which the gateway finds people escapes them."""

from __future__ import annotations

import pytest

from smimefilter.base.reasons import Because
from smimefilter.trust.constraints import MailConstraints, mail_constraints
from smimefilter.trust.verdict import Standing
from tests.support.pki import root
from tests.support.trust import codes, knowing, verdict

ROOT = root()


@pytest.mark.parametrize(
    ("base", "address", "covered"),
    [
        ("example.com", "alice@example.com", True),
        ("example.com", "alice@mail.example.com", False),
        (".example.com", "alice@mail.example.com", True),
        (".example.com", "alice@example.com", False),
        (".example.com", "alice@badexample.com", False),
        ("alice@example.com", "alice@example.com", True),
        ("alice@example.com", "bob@example.com", False),
    ],
)
def test_bases(base, address, covered):
    assert MailConstraints((base,), ()).allows(address) == covered
    assert MailConstraints(None, (base,)).allows(address) != covered


def test_excluded_beats_permitted():
    constraints = MailConstraints(("example.com",), ("boss@example.com",))
    assert constraints.allows("alice@example.com")
    assert not constraints.allows("boss@example.com")


@pytest.mark.parametrize(
    ("special", "mail", "usable"),
    [
        ({"permitted_addresses": ("example.com",)}, "alice@example.com", True),
        ({"permitted_addresses": ("example.com",)}, "ALICE@EXAMPLE.COM", True),
        ({"permitted_addresses": ("example.com",)}, "alice@example.net", False),
        ({"permitted_addresses": ("example.com",)}, "alice@mail.example.com", False),
        ({"permitted_addresses": (".example.com",)}, "alice@mail.example.com", True),
        ({"permitted_addresses": ("alice@example.com",)}, "bob@example.com", False),
        ({"excluded_addresses": ("example.com",)}, "alice@example.com", False),
        ({"excluded_addresses": ("example.com",)}, "alice@example.net", True),
        ({"excluded_addresses": ("Boss@Example.com",)}, "boss@example.com", False),
        ({"permitted_addresses": ("example.com",)}, "jürgen@example.net", False),
        ({"permitted_addresses": ("example.com",)}, "jürgen@example.com", True),
        ({"excluded_addresses": ("xn--bcher-kva.example",)}, "jürgen@bücher.example", False),
    ],
)
@pytest.mark.parametrize("in_root", [False, True])
def test_a_constrained_ca(special, mail, usable, in_root):
    if in_root:
        top = root("Constrained Root", **special)
        issuer = top.issue("Sub CA", ca=True)
    else:
        top = ROOT
        issuer = top.issue("Constrained CA", ca=True, **special)
    alice = issuer.issue("Alice", mail=mail)
    found = verdict(alice, knowing([top], [issuer]))
    if usable:
        assert found.standing is Standing.VALID
    else:
        expected = (Standing.UNTRUSTED, {Because.PATH_INVALID})
        assert (found.standing, set(codes(found))) == expected


def test_every_address_of_a_certificate_is_looked_at():
    ca = ROOT.issue("Constrained CA", ca=True, permitted_addresses=("example.com",))
    both = ca.issue("Alice", mail=("alice@example.com", "alice@example.net"))
    assert not verdict(both, knowing([ROOT], [ca])).usable


def test_the_subject_is_constrained_beside_a_subject_alternative_name():
    ca = ROOT.issue("Constrained CA", ca=True, permitted_addresses=("example.com",))
    escaping = ca.issue("Alice", mail=("boss@example.net",), address_in_subject=True)
    assert not verdict(escaping, knowing([ROOT], [ca])).usable


def test_a_base_that_is_none_permits_nothing_and_excludes_everything():
    permits = ROOT.issue("Odd CA", ca=True, permitted_addresses=("..",)).certificate
    excludes = ROOT.issue("Odd CA", ca=True, excluded_addresses=("..",)).certificate
    for certificate in (permits, excludes):
        constraints = mail_constraints(certificate)
        assert constraints is not None
        assert not constraints.allows("alice@example.com")


def test_a_ca_without_constraints_has_none():
    assert mail_constraints(ROOT.certificate) is None
