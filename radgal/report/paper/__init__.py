"""What a paper takes from a run: figures as PDF, tables, and the words, made from the saved files only."""
