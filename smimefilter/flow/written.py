"""What would be written into the header of a copy for our own people, for `explain`.

The copy is made as it is for a delivery (`carry.py`, `report.py`), and what is new in its
header is read off it. CPU only. Raises what making it does.
"""

from __future__ import annotations

from collections.abc import Iterator

from smimefilter.message.headers import decoded
from smimefilter.message.wire import Message, unfolded
from smimefilter.plan.explain import Written
from smimefilter.plan.inbound import Reader
from smimefilter.plan.opened import Reading
from smimefilter.plan.plan import Copy

from .carry import Prepared


def written(message: Message, copy: Copy, reader: Reader) -> Written:
    """What is written into this copy of a mail."""
    reading = copy.reading
    if reading is None:
        return Written()
    made = Message(b"".join(Prepared(message, {}, reader).chunks(copy)))
    opening = reader.opening(reading.rules)
    is_told = reading.inform and (opening.layers or opening.partly)
    fields = tuple(_fields(made, reading)) if is_told else ()
    subject = made.get("Subject")
    changed = subject is not None and subject != message.get("Subject")
    return Written(fields, decoded(subject) if subject is not None and changed else None)


def _fields(made: Message, reading: Reading) -> Iterator[str]:
    """The results, which stand on top, and the fields of our own below."""
    prefix = reading.prefix.lower().encode()
    for number, line in enumerate(made.lines):
        if number and not made.names[number].startswith(prefix):
            return
        name, value = line.partition(b":")[0], unfolded(line).replace(b"\t", b" ")
        yield f"{name.decode()}: {value.decode('ascii', 'replace')}"
