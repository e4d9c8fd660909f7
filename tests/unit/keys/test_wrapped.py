"""Key rings: unwrapped on first use, kept, never printed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from smimefilter.base.errors import KeyTrouble
from smimefilter.keys.master import MasterKey
from smimefilter.keys.wrapped import KeyVault
from smimefilter.pki.export import key_pkcs8
from smimefilter.ports.keys import PRIVATE_KEY, TokenKey
from tests.support.pki import Issued, root

MASTER = MasterKey(bytes(32))
CA = root()
ALICE = CA.issue("Alice")
BOB = CA.issue("Bob", key="p256")


def blob(one: Issued) -> bytes:
    return MASTER.seal(PRIVATE_KEY, one.thumbprint, key_pkcs8(one.key))


@dataclass
class Counting:
    """A sealer that counts what it opens."""

    opened: list[str] = field(default_factory=list)

    def seal(self, purpose: str, name: str, plain: bytes) -> bytes:
        return MASTER.seal(purpose, name, plain)

    def open(self, purpose: str, name: str, sealed: bytes) -> bytes:
        self.opened.append(name)
        return MASTER.open(purpose, name, sealed)


def test_keys_come_back() -> None:
    ring = KeyVault(MASTER).ring({ALICE.thumbprint: blob(ALICE), BOB.thumbprint: blob(BOB)})
    alice, bob = ring.private_key(ALICE.thumbprint), ring.private_key(BOB.thumbprint)
    assert isinstance(alice, rsa.RSAPrivateKey)
    assert isinstance(bob, ec.EllipticCurvePrivateKey)
    assert alice.public_key() == ALICE.certificate.public_key
    assert bob.public_key() == BOB.certificate.public_key


def test_unwrapped_once_and_only_when_asked_for() -> None:
    counting = Counting()
    ring = KeyVault(counting).ring({ALICE.thumbprint: blob(ALICE), BOB.thumbprint: blob(BOB)})
    assert ring.has(ALICE.thumbprint)
    assert not ring.has(CA.thumbprint)
    assert counting.opened == []
    assert ring.private_key(ALICE.thumbprint) is ring.private_key(ALICE.thumbprint)
    assert counting.opened == [ALICE.thumbprint]


def test_the_next_snapshot_finds_keys_unwrapped() -> None:
    counting = Counting()
    vault = KeyVault(counting)
    wrapped = blob(ALICE)
    first = vault.ring({ALICE.thumbprint: wrapped}).private_key(ALICE.thumbprint)
    again = vault.ring({ALICE.thumbprint: bytes(bytearray(wrapped))})
    assert again.private_key(ALICE.thumbprint) is first
    assert len(counting.opened) == 1


def test_a_key_that_was_taken_away_is_gone() -> None:
    vault = KeyVault(MASTER)
    vault.ring({ALICE.thumbprint: blob(ALICE)}).private_key(ALICE.thumbprint)
    with pytest.raises(KeyTrouble):
        vault.ring({}).private_key(ALICE.thumbprint)


def test_only_so_many_are_kept() -> None:
    counting = Counting()
    ring = KeyVault(counting, kept=1).ring(
        {ALICE.thumbprint: blob(ALICE), BOB.thumbprint: blob(BOB)}
    )
    for one in (ALICE, BOB, ALICE):
        ring.private_key(one.thumbprint)
    assert counting.opened == [ALICE.thumbprint, BOB.thumbprint, ALICE.thumbprint]


@pytest.mark.parametrize(
    "wrapped",
    [
        b"",
        b"junk",
        MASTER.seal(PRIVATE_KEY, ALICE.thumbprint, b"not a key"),
        MASTER.seal(PRIVATE_KEY, BOB.thumbprint, key_pkcs8(ALICE.key)),
        MASTER.seal("preference", ALICE.thumbprint, key_pkcs8(ALICE.key)),
        MasterKey(bytes(31) + b"x").seal(PRIVATE_KEY, ALICE.thumbprint, key_pkcs8(ALICE.key)),
    ],
)
def test_blobs_that_do_not_open(wrapped: bytes) -> None:
    ring = KeyVault(MASTER).ring({ALICE.thumbprint: wrapped})
    for _ in range(2):
        with pytest.raises(KeyTrouble) as caught:
            ring.private_key(ALICE.thumbprint)
    assert caught.value.reply.startswith("451 4.7.5")


def test_no_secret_shows() -> None:
    vault = KeyVault(MASTER)
    ring = vault.ring({ALICE.thumbprint: blob(ALICE)})
    assert blob(ALICE).hex() not in repr(ring)
    assert repr(vault) == "<KeyVault>"


def test_a_key_in_the_token() -> None:
    """What is wrapped says which one; the token is asked whether it is there each time."""
    reference = TokenKey(b"\1", b"public")
    blobs = {
        ALICE.thumbprint: MASTER.seal(PRIVATE_KEY, ALICE.thumbprint, reference.reference),
        BOB.thumbprint: blob(BOB),
    }
    checked: list[TokenKey] = []

    class Key:
        token_key = reference

        def check(self) -> None:
            checked.append(self.token_key)

    ring = KeyVault(MASTER, token=lambda _: cast("PrivateKeyTypes", Key())).ring(blobs)
    assert [ring.in_token(one.thumbprint) for one in (ALICE, BOB, CA)] == [True, False, False]
    assert checked == []
    assert ring.private_key(ALICE.thumbprint) is ring.private_key(ALICE.thumbprint)
    assert checked == [reference, reference]

    without = KeyVault(MASTER).ring(blobs)
    assert not without.in_token(ALICE.thumbprint)
    with pytest.raises(KeyTrouble, match="in a PKCS#11 token, and the settings name none"):
        without.private_key(ALICE.thumbprint)


def test_a_damaged_reference() -> None:
    sealed = MASTER.seal(PRIVATE_KEY, ALICE.thumbprint, b"pkcs11:{}")
    ring = KeyVault(MASTER, token=lambda _: ALICE.key).ring({ALICE.thumbprint: sealed})
    with pytest.raises(KeyTrouble, match="cannot be read"):
        ring.private_key(ALICE.thumbprint)
