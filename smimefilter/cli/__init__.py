"""The command line: verbs over the same use cases as every other face."""
