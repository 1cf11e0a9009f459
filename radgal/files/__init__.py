"""Bytes from strangers: archives, pickles, packed files and tables, read without trusting any of them."""
