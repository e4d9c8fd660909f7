"""Other S/MIME programs, one module each, behind the one protocol of `program.py`."""

from __future__ import annotations

from typing import Final

from .bouncycastle import BouncyCastle
from .crypt_smime import CryptSmime
from .gpgsm import Gpgsm
from .m2crypto import M2Crypto
from .nss import Nss
from .openssl import Openssl
from .program import Program
from .snail import Snail

PROGRAMS: Final[dict[str, type[Program]]] = {
    program.name: program
    for program in (Openssl, Gpgsm, Nss, CryptSmime, BouncyCastle, M2Crypto, Snail)
}
