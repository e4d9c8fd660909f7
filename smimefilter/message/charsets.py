"""Text of octets in a charset that a header names: those that mail is written in, no others.

A name is a stranger's word, and some codecs of the interpreter are no charsets, or take time
that grows with the square of the text. Names as in RFC 2978's registry, with the spellings
that mail programs use. Raises nothing.
"""

from __future__ import annotations

import re
from typing import Final

_ALLOWED: Final = re.compile(
    r"""utf-?8 | (?:us-)?ascii | iso[-_]?8859-?\d{1,2} | latin-?[1-9] | windows-125\d
    | cp(?:125\d|874|932|949|950) | koi8-[rut] | gb2312 | gbk | gb18030 | big5(?:-?hkscs)?
    | shift[-_]jis | sjis | euc-?(?:jp|kr) | ks_c_5601-1987
    | iso-2022-(?:jp(?:-[123]|-2004|-ext)?|kr) | tis-620 | macintosh""",
    re.IGNORECASE | re.VERBOSE | re.ASCII,
)


def text_in(charset: str, octets: bytes) -> str | None:
    """The text, what cannot be read in it replaced; None for a charset that is not known."""
    if not _ALLOWED.fullmatch(charset):
        return None
    try:
        return octets.decode(charset, "replace")
    except LookupError:  # a number that no charset of its family has
        return None
