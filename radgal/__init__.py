"""E2CNNRadGal from Python: train, open trained runs, predict, evaluate; docs/api.md shows them.

Kept in a package so that no name here shadows a well-known package in a user's notebook, and so that an
imported part goes on working after ``%run main.py`` has taken the project's folder off ``sys.path``.
"""

from importlib import import_module

__all__ = ["Run", "TrainedClassifier", "evaluate", "fine_tune", "open_run", "predict", "read_config", "train"]


def __getattr__(name: str):
    """Returns a name of :mod:`radgal.api`, which is loaded (with torch) only once something of it is asked for."""
    if name in __all__:
        return getattr(import_module("radgal.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
