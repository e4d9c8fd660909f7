"""Request handlers: each gets certificates from one kind of CA."""
