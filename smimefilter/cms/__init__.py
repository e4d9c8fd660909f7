"""Cryptographic Message Syntax: signed and enveloped data, from bytes to bytes."""
