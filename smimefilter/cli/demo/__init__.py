"""`smimefilter demo`: five mails through a running filter, each explained and checked.

With `--ca` it is the life of certificates instead (`authority.py`).

`command.py` tells the story from start to end; beside it are the people and their
certificates, the policies, the mails, the filter with the sink behind it, the folder of
results, and the checks. The checks trust the filter in nothing: they read what arrived with
the `openssl` program.
"""

from .command import demo

__all__ = ["demo"]
