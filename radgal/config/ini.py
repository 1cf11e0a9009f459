"""INI text to Python literals, with every mistake of form noted instead of ending at the first."""

from __future__ import annotations

import ast
import configparser
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from utils import UserError, nearest

MAX_FILE_BYTES = 256 * 1024  # a config has some thirty short lines; anything of this size is something else
MAX_VALUE_CHARS = 1000  # also bounds how deeply a value can be nested
MAX_FORM_MISTAKES = 50
CURLY = re.compile(
    "[\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u00ab\u00bb\u0060\u00b4]"
)  # quotes that are none in Python
_TWIN = "\x00"  # cannot occur in a file that was read: marks the second section of the same name
_PROJECT_CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@dataclass
class IniText:
    """What a file holds: text by section and key, and what is wrong with its form."""

    sections: dict[str, dict[str, str]] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)
    spoiled: set[str] = field(default_factory=set)  # first words of lines that could not be read


def read_ini(path: str | Path) -> IniText:
    """Returns the sections of an INI file; keys are lower-cased, as configparser does.

    Raises:
        UserError: if there is no such file, or it cannot be a config (a folder, binary, far too large).
    """
    path = Path(path)
    lines = _read_text(path).split("\n")
    found = IniText()
    if not any(line.startswith("[") for line in lines):
        raise UserError(f"{path} has no [section] line, so it is not a config; one begins with [model]")
    parser = _parse_noting_mistakes(lines, found, path)
    for name in parser.sections():
        section = found.sections.setdefault(name.split(_TWIN)[0], {})
        for key, value in parser[name].items():
            section.setdefault(key, value)
    return found


def parse_literal(text: str, key: str) -> object:
    """Returns the Python literal that ``text`` spells (a trailing ``# comment`` is allowed).

    Raises:
        ValueError: if it spells none; the message says how to write it.
    """
    if len(text) > MAX_VALUE_CHARS:
        raise ValueError(f"is {len(text)} characters long; at most {MAX_VALUE_CHARS} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # '\d' in a Windows path is no news to the user
            return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(_how_to_write(text, key)) from None


def _how_to_write(text: str, key: str) -> str:
    word = text.split("#")[0].strip()
    if CURLY.search(text):
        return f"must be in straight quotes, not in the curly ones of word processors: {key}: {_straight(word)}"
    if re.match(r"(\S+|'[^']*'|\"[^\"]*\")\s+;|;", word):
        return "is followed by ;, but a comment behind a value begins with #"
    if "\\" in word and word[:1] in ("'", '"'):
        better = word.replace("\\", "/")
        return f"must be written with / or \\\\, since a backslash begins a sign of its own: {key}: {better}"
    if not word:
        return f"has no value; write one after the colon, or leave {key} out"
    if word.lower() in ("true", "false", "none"):
        return f"must be written {word.capitalize()}"
    if re.fullmatch(r"[^\W\d][\w./\\:~ -]*|[./\\~][\w./\\:~ -]*", word):
        return f"must be in quotes: {key}: '{word.replace(chr(92), '/')}'"
    return "is not a Python literal: write a number, True, False, None, or text in quotes"


def _straight(text: str) -> str:
    return CURLY.sub("'", text)


def _read_text(path: Path) -> str:
    try:
        if path.is_dir():
            inside = ", ".join(sorted(p.name for p in path.glob("*.txt"))[:12])
            raise UserError(f"{path} is a folder, not a config file; it holds {inside or 'no .txt file'}")
        if not path.exists():
            raise UserError(f"there is no config file {path}{_suggest(path)}")
        if not path.is_file():
            raise UserError(f"{path} is not a regular file, so it cannot be read as a config")
        with path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read the config file {str(path)!r}: {reason}") from None
    if len(content) > MAX_FILE_BYTES:
        raise UserError(f"{path} is larger than {MAX_FILE_BYTES // 1024} KiB, so it is not a config")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8 (byte {error.start}), so it is not a config") from None
    if "\x00" in text:
        raise UserError(f"{path} is a binary file, not a config")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _suggest(path: Path) -> str:
    known = {p.name: p for folder in (_PROJECT_CONFIGS, path.parent) for p in sorted(folder.glob("*.txt"))}
    close = nearest(path.name, known)
    if close is None:
        return f"; configs that are there: {', '.join(sorted(known))}" if known else ""
    shown = known[close]
    if shown.is_absolute() and shown.is_relative_to(Path.cwd()):
        shown = shown.relative_to(Path.cwd())
    return f"; did you mean {shown}?"


def _parse_noting_mistakes(lines: list[str], found: IniText, path: Path) -> configparser.ConfigParser:
    """Parses again after each mistake with that line taken out, so that all of them are known at the end."""
    while True:
        # default_section: a [DEFAULT] in the file shall be an unknown section like any other.
        parser = configparser.ConfigParser(interpolation=None, default_section=_TWIN)
        try:
            parser.read_string("\n".join(lines))
            return parser
        except configparser.DuplicateSectionError as error:
            mistake = f"section [{error.section}] appears twice; put all of its keys under one"
            numbers, replacement = [error.lineno], f"[{error.section}{_TWIN}{error.lineno}]"
        except configparser.DuplicateOptionError as error:
            section = error.section.split(_TWIN)[0]
            mistake = f"[{section}] {error.option} is given twice; keep one"
            numbers, replacement = [error.lineno], ""
        except configparser.ParsingError as error:
            mistake, replacement = "cannot be read; a line is '[section]', 'key: value' or '# comment'", ""
            numbers = [number for number, _ in getattr(error, "errors", ())] or [error.lineno]
        for number in numbers:
            found.mistakes.append(f"{path}: line {number}, {shorten(lines[number - 1])}: {mistake}")
            found.spoiled.update(lines[number - 1].lower().split()[:1])
            lines[number - 1] = replacement
        if len(found.mistakes) >= MAX_FORM_MISTAKES:
            raise UserError("\n".join([f"{path} cannot be read as a config:", *found.mistakes[:10], "..."]))


def shorten(value: object, limit: int = 80) -> str:
    """Returns ``repr(value)``, cut to ``limit`` characters: safe to print whatever a file holds."""
    try:
        text = repr(value)
    except ValueError:  # Python does not spell out integers of more than 4300 digits
        text = f"a {type(value).__name__} too large to show"
    return text if len(text) <= limit else text[: limit - 3] + "..."
