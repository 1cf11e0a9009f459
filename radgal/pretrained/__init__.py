"""Trained networks that come along with the program, each known by a name, with a card that says what it is."""
