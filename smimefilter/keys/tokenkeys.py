"""Private keys in the token, as `cryptography` has private keys: who uses keys need not know.

They implement its abstract classes, which CMS, certificates and CRLs are signed and opened
with. A signature is checked before it is given out: a token that signs with another key, or
wrongly, would spoil mail. The private key itself can be had from neither method.

What the token decrypts with RSA is unpadded in `unpad.py`, wherever it offers the bare
operation (CKM_RSA_X_509): then no answer of the token depends on the padding, and OAEP works
with every hash. Another token is asked for the padding that is needed; of PKCS #1 v1.5, each
failure that is not a lost session is a wrong padding, whatever the token calls it.

Raises `KeyTrouble`; `ValueError` and `UnsupportedAlgorithm` as `cryptography` does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_public_key

from smimefilter.base.errors import KeyTrouble
from smimefilter.cms import der
from smimefilter.ports.keys import TokenKey

from . import unpad
from .token import Token
from .trouble import Lost, TokenTrouble

if TYPE_CHECKING:
    from .module import Session

_Hash = hashes.HashAlgorithm | utils.Prehashed
Buffer = bytes | bytearray | memoryview
_DIGESTS: Final = {
    "sha1": "1.3.14.3.2.26",
    "sha224": "2.16.840.1.101.3.4.2.4",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}


def private_key(token: Token, key: TokenKey) -> PrivateKeyTypes:
    """The key, to be used; the token is not asked yet. Raises `ValueError` for a public half
    that is none."""
    public = load_der_public_key(key.public)
    if isinstance(public, rsa.RSAPublicKey):
        return TokenRsaKey(token, key, public)
    if isinstance(public, ec.EllipticCurvePublicKey):
        return TokenEcKey(token, key, public)
    raise ValueError("this kind of key is not used in a token")


def _stays(*_: object) -> NoReturn:
    raise ValueError("the private key is in the token, and does not leave it")


class TokenRsaKey(rsa.RSAPrivateKey):
    """An RSA key in the token."""

    def __init__(self, token: Token, key: TokenKey, public: rsa.RSAPublicKey) -> None:
        self._token: Final = token
        self._public: Final = public
        self.token_key: Final = key

    def __repr__(self) -> str:
        return f"<TokenRsaKey {self.token_key.id.hex()}>"

    @property
    def key_size(self) -> int:
        """Bits."""
        return self._public.key_size

    def public_key(self) -> rsa.RSAPublicKey:
        """Its public half."""
        return self._public

    def check(self) -> None:
        """Raises `KeyTrouble` where the token is away, or the key in it."""
        self._token.ask(lambda session: session.find(self.token_key, anew=True))

    def sign(
        self, data: Buffer, padding: padding.AsymmetricPadding, algorithm: _Hash | Any
    ) -> bytes:
        """A signature by PKCS #1 v1.5, or PSS with MGF1 of the same hash."""
        digest, hashing = _digest(data, algorithm)
        signature = self._token.ask(self._signing(digest, hashing, padding))
        try:
            self._public.verify(signature, digest, padding, utils.Prehashed(hashing))
        except InvalidSignature:
            raise _not_by_it(self._token) from None
        return signature

    def _signing(
        self, digest: bytes, hashing: hashes.HashAlgorithm, how: padding.AsymmetricPadding
    ) -> Callable[[Session], bytes]:
        if isinstance(how, padding.PKCS1v15):
            oid = der.algorithm(_DIGESTS[_name(hashing)], der.NULL)
            info = der.tlv(der.SEQUENCE, oid, der.tlv(der.OCTET_STRING, digest))
            return lambda session: session.sign_rsa(self.token_key, info)
        if not isinstance(how, padding.PSS) or _mask_of(how).name != hashing.name:
            raise UnsupportedAlgorithm("the token does not sign with this padding")
        salt = _salt(how, hashing, self)
        return lambda session: session.sign_pss(self.token_key, digest, _name(hashing), salt)

    def decrypt(self, ciphertext: bytes, padding: padding.AsymmetricPadding) -> bytes:
        """What was encrypted; for a wrong PKCS #1 v1.5 padding something that stands in for
        it. Raises `ValueError`."""
        size = (self.key_size + 7) // 8
        if len(ciphertext) != size or not self._is_in_range(ciphertext):
            raise ValueError("cannot be decrypted")  # as anybody can see
        return self._token.ask(lambda session: self._decrypted(session, ciphertext, padding))

    def _decrypted(
        self, session: Session, ciphertext: bytes, how: padding.AsymmetricPadding
    ) -> bytes:
        if isinstance(how, padding.PKCS1v15):
            if session.has_raw_rsa:
                block = session.decrypt_raw(self.token_key, ciphertext)
                return unpad.pkcs1(block, ciphertext)
            return self._by_token(session, ciphertext)
        if not isinstance(how, padding.OAEP):
            raise UnsupportedAlgorithm("the token does not decrypt with this padding")
        digest, mask, label = how.algorithm, _mask_of(how), _label_of(how)
        if session.has_raw_rsa:
            block = session.decrypt_raw(self.token_key, ciphertext)
            return unpad.oaep(block, digest, mask, label)
        session.able(self.token_key, "decrypt")
        try:
            return session.decrypt_oaep(
                self.token_key, ciphertext, _name(digest), _name(mask), label
            )
        except Lost:
            raise
        except TokenTrouble:
            raise ValueError("cannot be decrypted") from None

    def _by_token(self, session: Session, ciphertext: bytes) -> bytes:
        longest = len(ciphertext) - 11
        instead = unpad.stand_in(ciphertext, longest)
        session.able(self.token_key, "decrypt")
        try:
            return session.decrypt_pkcs1(self.token_key, ciphertext)
        except Lost:
            raise
        except TokenTrouble:
            return instead

    def _is_in_range(self, ciphertext: bytes) -> bool:
        modulus = self._public.public_numbers().n
        return 1 < int.from_bytes(ciphertext) < modulus - 1

    def private_numbers(self) -> rsa.RSAPrivateNumbers:
        """It does not leave the token."""
        _stays()

    def private_bytes(self, *args: object, **kwargs: object) -> bytes:
        """It does not leave the token."""
        _stays(*args, **kwargs)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class TokenEcKey(ec.EllipticCurvePrivateKey):
    """A key on a NIST curve in the token."""

    def __init__(self, token: Token, key: TokenKey, public: ec.EllipticCurvePublicKey) -> None:
        self._token: Final = token
        self._public: Final = public
        self.token_key: Final = key

    def __repr__(self) -> str:
        return f"<TokenEcKey {self.token_key.id.hex()}>"

    @property
    def curve(self) -> ec.EllipticCurve:
        """Its curve."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """Bits."""
        return self._public.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Its public half."""
        return self._public

    def check(self) -> None:
        """Raises `KeyTrouble` where the token is away, or the key in it."""
        self._token.ask(lambda session: session.find(self.token_key, anew=True))

    def sign(
        self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm
    ) -> bytes:
        """An ECDSA signature, DER."""
        digest, hashing = _digest(data, signature_algorithm.algorithm)
        size = (self.key_size + 7) // 8
        both = self._token.ask(lambda session: session.sign_ec(self.token_key, digest[:size]))
        half = len(both) // 2
        signature = utils.encode_dss_signature(
            int.from_bytes(both[:half]), int.from_bytes(both[half:])
        )
        try:
            self._public.verify(signature, digest, ec.ECDSA(utils.Prehashed(hashing)))
        except InvalidSignature:
            raise _not_by_it(self._token) from None
        return signature

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        """The shared secret."""
        if not isinstance(algorithm, ec.ECDH) or peer_public_key.curve.name != self.curve.name:
            raise ValueError("the keys do not go together")
        size = (self.key_size + 7) // 8
        numbers = peer_public_key.public_numbers()
        point = b"\4" + numbers.x.to_bytes(size) + numbers.y.to_bytes(size)
        return self._token.ask(lambda session: session.agree(self.token_key, point, size))

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        """It does not leave the token."""
        _stays()

    def private_bytes(self, *args: object, **kwargs: object) -> bytes:
        """It does not leave the token."""
        _stays(*args, **kwargs)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def _digest(data: Buffer, algorithm: _Hash) -> tuple[bytes, hashes.HashAlgorithm]:
    """The digest of data, or the data where it is one."""
    if isinstance(algorithm, utils.Prehashed):
        # Only that of `cryptography` itself knows its hash; nobody here hands one over.
        raise UnsupportedAlgorithm("the token signs data, not digests")
    hashing = hashes.Hash(algorithm)
    hashing.update(data)
    return hashing.finalize(), algorithm


def _name(algorithm: hashes.HashAlgorithm) -> str:
    if algorithm.name not in _DIGESTS:
        raise UnsupportedAlgorithm(f"{algorithm.name} is not used with a token")
    return algorithm.name


def _mask_of(how: padding.PSS | padding.OAEP) -> hashes.HashAlgorithm:
    mask = how.mgf
    if not isinstance(mask, padding.MGF1):
        raise UnsupportedAlgorithm("a mask that is not known")
    return mask._algorithm  # noqa: SLF001 - there is no other way to it


def _label_of(how: padding.OAEP) -> bytes:
    return how._label or b""  # noqa: SLF001 - likewise


def _salt(how: padding.PSS, hashing: hashes.HashAlgorithm, key: rsa.RSAPrivateKey) -> int:
    salt = how._salt_length  # noqa: SLF001 - likewise
    if isinstance(salt, int):
        return salt
    if salt is padding.PSS.MAX_LENGTH:
        return padding.calculate_max_pss_salt_length(key, hashing)
    return hashing.digest_size


def _not_by_it(token: Token) -> KeyTrouble:
    return KeyTrouble(f"token '{token.label}': its signature is not one by this key")
