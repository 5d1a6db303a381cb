"""Things in words, as people read them."""

import re
from collections.abc import Iterable, Sequence


def first_few(names: Iterable[str], count: int = 3) -> str:
    """The first `count` names as text, with "..." where there are more."""
    names = list(names)
    return ", ".join(map(str, names[:count])) + (", ..." if len(names) > count else "")


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; every row has as many cells as there are heads."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def slug(name: str) -> str:
    """A name as files are called: lower case, with hyphens."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


def shortened(text: str, length: int = 300) -> str:
    """A text of at most `length` (3 or more) characters, with "…" in place of the middle of a longer one."""
    half = length // 2
    return text if len(text) <= length else f"{text[:half]}…{text[half + 1 - length :]}"


def one_line(text: str, length: int = 40) -> str:
    """A text as it can be drawn: `shortened`, with a space for what cannot be printed, line breaks for instance."""
    return shortened("".join(letter if letter.isprintable() else " " for letter in text), length)
