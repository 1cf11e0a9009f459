"""Pixels: files read, prepared by recipe, cut out of mosaics, turned and normalized."""
