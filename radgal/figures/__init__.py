"""PNG figures, drawn from numbers."""
