"""What is said of a command line that cannot be understood: one sentence that names the right way."""

from __future__ import annotations

import re
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from utils import nearest

TRAIN = "train"
NAMES_A_CONFIG = re.compile(r"\.(txt|ini|cfg|conf)$", re.IGNORECASE)


class Parser(ArgumentParser):
    """A parser that ends with one sentence where argparse would print all options; the exit code stays 2."""

    commands: dict[str, Parser]

    def parse_args(self, args=None, namespace=None):
        """Returns the arguments, as argparse does; remembers the words for what is to be said of them."""
        import sys

        self.words = list(sys.argv[1:] if args is None else args)
        return super().parse_args(args, namespace)

    def error(self, message: str):
        """Ends the program with a sentence on what is wrong."""
        main = getattr(self, "main", self)
        self.exit(2, f"error: {explain(main.words, message, main)}\n")


def explain(words: Sequence[str], message: str, parser: Parser) -> str:
    """Returns what is wrong with the words of a command line, and the right way.

    Args:
        words: as given, without the program's name.
        message: what argparse says.
        parser: of the program, with those of its commands in ``commands``.
    """
    command = next((word for word in words if word in parser.commands), None)
    used = parser.commands[command] if command else parser
    known = options(used)
    how = f"`python main.py{f' {command}' if command else ''} --help` lists them"
    for word in words:
        name, equals, value = word.partition("=")
        if not re.match(r"--?[A-Za-z]", word) or name in known:
            continue
        key = name.lstrip("-").replace("-", "_").lower()
        if home := _section_of(key):
            after = words[words.index(word) + 1 : words.index(word) + 2]
            given = value if equals else next((text for text in after if not text.startswith("-")), "VALUE")
            return f"{name} is no option: keys of the config are set by --set {home}.{key}={given}"
        like = nearest(name, known)
        return f"there is no option {name}" + (f"; did you mean {like}?" if like else f"; {how}")
    if (found := re.search(r"argument COMMAND: invalid choice: '(.*?)'", message)) is not None:
        return _of_word(found[1], parser)
    return f"{message}; {how}" if "required" in message or "unrecognized" in message else message


def options(parser: ArgumentParser) -> list[str]:
    """Returns the options of a parser, as its help shows them."""
    return [option for action in parser._actions if action.help != SUPPRESS for option in action.option_strings]


def _section_of(key: str) -> str | None:
    from radgal.config.keys import SECTIONS

    return next((name for name, model in SECTIONS.items() if key in model.model_fields), None)


def _of_word(word: str, parser: Parser) -> str:
    """Returns what is wrong with a word that stands where a command does."""
    if re.match(r"\w+\.\w+=", word):
        return f"keys of the config are set by --set {word}"
    if NAMES_A_CONFIG.search(word) or Path(word).is_file():
        return f"a config is named by --config: python main.py --config {word}"
    if Path(word).is_dir():
        return f"{word} is a folder; what to do with it is said before it: python main.py evaluate {word}"
    if word.lower() in (TRAIN, "training", "fit", "run"):
        return "training has no command of its own: python main.py --config FILE"
    like = nearest(word, parser.commands)
    hint = f"; did you mean {like}?" if like else f"; there are {', '.join(parser.commands)}"
    return f"there is no command {word}{hint}"
