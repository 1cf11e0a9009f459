"""Figures, drawn from numbers: PNG, or PDF for a paper."""
