"""The master key: where it comes from, and sealing small secrets under it.

32 bytes from a file that nobody else can read, or from the systemd credential `master-key`.
Everything sealed is AES-256-GCM with a random nonce and bound to its purpose and name, so that
one sealed secret cannot be put in the place of another.

    sealed = version (1 byte, 0x01) | nonce (12) | ciphertext | tag (16)

Leaves storing what is sealed to `store/`, what is sealed to `flow/`. NIST SP 800-38D.
Raises `AdminError` on loading, `KeyTrouble` on opening what does not open.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from smimefilter.base.errors import AdminError, KeyTrouble

from .secretfile import read_secret

KEY_BYTES: Final = 32
CREDENTIAL: Final = "master-key"
_VERSION: Final = b"\x01"
_NONCE_BYTES: Final = 12
_HOW_TO_MAKE: Final = "put the right one back; a new installation gets one by: smimefilter init"
_FORMS: Final = "64 hex digits, base64 of 32 bytes, or the 32 bytes themselves"


class MasterKey:
    """`ports.Sealer` with a key in memory."""

    def __init__(self, key: bytes) -> None:
        """`key` is 32 bytes."""
        if len(key) != KEY_BYTES:
            raise ValueError("a master key has 32 bytes")
        self._cipher: Final = AESGCM(key)

    def __repr__(self) -> str:
        return "<MasterKey>"

    def seal(self, purpose: str, name: str, plain: bytes) -> bytes:
        """The sealed secret, fit to be stored."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, _bound(purpose, name))

    def open(self, purpose: str, name: str, sealed: bytes) -> bytes:
        """The secret again. Raises `KeyTrouble` when it was sealed under another master key,
        for another purpose or name, or was changed."""
        nonce, ciphertext = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if sealed[:1] != _VERSION or len(nonce) != _NONCE_BYTES:
            raise KeyTrouble(f"the sealed {purpose} is damaged or from a newer version")
        try:
            return self._cipher.decrypt(nonce, ciphertext, _bound(purpose, name))
        except InvalidTag:
            raise KeyTrouble(f"the sealed {purpose} does not open with this key") from None


def load_master_key(path: Path | None, credentials: str | None = None) -> MasterKey:
    """The master key of a file, or of systemd when `path` is None.

    `credentials` is the folder in the environment variable CREDENTIALS_DIRECTORY, if any.
    Raises `AdminError`: no key, not a key, or a file that others can read.
    """
    if path is not None:
        return MasterKey(_read(path, private=True))
    if not credentials:
        raise AdminError(
            "there is no master key",
            where="master-key",
            mend="name its file in the configuration, or start with LoadCredential=master-key",
        )
    # systemd guards the folder; the mode of a file in it shows an access list, not who may read
    return MasterKey(_read(Path(credentials) / CREDENTIAL, private=False))


def generate_master_key(path: Path) -> MasterKey:
    """Make a new key in a new file, for its owner alone.

    Raises `AdminError` when the file exists (it is never overwritten) or cannot be made.
    """
    key = secrets.token_bytes(KEY_BYTES)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(key.hex().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise AdminError(
            "it exists, and a master key is never overwritten",
            where=str(path),
            mend="name another file, or keep this one",
        ) from None
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        raise AdminError(
            f"the master key cannot be made: {said}",
            where=str(path),
            mend="its folder must exist, and be ours to write to",
        ) from None
    return MasterKey(key)


def _read(path: Path, *, private: bool) -> bytes:
    missing = "put it back; of a new installation, make it with: smimefilter init"
    return _key_in(read_secret(path, "the master key", missing, private=private), path)


def _key_in(content: bytes, path: Path) -> bytes:
    """The key in one of its three forms."""
    if len(content) == KEY_BYTES and not content.isascii():
        return content  # 32 random bytes are ASCII once in 4 000 million; ASCII is a short text
    text = b"".join(content.split())
    for decode, length in ((binascii.unhexlify, 2 * KEY_BYTES), (base64.urlsafe_b64decode, 44)):
        if len(text) == length:
            try:
                key = decode(text.replace(b"+", b"-").replace(b"/", b"_"))
            except binascii.Error:
                continue
            if len(key) == KEY_BYTES:
                return key
    raise AdminError(f"this is not a master key ({_FORMS})", where=str(path), mend=_HOW_TO_MAKE)


def _bound(purpose: str, name: str) -> bytes:
    """The associated data: no purpose has a zero byte in it, so the two cannot run together."""
    return purpose.encode() + b"\0" + name.encode("utf-8", "surrogatepass")
