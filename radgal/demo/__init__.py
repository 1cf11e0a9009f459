"""The turning galaxy: what a feature space does while its input turns."""
