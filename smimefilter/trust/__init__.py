"""May this certificate be used? Paths, revocation, the trust list, and one verdict of them."""
