"""The training loop; it knows no files."""
