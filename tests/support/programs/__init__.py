"""Other S/MIME programs, one module each, behind the one protocol of `program.py`."""

from __future__ import annotations

from typing import Final

from .gpgsm import Gpgsm
from .nss import Nss
from .openssl import Openssl
from .program import Program

PROGRAMS: Final[dict[str, type[Program]]] = {
    program.name: program for program in (Openssl, Gpgsm, Nss)
}
