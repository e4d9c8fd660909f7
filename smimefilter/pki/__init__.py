"""Certificates, keys, CRLs and certificate building: the facts, without judging trust."""
