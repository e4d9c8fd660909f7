"""What m2crypto.py asks of M2Crypto: one thing, then it ends, so that no crash is ours.

Arguments: action, source, output, then files that the action needs. What M2Crypto raises goes
to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from M2Crypto import BIO, EVP, SMIME, X509  # type: ignore[import-not-found,unused-ignore]

_ERRORS = (SMIME.SMIME_Error, SMIME.PKCS7_Error, EVP.EVPError, X509.X509Error, ValueError)


def _store(root: str) -> X509.X509_Store:
    store = X509.X509_Store()
    store.add_x509(X509.load_cert(root))
    return store


def _stack(*files: str) -> X509.X509_Stack:
    stack = X509.X509_Stack()
    for file in files:
        stack.push(X509.load_cert(file))
    return stack


def _verify(mail: bytes, root: str) -> bytes:
    smime = SMIME.SMIME()
    smime.set_x509_store(_store(root))
    smime.set_x509_stack(X509.X509_Stack())
    cms, content = SMIME.smime_load_pkcs7_bio(BIO.MemoryBuffer(mail))
    result = smime.verify(cms, content, 0 if content else SMIME.PKCS7_BINARY)
    for signer in cms.get0_signers(X509.X509_Stack()):
        print(signer.as_pem().decode())
    return bytes(result)


def _decrypt(mail: bytes, key: str, certificate: str) -> bytes:
    smime = SMIME.SMIME()
    smime.load_key(key, certificate)
    cms, _ = SMIME.smime_load_pkcs7_bio(BIO.MemoryBuffer(mail))
    return bytes(smime.decrypt(cms, SMIME.PKCS7_BINARY))


def _sign(entity: bytes, way: str, key: str, certificate: str, above: str) -> bytes:
    smime = SMIME.SMIME()
    smime.load_key(key, certificate)
    smime.set_x509_stack(_stack(above))
    detached = SMIME.PKCS7_DETACHED if way == "clear" else 0
    flags = SMIME.PKCS7_BINARY | detached
    cms = smime.sign(BIO.MemoryBuffer(entity), flags)
    mail = BIO.MemoryBuffer()
    smime.write(mail, cms, BIO.MemoryBuffer(entity) if detached else None, flags)
    return bytes(mail.read())


def _encrypt(entity: bytes, cipher: str, *recipients: str) -> bytes:
    smime = SMIME.SMIME()
    smime.set_x509_stack(_stack(*recipients))
    smime.set_cipher(SMIME.Cipher(cipher))
    cms = smime.encrypt(BIO.MemoryBuffer(entity), SMIME.PKCS7_BINARY)
    mail = BIO.MemoryBuffer()
    smime.write(mail, cms, flags=0)
    return bytes(mail.read())


_ACTIONS: dict[str, Callable[..., bytes]] = {
    "verify": _verify,
    "decrypt": _decrypt,
    "sign": _sign,
    "encrypt": _encrypt,
}


def main(action: str, source: str, output: str, *files: str) -> None:
    try:
        result = _ACTIONS[action](Path(source).read_bytes(), *files)
    except (
        SMIME.SMIME_Error,
        SMIME.PKCS7_Error,
        EVP.EVPError,
        X509.X509Error,
        ValueError,
    ) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    Path(output).write_bytes(result)


if __name__ == "__main__":
    main(*sys.argv[1:])
