"""Telling people: letters and short messages."""
