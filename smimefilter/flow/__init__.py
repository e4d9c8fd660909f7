"""Use cases: each brings facts, pure decisions and ports together."""
