"""Texts of letters: one folder a language."""
