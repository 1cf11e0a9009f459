"""The functions of the layers again, faster on a CPU; to be skipped on a first read."""
