"""The commands of main.py, a module each.

A command is a module with ``HELP`` (what it does, a phrase), ``EXAMPLE`` (its arguments), ``add_arguments(parser)``
and ``run(args)``. What needs torch is imported inside ``run``, so that ``--help`` answers at once. To add a command,
add its module here and its name to ``COMMANDS`` in main.py.
"""
