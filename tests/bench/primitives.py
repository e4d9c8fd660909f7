"""The limit: what signing and encrypting one mail costs in bare cryptographic primitives.

Runs as a process of its own (`python -m tests.bench.primitives SIZE SECONDS`), so that it can
be pinned to the core that the filter is measured on. Prints seconds a mail.
"""

from __future__ import annotations

import secrets
import sys
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def outbound(size: int, seconds: float) -> float:
    """Seconds for: SHA-256 and AES-256-CBC over the body, one RSA-2048 signature, one wrap."""
    signer = rsa.generate_private_key(65537, 2048)
    recipient = rsa.generate_private_key(65537, 2048).public_key()
    body = secrets.token_bytes(size)
    attributes = secrets.token_bytes(200)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        digest = hashes.Hash(hashes.SHA256())
        digest.update(body)
        digest.finalize()
        signer.sign(attributes, padding.PKCS1v15(), hashes.SHA256())
        key = secrets.token_bytes(32)
        recipient.encrypt(key, padding.PKCS1v15())
        cipher = Cipher(algorithms.AES256(key), modes.CBC(secrets.token_bytes(16))).encryptor()
        cipher.update(body[: size - size % 16])
        cipher.finalize()
        done += 1
    return (time.perf_counter() - start) / done


if __name__ == "__main__":
    print(outbound(int(sys.argv[1]), float(sys.argv[2])))
