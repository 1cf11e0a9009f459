"""The page of a run, of several, and what a paper takes from them, made from saved files only."""
