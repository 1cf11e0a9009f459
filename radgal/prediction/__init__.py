"""New images to a catalog, and networks for other programs."""
