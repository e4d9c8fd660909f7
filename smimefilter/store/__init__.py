"""The database: certificates, keys, roots, CRLs, trust list, preferences, accounts."""
