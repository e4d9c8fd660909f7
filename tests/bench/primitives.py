"""The limit: what one mail costs in bare cryptographic primitives.

Runs as a process of its own (`python -m tests.bench.primitives WAY SIZE SECONDS [RECIPIENTS]`),
so that it can be pinned to the core that the filter is measured on. Prints seconds a mail.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PKCS1 = padding.PKCS1v15()
SHA256 = hashes.SHA256()
ATTRIBUTES = 200  # bytes that are signed


def outbound(size: int, recipients: int) -> Callable[[], object]:
    """SHA-256 and AES-256-CBC over the body, one RSA-2048 signature, a wrap for each
    recipient."""
    signer = rsa.generate_private_key(65537, 2048)
    public = [rsa.generate_private_key(65537, 2048).public_key() for _ in range(recipients)]
    body = secrets.token_bytes(size)
    attributes = secrets.token_bytes(ATTRIBUTES)

    def once() -> None:
        digest = hashes.Hash(SHA256)
        digest.update(body)
        digest.finalize()
        signer.sign(attributes, PKCS1, SHA256)
        key = secrets.token_bytes(32)
        for one in public:
            one.encrypt(key, PKCS1)
        cipher = Cipher(algorithms.AES256(key), modes.CBC(secrets.token_bytes(16))).encryptor()
        cipher.update(body[: size - size % 16])
        cipher.finalize()

    return once


def inbound(size: int, _recipients: int) -> Callable[[], object]:
    """One unwrap, AES-256-CBC and SHA-256 over the body, one signature verified."""
    recipient = rsa.generate_private_key(65537, 2048)
    signer = rsa.generate_private_key(65537, 2048)
    body = secrets.token_bytes(size - size % 16)
    attributes = secrets.token_bytes(ATTRIBUTES)
    key, vector = secrets.token_bytes(32), secrets.token_bytes(16)
    wrapped = recipient.public_key().encrypt(key, PKCS1)
    signature = signer.sign(attributes, PKCS1, SHA256)
    public = signer.public_key()

    def once() -> None:
        cipher = Cipher(
            algorithms.AES256(recipient.decrypt(wrapped, PKCS1)), modes.CBC(vector)
        ).decryptor()
        plain = cipher.update(body) + cipher.finalize()
        digest = hashes.Hash(SHA256)
        digest.update(plain)
        digest.finalize()
        public.verify(signature, attributes, PKCS1, SHA256)

    return once


def seconds(once: Callable[[], object], budget: float) -> float:
    """Seconds that it takes, over `budget` seconds of doing it."""
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < budget:
        once()
        done += 1
    return (time.perf_counter() - start) / done


if __name__ == "__main__":
    way, size, budget, *recipients = sys.argv[1:]
    made = {"outbound": outbound, "inbound": inbound}[way]
    print(seconds(made(int(size), int(recipients[0]) if recipients else 1), float(budget)))
