"""The page of a run, made from its saved files only."""
