"""Speed and memory of this program against the published pipeline: ``python -m benchmarks``."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in main.py, for both paths, and before torch is loaded
