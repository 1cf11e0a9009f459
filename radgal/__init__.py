"""Parts of E2CNNRadGal: configuration, data, steerable layers, training, evaluation.

Kept in a package so that no name here shadows a well-known package in a user's notebook, and so that an
imported part goes on working after ``%run main.py`` has taken the project's folder off ``sys.path``.
"""
