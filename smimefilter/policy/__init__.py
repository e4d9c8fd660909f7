"""Preferences: what there is to set, the tree that resolves them, and their files."""
