"""Private keys: wrapped under a master key, unwrapped only where they are used."""
