"""Data sets, published and one's own, and how they are split."""
