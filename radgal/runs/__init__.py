"""A run on disk: everything that writes or reads a run folder."""
