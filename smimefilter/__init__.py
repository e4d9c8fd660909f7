"""smimefilter: an S/MIME gateway for mail administrators."""

__version__ = "0.1.0"
