"""Keys in a PKCS#11 token: used as all others, away without a sound, and no oracle."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from smimefilter.base.errors import AdminError, KeyTrouble
from smimefilter.keys.module import Session
from smimefilter.keys.token import Token, read_pin
from smimefilter.keys.tokenkeys import TokenEcKey, TokenRsaKey, private_key
from smimefilter.keys.trouble import TokenTrouble
from smimefilter.ports.keys import InToken, TokenKey
from tests.support.pki import root
from tests.support.softhsm import PIN, SoftHsm, token_of

CA = root()
ALICE = CA.issue("Alice")
CURVES = [CA.issue(curve, key=curve) for curve in ("p256", "p384", "p521")]
SHA256 = hashes.SHA256()
SHA1 = hashes.SHA1()  # noqa: S303 - within OAEP
PKCS1 = padding.PKCS1v15()
MESSAGE = b"sixteen octets.."


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    return SoftHsm(tmp_path_factory.mktemp("token"))


@pytest.fixture
def token(hsm: SoftHsm) -> Iterator[Token]:
    with token_of(hsm) as found:
        yield found


@pytest.fixture(scope="module")
def alice(hsm: SoftHsm) -> TokenKey:
    return hsm.put(ALICE)


def rsa_key(token: Token, key: TokenKey) -> TokenRsaKey:
    found = private_key(token, key)
    assert isinstance(found, TokenRsaKey)
    return found


def public() -> rsa.RSAPublicKey:
    return cast("rsa.RSAPublicKey", ALICE.certificate.public_key)


# what it is used for


@pytest.mark.parametrize("digest", [SHA256, hashes.SHA384(), hashes.SHA512()])
@pytest.mark.parametrize("how", ["pkcs1", "pss"])
def test_rsa_signs(
    token: Token, alice: TokenKey, digest: hashes.HashAlgorithm, how: str
) -> None:
    pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
    form = PKCS1 if how == "pkcs1" else pss
    signature = rsa_key(token, alice).sign(b"hello", form, digest)
    public().verify(signature, b"hello", form, digest)


@pytest.mark.parametrize("one", CURVES, ids=["p256", "p384", "p521"])
def test_ec_signs_and_agrees(token: Token, hsm: SoftHsm, one: Any) -> None:
    key = private_key(token, hsm.put(one))
    assert isinstance(key, TokenEcKey)
    for digest in (SHA256, hashes.SHA512()):
        one.certificate.public_key.verify(
            key.sign(b"x", ec.ECDSA(digest)), b"x", ec.ECDSA(digest)
        )
    other = ec.generate_private_key(key.curve)
    secret = key.exchange(ec.ECDH(), other.public_key())
    assert secret == other.exchange(ec.ECDH(), one.certificate.public_key)


@pytest.fixture(params=["raw", "by the token"])
def unpadding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes the padding off: we do, or a token without CKM_RSA_X_509."""
    if request.param == "by the token":
        monkeypatch.setattr(Session, "has_raw_rsa", False)


@pytest.mark.usefixtures("unpadding")
@pytest.mark.parametrize("form", ["pkcs1", "oaep-sha1"])
def test_rsa_decrypts(token: Token, alice: TokenKey, form: str) -> None:
    how = PKCS1 if form == "pkcs1" else padding.OAEP(padding.MGF1(SHA1), SHA1, None)
    assert rsa_key(token, alice).decrypt(public().encrypt(MESSAGE, how), how) == MESSAGE


@pytest.mark.usefixtures("unpadding")
def test_a_key_that_may_not_decrypt(token: Token, hsm: SoftHsm) -> None:
    """Which is no wrong padding: the mail waits, and the log says why."""
    key = rsa_key(token, hsm.put(CA.issue("Signer"), uses="sign"))
    numbers = key.public_key()
    with pytest.raises(KeyTrouble, match="may not be used to decrypt"):
        key.decrypt(numbers.encrypt(MESSAGE, PKCS1), PKCS1)


@pytest.mark.parametrize("label", [None, b"a label"])
@pytest.mark.parametrize("mask", [SHA1, SHA256])
@pytest.mark.parametrize("digest", [SHA256, hashes.SHA512()])
def test_oaep_of_every_hash(
    token: Token,
    alice: TokenKey,
    digest: hashes.HashAlgorithm,
    mask: hashes.HashAlgorithm,
    label: bytes | None,
) -> None:
    how = padding.OAEP(padding.MGF1(mask), digest, label)
    assert rsa_key(token, alice).decrypt(public().encrypt(MESSAGE, how), how) == MESSAGE
    other = padding.OAEP(padding.MGF1(mask), digest, b"another")
    with pytest.raises(ValueError, match="cannot be decrypted"):
        rsa_key(token, alice).decrypt(public().encrypt(MESSAGE, other), how)


# no oracle


def raised_to(block: bytes) -> bytes:
    """A ciphertext that decrypts to a block of the attacker's."""
    numbers = public().public_numbers()
    return pow(int.from_bytes(block), numbers.e, numbers.n).to_bytes(256)


BLOCKS = {
    "no type": b"\0\1" + b"\xff" * 200 + b"\0" + bytes(53),
    "no end": b"\0\2" + b"\xff" * 254,
    "early end": b"\0\2" + b"\xff" * 7 + b"\0" + b"m" * 246,
    "high": b"\1\2" + b"\xff" * 200 + b"\0" + bytes(53),
    "zeros": bytes(255) + b"\2",
}


@pytest.mark.usefixtures("unpadding")
def test_a_wrong_padding_yields_a_message_like_any_other(
    token: Token, alice: TokenKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = rsa_key(token, alice)
    key.check()
    monkeypatch.setattr(token, "_connect", None)  # no session is opened, which would take time
    found = {}
    for name, block in BLOCKS.items():
        ciphertext = raised_to(block)
        found[name] = key.decrypt(ciphertext, PKCS1)
        assert key.decrypt(ciphertext, PKCS1) == found[name]
        assert found[name] not in block or len(found[name]) < 4
    assert len(set(found.values())) >= len(found) - 1
    assert key.decrypt(public().encrypt(MESSAGE, PKCS1), PKCS1) == MESSAGE


def test_ciphertexts_out_of_range_never_reach_the_token(token: Token, alice: TokenKey) -> None:
    key = rsa_key(token, alice)
    for ciphertext in (b"", bytes(256), b"\xff" * 256, bytes(255)):
        with pytest.raises(ValueError, match="cannot be decrypted"):
            key.decrypt(ciphertext, PKCS1)


# what is not there


def test_a_key_never_leaves(token: Token, alice: TokenKey) -> None:
    key = rsa_key(token, alice)
    with pytest.raises(ValueError, match="in the token"):
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ValueError, match="in the token"):
        key.private_numbers()
    assert copy.copy(key) is key
    assert copy.deepcopy(key) is key
    assert PIN not in repr(key) + repr(token)
    with pytest.raises((TypeError, AttributeError)):
        pickle.dumps(key)


def test_a_foreign_padding(token: Token, alice: TokenKey) -> None:
    odd = padding.PSS(padding.MGF1(SHA1), 20)
    with pytest.raises(UnsupportedAlgorithm):
        rsa_key(token, alice).sign(b"x", odd, SHA256)


def test_a_key_that_is_gone(token: Token, alice: TokenKey) -> None:
    key = private_key(token, TokenKey(b"\1\2", alice.public))
    assert isinstance(key, InToken)
    with pytest.raises(KeyTrouble, match="no private key 0102"):
        key.check()


def test_another_key_under_its_id(token: Token, hsm: SoftHsm, alice: TokenKey) -> None:
    """Of RSA keys the token tells the modulus, of others the signature tells."""
    bob = hsm.put(CA.issue("Bob", key="p256"))
    key = private_key(token, TokenKey(bob.id, alice.public))
    assert isinstance(key, InToken)
    with pytest.raises(KeyTrouble, match="no private key"):
        key.check()
    curve = private_key(token, TokenKey(bob.id, hsm.put(CURVES[0]).public))
    assert isinstance(curve, TokenEcKey)
    with pytest.raises(KeyTrouble, match="not one by this key"):
        curve.sign(b"x", ec.ECDSA(SHA256))


# the session


def test_a_lost_session_is_opened_again(token: Token, alice: TokenKey) -> None:
    key = rsa_key(token, alice)
    key.check()
    token.ask(lambda session: session.close())
    assert key.decrypt(public().encrypt(MESSAGE, PKCS1), PKCS1) == MESSAGE
    token.ask(lambda session: session.close())
    key.sign(b"x", PKCS1, SHA256)
    token.ask(lambda session: session.close())
    key.check()


def test_the_token_goes_and_comes_back(tmp_path: Path) -> None:
    hsm = SoftHsm(tmp_path)
    reference = hsm.put(ALICE)
    with token_of(hsm) as token:
        key = rsa_key(token, reference)
        key.check()
        hsm.take_away()
        with pytest.raises(KeyTrouble, match=f"token '{hsm.label}'"):
            key.check()
        hsm.put_back()
        key.check()
        assert key.decrypt(public().encrypt(MESSAGE, PKCS1), PKCS1) == MESSAGE


def test_many_threads(token: Token, alice: TokenKey) -> None:
    key, failed = rsa_key(token, alice), []

    def work() -> None:
        for number in range(20):
            message = f"{threading.get_ident()} {number}".encode()
            if key.decrypt(public().encrypt(message, PKCS1), PKCS1) != message:
                failed.append(message)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not failed


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_that_was_forked(token: Token, alice: TokenKey) -> None:
    """It initialises the module for itself; the parent's session goes on."""
    key = rsa_key(token, alice)
    key.check()
    child = os.fork()
    if child == 0:
        try:
            plain = key.decrypt(public().encrypt(MESSAGE, PKCS1), PKCS1)
            os._exit(0 if plain == MESSAGE else 3)
        except BaseException:  # noqa: BLE001 - nothing of pytest goes on in the child
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert key.decrypt(public().encrypt(MESSAGE, PKCS1), PKCS1) == MESSAGE


def test_a_token_that_hangs() -> None:
    """Who waits goes on after the deadline, who comes next at once, until it answers."""
    hanging, free, asked = threading.Event(), threading.Event(), []

    class Hanging:
        def find(self, key: TokenKey, *, anew: bool = False) -> None:
            asked.append(key)
            hanging.set()
            free.wait(30)

        def close(self) -> None: ...

    token = Token("slow", lambda _: cast(Any, Hanging()), lambda: PIN, timeout=0.05)
    with pytest.raises(KeyTrouble, match="token 'slow': no answer within"):
        token.ask(lambda session: session.find(TokenKey(b"1", b"")))
    assert hanging.wait(30)
    with pytest.raises(KeyTrouble, match="no answer"):
        token.ask(lambda session: session.find(TokenKey(b"2", b"")))
    assert [key.id for key in asked] == [b"1"]
    free.set()
    while len(asked) < 2:  # the call that hung returns in its own time
        try:
            token.ask(lambda session: session.find(TokenKey(b"3", b"")))
        except KeyTrouble:
            continue
    assert asked[1].id == b"3"


# the PIN


def test_a_wrong_pin_is_tried_once(tmp_path: Path) -> None:
    hsm = SoftHsm(tmp_path)
    reference = hsm.put(ALICE)
    hsm.set_pin("wrong-1")
    with token_of(hsm) as token:
        key = rsa_key(token, reference)
        with pytest.raises(KeyTrouble, match="the PIN is wrong"):
            key.check()
        for _ in range(10):  # each would bring it nearer to being locked
            with pytest.raises(KeyTrouble, match="the PIN was wrong before"):
                key.check()
        hsm.set_pin(PIN)
        key.check()


def test_a_pin_that_is_not_told(tmp_path: Path) -> None:
    file = tmp_path / "pin"
    with pytest.raises(AdminError, match="there is no PIN"):
        read_pin(None, None)
    with pytest.raises(AdminError, match="does not exist"):
        read_pin(file, None)
    file.write_text(f"{PIN}\r\nnote\n")
    file.chmod(0o640)
    with pytest.raises(AdminError, match="others can read the token's PIN") as caught:
        read_pin(file, None)
    assert PIN not in str(caught.value)
    file.chmod(0o600)
    assert read_pin(file, str(tmp_path)) == PIN
    (tmp_path / "token-pin").write_text("credential")
    assert read_pin(file, str(tmp_path)) == "credential"


def test_no_pin_in_what_is_raised(tmp_path: Path) -> None:
    hsm = SoftHsm(tmp_path)
    hsm.set_pin("wrong-pin-7")
    with token_of(hsm) as token, pytest.raises(KeyTrouble) as caught:
        token.inventory()
    error: BaseException | None = caught.value
    while error is not None:
        assert "wrong-pin-7" not in f"{error!r}"
        error = error.__cause__


# keys of it


def test_keys_are_listed(tmp_path: Path) -> None:
    hsm = SoftHsm(tmp_path)
    put = [hsm.put(ALICE), hsm.put(CURVES[1])]
    with token_of(hsm) as token:
        assert {one.key for one in token.inventory()} == set(put)
        assert {one.kind for one in token.inventory()} == {"rsa 2048", "ec secp384r1"}
        assert token.state().endswith("2 private keys")


@pytest.mark.parametrize("kind", ["rsa2048", "p384"])
def test_a_new_key(token: Token, kind: str) -> None:
    made = token.generate(kind, "a new one")
    found = [one for one in token.inventory() if one.key == made]
    assert [one.label for one in found] == ["a new one"]
    key = private_key(token, made)
    if isinstance(key, TokenRsaKey):
        key.sign(b"x", PKCS1, SHA256)
    else:
        assert isinstance(key, TokenEcKey)
        key.sign(b"x", ec.ECDSA(SHA256))


def test_a_kind_that_is_not_made(token: Token) -> None:
    with pytest.raises(AdminError, match="ed25519 keys are not made in a token"):
        token.generate("ed25519", "x")


def test_no_module(tmp_path: Path) -> None:
    hsm = SoftHsm(tmp_path)
    hsm.module = tmp_path / "none.so"
    with token_of(hsm) as token, pytest.raises(KeyTrouble, match="there is no PKCS#11 module"):
        token.inventory()


def test_references() -> None:
    key = TokenKey(b"\0\xff", b"public")
    assert TokenKey.of(key.reference) == key
    assert TokenKey.of(b"\x30\x82") is None
    for damaged in (b"pkcs11:", b"pkcs11:{}", b'pkcs11:{"id":"0","public":""}', b"pkcs11:[]"):
        with pytest.raises(ValueError):  # noqa: PT011 - any
            TokenKey.of(damaged)
    assert issubclass(TokenTrouble, Exception)
