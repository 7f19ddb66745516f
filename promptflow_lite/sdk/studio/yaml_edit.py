"""Changes a YAML text where it is changed and nowhere else: comments, order, quoting and layout stay."""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Callable
from typing import Any

_INDENTED_SEQUENCE = re.compile(r"^( *)[^\s#-][^\n]*:[ \t]*(?:#[^\n]*)?\n(?:[ \t]*(?:#[^\n]*)?\n)*( *)- ", re.MULTILINE)


def edit_yaml(text: str, change: Callable[[Any], None]) -> str:
    """The text after `change` was applied to its round-trip form.

    The writer may lay out lines anew that nobody touched; those are taken from `text` again.
    """
    yaml = _round_trip(text)
    root = yaml.load(text)
    if root is None:
        root = yaml.map()

    before = _dump(yaml, root)
    change(root)
    after = _dump(yaml, root)
    return after if before == text else _transplant(text, before, after)


def block(value: Any) -> Any:
    """Plain dicts and lists as nodes that are written in block style."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if isinstance(value, dict):
        return CommentedMap((key, block(item)) for key, item in value.items())

    if isinstance(value, list):
        sequence = CommentedSeq(block(item) for item in value)
        if all(not isinstance(item, dict | list) for item in value):
            sequence.fa.set_flow_style()
        return sequence

    return value


def _round_trip(text: str) -> Any:
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 1_000_000
    match = _INDENTED_SEQUENCE.search(text)
    if match and len(match.group(2)) > len(match.group(1)):
        yaml.indent(mapping=2, sequence=4, offset=2)
    else:
        yaml.indent(mapping=2, sequence=2, offset=0)
    return yaml


def _dump(yaml: Any, root: Any) -> str:
    stream = io.StringIO()
    yaml.dump(root, stream)
    return stream.getvalue()


def _transplant(original: str, before: str, after: str) -> str:
    """Apply the line changes from `before` to `after` to `original`, which differs from `before` in layout only."""
    source, base, goal = (text.splitlines(keepends=True) for text in (original, before, after))
    place = _line_map(base, source)
    result: list[str] = []
    position = 0
    for kind, i1, i2, j1, j2 in difflib.SequenceMatcher(None, base, goal, autojunk=False).get_opcodes():
        if kind == "equal":
            continue

        start, end = place[i1], place[i2]
        result += source[position : max(start, position)]
        result += goal[j1:j2]
        position = max(end, position)
    return "".join(result + source[position:])


def _line_map(base: list[str], source: list[str]) -> list[int]:
    """For each line of `base` (and its end) the line of `source` where it starts."""
    place = [0] * (len(base) + 1)
    for _, i1, i2, j1, j2 in difflib.SequenceMatcher(None, base, source, autojunk=False).get_opcodes():
        for index in range(i1, i2):
            place[index] = min(j1 + index - i1, j2)

    place[len(base)] = len(source)
    return place
