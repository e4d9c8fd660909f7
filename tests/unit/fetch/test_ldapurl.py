"""LDAP URLs as CAs write them, RFC 4516 and beside it."""

from __future__ import annotations

import pytest

from smimefilter.fetch.ldapurl import LdapServer, LdapUrl, Scope, parse_ldap_url
from smimefilter.ports.net import FetchFailed

CRL = ("certificateRevocationList;binary",)
ANY = "(objectClass=*)"


def parsed(url: str) -> LdapUrl:
    return parse_ldap_url(url)


def test_all_parts() -> None:
    url = "ldaps://ldap.example.com:3636/cn=CA%2C%20old,o=x?cACertificate;binary?sub?(cn=CA)"
    assert parsed(url) == LdapUrl(
        LdapServer("ldap.example.com", 3636, tls=True),
        "cn=CA, old,o=x",
        ("cACertificate;binary",),
        Scope.SUB,
        "(cn=CA)",
    )


@pytest.mark.parametrize(
    "tail", ["cn=CA", "cn=CA?", "cn=CA????", "cn=CA?certificateRevocationList;binary?base"]
)
def test_what_is_not_said(tail: str) -> None:
    server = LdapServer("h", 389, tls=False)
    assert parsed(f"ldap://h/{tail}") == LdapUrl(server, "cn=CA", CRL, Scope.BASE, ANY)


def test_active_directory() -> None:
    url = (
        "ldap:///CN=Sub%20CA,CN=pki,CN=CDP,CN=Public%20Key%20Services,CN=Services,"
        "CN=Configuration,DC=corp,DC=example?certificateRevocationList?base"
        "?objectClass=cRLDistributionPoint"
    )
    found = parsed(url)
    assert found.server == LdapServer("", 389, tls=False)
    assert found.base.startswith("CN=Sub CA,CN=pki,")
    assert found.attributes == ("certificateRevocationList",)
    assert found.filter == "(objectClass=cRLDistributionPoint)"


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("LDAP://H", LdapServer("H", 389, tls=False)),
        ("ldaps://h", LdapServer("h", 636, tls=True)),
        ("ldap://[2001:db8::1]:1389/", LdapServer("2001:db8::1", 1389, tls=False)),
        ("ldap://", LdapServer("", 389, tls=False)),
    ],
)
def test_servers(url: str, server: LdapServer) -> None:
    assert parsed(url).server == server


def test_several_attributes() -> None:
    url = "ldap://h/cn=CA?deltaRevocationList;binary,authorityRevocationList;binary?one"
    assert parsed(url).attributes == (
        "deltaRevocationList;binary",
        "authorityRevocationList;binary",
    )
    assert parsed(url).scope is Scope.ONE


def test_extensions_are_ignored_unless_critical() -> None:
    assert parsed("ldap://h/????e-bindname=cn=x").base == ""
    with pytest.raises(FetchFailed, match="extension"):
        parsed("ldap://h/????other,!e-bindname=cn=x")


@pytest.mark.parametrize(
    "url",
    [
        "http://h/",
        "ldap:/h",
        "ldap://user@h/",
        "ldap://h:99999/",
        "ldap://[h/",
        "ldap://h/cn=a?b?base?(c=d)?e?f",
        "ldap://h/cn=%zz",
        "ldap://h/cn=%ff",
        "ldap://h/cn=a%00b",
        "ldap://h/cn=CA?*",
        "ldap://h/cn=CA?a b",
        "ldap://h/cn=CA?a?tree",
    ],
)
def test_what_is_none(url: str) -> None:
    with pytest.raises(FetchFailed, match="not an LDAP URL"):
        parsed(url)
