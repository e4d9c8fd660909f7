"""From facts to a plan: what is done with a mail for each recipient, and why. Pure."""
