"""Speed and memory of this program against the published pipeline: ``python -m benchmarks``."""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "30000")  # as in main.py, for both paths, and before torch is loaded
