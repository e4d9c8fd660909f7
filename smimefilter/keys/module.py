"""A session with a PKCS#11 token: what python-pkcs11 is asked, and what its errors mean.

Used by one thread alone: a module is loaded as one that is (C_Initialize without arguments).
One session, logged in; a process that was forked initialises the module anew. Whatever the
token says comes out as `Lost` (the session, the token or the key is gone: open another one),
`PinRefused` or `TokenTrouble`.

RSA: CKM_RSA_PKCS, CKM_RSA_PKCS_PSS, CKM_RSA_X_509, CKM_RSA_PKCS_OAEP. EC: CKM_ECDSA,
CKM_ECDH1_DERIVE on the NIST curves. PKCS #11 v2.40.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, cast

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from pkcs11 import KDF, MGF, Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass

from smimefilter.cms import der
from smimefilter.ports.keys import HeldKey, TokenKey

from .trouble import Lost, PinRefused, TokenTrouble

P = ParamSpec("P")
T = TypeVar("T")

_CURVES: Final[dict[bytes, ec.EllipticCurve]] = {
    der.oid("1.2.840.10045.3.1.7"): ec.SECP256R1(),
    der.oid("1.3.132.0.34"): ec.SECP384R1(),
    der.oid("1.3.132.0.35"): ec.SECP521R1(),
}
_RSA_BITS: Final = {"rsa2048": 2048, "rsa3072": 3072, "rsa4096": 4096}
_CURVE_NAMES: Final = {"p256": "secp256r1", "p384": "secp384r1", "p521": "secp521r1"}
_HASHES: Final = {
    "sha1": (Mechanism.SHA_1, MGF.SHA1),
    "sha224": (Mechanism.SHA224, MGF.SHA224),
    "sha256": (Mechanism.SHA256, MGF.SHA256),
    "sha384": (Mechanism.SHA384, MGF.SHA384),
    "sha512": (Mechanism.SHA512, MGF.SHA512),
}
_LOST: Final = (
    pkcs11.exceptions.DeviceError,
    pkcs11.exceptions.DeviceMemory,
    pkcs11.exceptions.DeviceRemoved,
    pkcs11.exceptions.HostMemory,
    pkcs11.exceptions.KeyHandleInvalid,
    pkcs11.exceptions.ObjectHandleInvalid,
    pkcs11.exceptions.OperationActive,
    pkcs11.exceptions.SessionClosed,
    pkcs11.exceptions.SessionHandleInvalid,
    pkcs11.exceptions.TokenNotPresent,
    pkcs11.exceptions.UserNotLoggedIn,
)
_SECRET: Final = {
    Attribute.TOKEN: True,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
}
_USES: Final = {
    "sign": Attribute.SIGN,
    "decrypt": Attribute.DECRYPT,
    "derive": Attribute.DERIVE,
}
_initialised: dict[str, int] = {}  # modules, and the process that did it


def _telling(
    work: Callable[Concatenate[Session, P], T],
) -> Callable[Concatenate[Session, P], T]:
    @functools.wraps(work)
    def told(self: Session, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return work(self, *args, **kwargs)
        except _LOST as error:
            raise Lost(_words(error)) from None
        except pkcs11.PKCS11Error as error:
            raise TokenTrouble(_words(error)) from None

    return cast("Callable[Concatenate[Session, P], T]", told)


def _words(error: pkcs11.PKCS11Error) -> str:
    """Its name as people read it: 'session handle invalid'."""
    said = str(error)
    return said or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()


class Session:
    """A session, logged in."""

    def __init__(self, token: Any, session: Any) -> None:
        self._token: Final = token
        self._session: Final = session
        self._handles: Final[dict[TokenKey, Any]] = {}
        mechanisms = token.slot.get_mechanisms()
        self._mechanisms: Final = frozenset(mechanisms)

    @property
    def about(self) -> str:
        """What it is, in a line."""
        token = self._token
        return f"{token.manufacturer_id} {token.model}".strip()

    @property
    def has_raw_rsa(self) -> bool:
        """Whether the token leaves padding to others."""
        return Mechanism.RSA_X_509 in self._mechanisms

    @_telling
    def close(self) -> None:
        """Log out."""
        self._session.close()

    @_telling
    def find(self, key: TokenKey, *, anew: bool = False) -> Any:
        """The key's object. Raises `Lost`, `TokenTrouble` where it is not there."""
        if anew:
            self._handles.pop(key, None)
        if key not in self._handles:
            self._probe()
            wanted = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.ID: key.id}
            these = [one for one in self._objects(wanted) if _may_be(one, key)]
            if not these:
                raise TokenTrouble(f"there is no private key {key.id.hex()} in it")
            self._handles[key] = these[0]
        return self._handles[key]

    @_telling
    def sign_rsa(self, key: TokenKey, data: bytes) -> bytes:
        """PKCS #1 v1.5 over a DigestInfo."""
        return bytes(self.able(key, "sign").sign(data, mechanism=Mechanism.RSA_PKCS))

    @_telling
    def sign_pss(self, key: TokenKey, digest: bytes, name: str, salt: int) -> bytes:
        """PSS over a digest, with MGF1 of the same hash."""
        return bytes(
            self.able(key, "sign").sign(
                digest,
                mechanism=Mechanism.RSA_PKCS_PSS,
                mechanism_param=(*_HASHES[name], salt),
            )
        )

    @_telling
    def sign_ec(self, key: TokenKey, digest: bytes) -> bytes:
        """ECDSA over a digest: r and s, of one length."""
        return bytes(self.able(key, "sign").sign(digest, mechanism=Mechanism.ECDSA))

    @_telling
    def decrypt_raw(self, key: TokenKey, ciphertext: bytes) -> bytes:
        """The RSA operation alone: a block as long as the modulus."""
        block = bytes(
            self.able(key, "decrypt").decrypt(ciphertext, mechanism=Mechanism.RSA_X_509)
        )
        return block.rjust(len(ciphertext), b"\0")

    @_telling
    def decrypt_pkcs1(self, key: TokenKey, ciphertext: bytes) -> bytes:
        """Decrypted and unpadded by the token."""
        return bytes(
            self.able(key, "decrypt").decrypt(ciphertext, mechanism=Mechanism.RSA_PKCS)
        )

    @_telling
    def decrypt_oaep(
        self, key: TokenKey, ciphertext: bytes, digest: str, mask: str, label: bytes
    ) -> bytes:
        """Decrypted and unpadded by the token."""
        parameters = (_HASHES[digest][0], _HASHES[mask][1], label or None)
        return bytes(
            self.able(key, "decrypt").decrypt(
                ciphertext, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=parameters
            )
        )

    @_telling
    def agree(self, key: TokenKey, point: bytes, size: int) -> bytes:
        """The shared secret of ECDH with an uncompressed point, so many octets."""
        secret = self.able(key, "derive_key").derive_key(
            KeyType.GENERIC_SECRET,
            8 * size,
            mechanism=Mechanism.ECDH1_DERIVE,
            mechanism_param=(KDF.NULL, None, point),
            capabilities=0,
            template={
                Attribute.TOKEN: False,
                Attribute.SENSITIVE: False,
                Attribute.EXTRACTABLE: True,
            },
        )
        try:
            return bytes(secret[Attribute.VALUE])
        finally:
            secret.destroy()

    @_telling
    def inventory(self) -> list[HeldKey]:
        """All private keys in the token."""
        self._probe()
        wanted = {Attribute.CLASS: ObjectClass.PRIVATE_KEY}
        return [self._described(one) for one in self._objects(wanted)]

    @_telling
    def generate(self, kind: str, label: str) -> TokenKey:
        """A new key pair of one of `token.KINDS`, which signs and never leaves the token."""
        id_ = secrets.token_bytes(16)
        session = self._token.open(rw=True)  # who is logged in is so in all sessions
        try:
            public = _generated(session, kind, id=id_, label=label)
            found = _rsa_public(public) if kind in _RSA_BITS else _ec_public(public)
        finally:
            session.close()
        if found is None:
            raise TokenTrouble("the key that it made cannot be read")
        return TokenKey(id_, _spki(found))

    def _probe(self) -> None:
        """Raises where the session is lost: a search on such a one leaves noise behind."""
        with contextlib.suppress(
            pkcs11.exceptions.RandomNoRNG, pkcs11.exceptions.FunctionNotSupported
        ):
            self._session.generate_random(64)

    def able(self, key: TokenKey, use: str) -> Any:
        """The key's object, with which this can be done."""
        found = self.find(key)
        if not hasattr(found, use):  # CKA_SIGN, CKA_DECRYPT or CKA_DERIVE is false
            what = use.removesuffix("_key")
            raise TokenTrouble(f"the key {key.id.hex()} may not be used to {what}")
        return found

    def _objects(self, wanted: dict[Attribute, Any]) -> list[Any]:
        return list(self._session.get_objects(wanted))

    def _described(self, one: Any) -> HeldKey:
        id_, label = bytes(_attribute(one, Attribute.ID) or b""), one.label or ""
        kind = one.key_type
        public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | None = None
        if kind is KeyType.RSA:
            public = _rsa_public(one)
        elif kind is KeyType.EC:
            public = next(filter(None, map(_ec_public, self._public_halves(one, id_))), None)
        else:
            name = getattr(kind, "name", str(kind)).lower()
            return HeldKey(id_, label, name, None, "this kind of key is not used for mail")
        named = f"rsa {public.key_size}" if isinstance(public, rsa.RSAPublicKey) else "ec"
        if isinstance(public, ec.EllipticCurvePublicKey):
            named = f"ec {public.curve.name}"
        if public is None:
            return HeldKey(id_, label, named, None, "its public half is not in the token")
        if not id_:
            return HeldKey(id_, label, named, None, "it has no CKA_ID")
        uses = tuple(use for use in _USES if _attribute(one, _USES[use]))
        return HeldKey(id_, label, named, TokenKey(id_, _spki(public)), uses=uses)

    def _public_halves(self, one: Any, id_: bytes) -> Iterator[Any]:
        yield one  # some tokens know it there
        wanted = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: id_}
        yield from self._objects(wanted) if id_ else ()


def open_session(module: Path, label: str, pin: Callable[[], str]) -> Session:
    """Log in to the token of this label. The PIN is asked for when the token is there; of a
    token that would be locked by one more wrong PIN it is not tried. Raises `TokenTrouble`,
    `PinRefused`, and what `pin` raises."""
    try:
        token = _token(_library(module), label)
        flags = token.flags
        if flags & pkcs11.TokenFlag.USER_PIN_LOCKED:
            raise PinRefused("its PIN is locked")
        if flags & pkcs11.TokenFlag.USER_PIN_FINAL_TRY:
            raise PinRefused(
                "one more wrong PIN would lock it: log in by its own program first"
            )
        return Session(token, _logged_in(token, pin))
    except (pkcs11.exceptions.PinIncorrect, pkcs11.exceptions.PinLenRange):
        raise PinRefused("the PIN is wrong") from None
    except pkcs11.exceptions.PinLocked:
        raise PinRefused("its PIN is locked") from None
    except pkcs11.PKCS11Error as error:
        raise TokenTrouble(_words(error)) from None


def _logged_in(token: Any, pin: Callable[[], str]) -> Any:
    try:
        return token.open(user_pin=pin())
    except pkcs11.exceptions.UserAlreadyLoggedIn:  # another session of this process is
        return token.open()


def _library(module: Path) -> Any:
    """The module, initialised in this process."""
    name = str(module)
    if not module.exists():
        raise TokenTrouble(f"there is no PKCS#11 module {name}")
    library = pkcs11.lib(name)
    if _initialised.setdefault(name, os.getpid()) != os.getpid():
        _anew(library)
        _initialised[name] = os.getpid()
    return library


def _anew(library: Any) -> None:
    with contextlib.suppress(pkcs11.PKCS11Error):  # it was not, in this process
        library.finalize()
    library.initialize()


def _token(library: Any, label: str) -> Any:
    """Some modules see a token that came back only when they are initialised again."""
    try:
        return library.get_token(token_label=label)
    except pkcs11.exceptions.MultipleTokensReturned:
        raise TokenTrouble("there are several tokens of this label") from None
    except pkcs11.PKCS11Error:
        pass
    try:
        _anew(library)
        return library.get_token(token_label=label)
    except pkcs11.exceptions.NoSuchToken:
        raise TokenTrouble("there is no such token") from None


def _generated(session: Any, kind: str, **about: Any) -> Any:
    shape = {"store": True, "private_template": _SECRET, **about}
    if kind in _RSA_BITS:
        able = MechanismFlag.SIGN | MechanismFlag.VERIFY
        public, _ = session.generate_keypair(
            KeyType.RSA, _RSA_BITS[kind], capabilities=able, **shape
        )
        return public
    curve = pkcs11.util.ec.encode_named_curve_parameters(_CURVE_NAMES[kind])
    domain = session.create_domain_parameters(
        KeyType.EC, {Attribute.EC_PARAMS: curve}, local=True
    )
    public, _ = domain.generate_keypair(
        capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY, **shape
    )
    return public


def _attribute(one: Any, name: Attribute) -> Any:
    try:
        return one[name]
    except pkcs11.PKCS11Error:
        return None


def _may_be(one: Any, key: TokenKey) -> bool:
    """Whether an object of this id is the key: of EC keys the token may not tell more."""
    wanted = load_der_public_key(key.public)
    if isinstance(wanted, rsa.RSAPublicKey):
        return one.key_type is KeyType.RSA and _rsa_public(one) == wanted
    return one.key_type is KeyType.EC


def _rsa_public(one: Any) -> rsa.RSAPublicKey | None:
    modulus = _attribute(one, Attribute.MODULUS)
    exponent = _attribute(one, Attribute.PUBLIC_EXPONENT) or b"\1\0\1"
    if not modulus:
        return None
    numbers = rsa.RSAPublicNumbers(int.from_bytes(exponent), int.from_bytes(modulus))
    try:
        return numbers.public_key()
    except ValueError:
        return None


def _ec_public(one: Any) -> ec.EllipticCurvePublicKey | None:
    curve = _CURVES.get(bytes(_attribute(one, Attribute.EC_PARAMS) or b""))
    point = bytes(_attribute(one, Attribute.EC_POINT) or b"")
    if curve is None or not point:
        return None
    size = 1 + 2 * ((curve.key_size + 7) // 8)
    try:  # an OCTET STRING by the standard, a bare point in some tokens
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, point[-size:])
    except ValueError:
        return None


def _spki(public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bytes:
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
