"""The command line: verbs over the same use cases as every other face.

`main` runs one command. What an administrator can mend comes out as one line on standard
error and exit code 1; wrong usage is exit code 2.
"""

from __future__ import annotations

import logging
import sys
import warnings

from cryptography.utils import CryptographyDeprecationWarning

from smimefilter.base.errors import AdminError, MailError
from smimefilter.keys.memory import keep_from_dumps

from .root import app
from .show import complain


def main() -> None:
    """The entry point `smimefilter`."""
    keep_from_dumps()  # before anything is read: most commands come to have a key
    # Old roots with odd serial numbers are the administrator's to judge, not the library's.
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    # What goes wrong below is what the command says; the daemon has a log of its own.
    logging.getLogger("smimefilter").addHandler(logging.NullHandler())
    try:
        app(prog_name="smimefilter")  # also where it runs as a module
    except AdminError as error:
        complain(str(error))
        sys.exit(1)
    except MailError as error:
        complain(str(error) or error.public)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
