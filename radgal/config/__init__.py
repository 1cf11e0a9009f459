"""The INI file as one checked, frozen object."""
