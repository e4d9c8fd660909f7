"""Many cores: a supervisor, and the worker processes that it keeps going."""
