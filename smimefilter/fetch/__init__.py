"""The way out to the network: HTTP and LDAP, with its rules about where it may go."""
