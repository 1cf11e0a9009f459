"""docs/api.md is made from the docstrings of what ``import radgal`` gives: nothing in it is written twice.

``RADGAL_WRITE_DOCS=1 python -m pytest tests/test_api_docs.py`` makes the page anew.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import radgal
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "api.md"
HEAD = """\
# Python

What `import radgal` gives; for notebooks see also [notebook.md](notebook.md). This page is made from the docstrings, by
`tests/test_api_docs.py`.
"""
SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Examples?):$")


def make_page(module: ModuleType | SimpleNamespace) -> str:
    """Returns the page on every name in a module's ``__all__``: functions, then classes, each as in the source."""
    parts = [HEAD]
    things = {name: getattr(module, name) for name in module.__all__}
    in_order = sorted(things.items(), key=lambda item: (inspect.isclass(item[1]), inspect.getsourcelines(item[1])[1]))
    for name, one in in_order:
        parts.append(f"## `radgal.{name}`\n")
        parts += list(describe(f"radgal.{name}", one))
        for key, member in members(one) if inspect.isclass(one) else ():
            parts.append(f"### `{name}.{key}`\n")
            parts += list(describe(key, member))
    return "\n".join(parts)


def members(kind: type) -> Iterator[tuple[str, object]]:
    """Yields the public methods and properties of a class, then those that it has from classes of this program."""
    own = kind.__module__.split(".")[0]
    seen = set()
    for base in (base for base in kind.__mro__ if base.__module__.split(".")[0] == own):
        for key, member in vars(base).items():
            if key in seen or key.startswith("_") or not (inspect.isroutine(member) or isinstance(member, property)):
                continue
            seen.add(key)
            yield key, member.__func__ if isinstance(member, classmethod | staticmethod) else member


def describe(name: str, one: object) -> Iterator[str]:
    """Yields how a thing is called, and its docstring, as Markdown."""
    if callable(one):
        yield f"```\n{name}{signature_of(one)}\n```\n"
    if text := inspect.getdoc(one):
        yield to_markdown(text)


def signature_of(one: object) -> str:
    """Returns the parameters with their defaults, without types: the text says what they are."""
    signature = inspect.signature(one)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values() if p.name != "self"]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def to_markdown(docstring: str) -> str:
    """Returns a docstring in Google's style as Markdown: sections as lists, examples as code, roles as names."""
    lines, section, in_code = [], "", False
    for line in docstring.splitlines():
        is_code = line.lstrip().startswith((">>>", "...")) or (in_code and bool(line.strip()))
        if is_code != in_code:
            lines.append("```pycon" if is_code else "```")
        in_code = is_code
        if is_code:
            lines.append(line.strip())
        elif found := SECTION.match(line):
            section = found[1]
            lines += [f"**{section}**", ""]
        elif section in ("Args", "Attributes", "Raises") and (item := re.match(r"^    (\*{0,2}[\w., ]+): (.*)", line)):
            lines.append(f"- `{item[1]}`: {item[2]}")
        else:
            if line and not line.startswith(" "):
                section = ""
            lines.append(re.sub(r"^    (?:    )?", "  " if section in ("Args", "Attributes", "Raises") else "", line))
    text = "\n".join([*lines, "```"] if in_code else lines)
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    return re.sub(r"(?<!`)``(?!`)", "`", text) + "\n"


def test_the_page_is_what_the_docstrings_say() -> None:
    made = make_page(radgal)
    if os.environ.get("RADGAL_WRITE_DOCS"):
        PAGE.write_text(made, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == made, "make it anew: RADGAL_WRITE_DOCS=1 python -m pytest " + __file__


def sample(images, *, out: str | None = None) -> int:
    """Classifies ``images``, see :func:`radgal.train`.

    More of it.

    Args:
        images: paths,
            or arrays.
        out: a file.

    Raises:
        UserError: if not.

    Example:
        >>> sample([])
        0
    """
    return len(images)


class Base:
    def stop(self) -> None:
        """Stops it."""

    def turn(self) -> None:
        """Taken over by Thing's."""


class Thing(Base):
    """A thing."""

    @property
    def size(self) -> int:
        """Its size, pixels."""
        return 1

    def turn(self, angle_deg: float = 90.0) -> None:
        """Turns it."""

    def _hidden(self) -> None:
        """Not shown."""


def test_docstrings_become_markdown() -> None:
    page = make_page(SimpleNamespace(__all__=["Thing", "sample"], sample=sample, Thing=Thing))
    assert page.index("radgal.sample") < page.index("radgal.Thing")
    assert "```\nradgal.sample(images, *, out=None)\n```" in page
    assert "Classifies `images`, see `radgal.train`.\n\nMore of it." in page
    assert "**Args**\n\n- `images`: paths,\n  or arrays.\n- `out`: a file.\n" in page
    assert "**Raises**\n\n- `UserError`: if not.\n" in page
    assert "**Example**\n\n```pycon\n>>> sample([])\n0\n```" in page
    assert "### `Thing.turn`\n\n```\nturn(angle_deg=90.0)\n```\n\nTurns it." in page
    assert "### `Thing.size`\n\nIts size, pixels." in page
    assert "### `Thing.stop`" in page and "Taken over" not in page and "Not shown" not in page
