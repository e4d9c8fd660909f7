"""How the tables came to be, one script a change; run by `migrate.py`, oldest first."""
