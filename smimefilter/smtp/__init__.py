"""SMTP and LMTP on both sides: listeners, and the client to the next hop."""
