"""Labeling by eye: the answers on disk, what is shown next, the local page, and how far two people agree."""
