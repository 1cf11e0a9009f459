"""Speed and memory of this program against the published pipeline: ``python -m benchmarks``."""
