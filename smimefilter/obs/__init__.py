"""Logs: one structured line a mail, nothing secret."""
