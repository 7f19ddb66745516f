"""Changing a YAML text so that it holds a new value while every untouched part keeps its bytes.

**Why this shape.** Writers that parse and emit a whole document, comment-keeping ones included, change indentation,
quotes, line breaks and the space around comments in places nobody edited. Here the old text is cut along the positions
of its values; a collection that changed is put together again from the cuts of its unchanged entries, and text is
written only for what is new. The result is parsed and compared with the wanted value before it is returned.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

from promptflow_lite.errors import FlowEditError, FlowSyntaxError
from promptflow_lite.flow.yaml_io import parse_plain_scalar, parse_yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TO_ESCAPE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")
_LITERAL_SAFE = re.compile("[^\\S\n ]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]| \n| \\Z")


def replace_value(text: str, new: Any) -> str:
    """The text changed so that it parses to `new`.

    Raises:
        FlowSyntaxError: `text` is not YAML.
        FlowEditError: the change would alter other values, as editing the target of an alias does.
    """
    old = parse_yaml(text).value
    if is_same(old, new):
        return text

    for allow_literal in (True, False):
        changed = _Surgeon(text, allow_literal=allow_literal).operate(new)
        if _holds(changed, new):
            return changed

    raise FlowEditError(
        "This file cannot be changed here without touching other parts of it.",
        hint="Edit the YAML by hand; anchors, aliases and '? ' keys often cause this.",
    )


def _holds(text: str, value: Any) -> bool:
    try:
        return is_same(parse_yaml(text).value, value)
    except FlowSyntaxError:
        return False


def is_same(a: Any, b: Any) -> bool:
    """Equal in value, type and order of keys."""
    if type(a) is not type(b):
        return False

    if isinstance(a, dict):
        return list(a) == list(b) and all(is_same(x, y) for x, y in zip(a.values(), b.values(), strict=True))

    if isinstance(a, list):
        return len(a) == len(b) and all(is_same(x, y) for x, y in zip(a, b, strict=True))

    return bool(a == b) or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


@dataclass(slots=True)
class _Node:
    """A value and the span of its text."""

    kind: str
    """`scalar`, `map`, `seq` or `alias`."""
    start: int
    end: int
    value: Any
    style: str = ""
    is_flow: bool = False
    entries: list[_Entry] = field(default_factory=list)

    @property
    def is_block_collection(self) -> bool:
        return self.kind in ("map", "seq") and not self.is_flow


@dataclass(slots=True)
class _Entry:
    """A member of a collection: its key (None in sequences) and value."""

    key: _Node | None
    node: _Node

    @property
    def name(self) -> Any:
        return self.key.value if self.key else None


class _Gap(NamedTuple):
    """The lines above an entry: those that stand on their own, and the comment lines that belong to it."""

    detached: str = ""
    attached: str = ""


def _parse(text: str, value: Any) -> _Node | None:
    """The node tree of a document that is known to parse to `value`."""
    loader = _LOADER(text)
    try:
        take = loader.get_event
        take()
        if isinstance(take(), yaml.StreamEndEvent):
            return None

        return _node(take, take(), value)
    finally:
        loader.dispose()


def _node(take: Any, event: Any, value: Any) -> _Node:
    start, end = event.start_mark.index, event.end_mark.index
    if isinstance(event, yaml.AliasEvent):
        return _Node("alias", start, end, value)

    if isinstance(event, yaml.ScalarEvent):
        return _Node("scalar", start, end, value, style=event.style or "")

    if isinstance(event, yaml.SequenceStartEvent):
        node = _Node("seq", start, end, value, is_flow=bool(event.flow_style))
        while not isinstance(item := take(), yaml.SequenceEndEvent):
            node.entries.append(_Entry(None, _node(take, item, value[len(node.entries)])))
    else:
        node = _Node("map", start, end, value, is_flow=bool(event.flow_style))
        keys = list(value)
        while not isinstance(item := take(), yaml.MappingEndEvent):
            key = _key(take, item, keys)
            inner = value.get(key.value) if key.value != "<<" or "<<" in value else _MERGED
            node.entries.append(_Entry(key, _node(take, take(), inner)))

    node.end = item.end_mark.index if node.is_flow else node.entries[-1].node.end
    return node


_MERGED: Any = type("_Merged", (dict,), {"__getitem__": lambda self, key: _MERGED, "get": lambda self, key: _MERGED})()
"""Stands for the unknown values below a merge key, whose text is never changed."""


def _key(take: Any, event: Any, known: list[Any]) -> _Node:
    text = event.value if isinstance(event, yaml.ScalarEvent) else None
    node = _Node("scalar", event.start_mark.index, event.end_mark.index, text, style=getattr(event, "style", "") or "")
    if text is not None and event.implicit[0] and event.tag is None:
        parsed = parse_plain_scalar(text)
        node.value = parsed if parsed in known else text

    return node


class _Surgeon:
    """Cuts and joins one text; `allow_literal` says whether new texts of several lines may become `|` blocks."""

    def __init__(self, text: str, *, allow_literal: bool = True) -> None:
        self.text = text
        self.allow_literal = allow_literal
        self.newline = "\r\n" if "\r\n" in text else "\n"
        self.root = _parse(text, parse_yaml(text).value)
        self.sequence_offset = self.find_sequence_offset()
        self.step = self.find_step()

    def find_sequence_offset(self) -> int:
        """How far block sequences are indented below their key in this file."""
        root = self.root
        if root is None or not root.is_block_collection or root.kind != "map":
            return 0

        for entry in root.entries:
            if entry.node.kind == "seq" and not entry.node.is_flow:
                return self.column(entry.node.start)

        return 0

    def find_step(self) -> int:
        """How far block mappings are indented below their key in this file."""
        for entry in self.root.entries if self.root is not None and self.root.kind == "map" else ():
            if entry.node.kind == "map" and not entry.node.is_flow and entry.node.entries:
                key = entry.node.entries[0].key
                return max(self.column(key.start), 1) if key is not None else 2

        return 2

    def operate(self, new: Any) -> str:
        if self.root is None:
            separator = "" if not self.text or self.text.endswith("\n") else self.newline
            return self.text + separator + self.newline.join(self.block_lines(new, 0)) + self.newline

        start, end = self.root.start, self.content_end(self.root)
        if self.root.is_block_collection:
            end = self.line_end(end)

        is_similar = self.is_collection(new) and bool(self.root.entries) and self.root.kind == _kind_of(new)
        changed = self.render(self.root, new) if is_similar else self.fresh(new, 0, in_flow=False)
        return self.text[:start] + changed + self.text[end:]

    # --- positions

    def column(self, index: int) -> int:
        return index - (self.text.rfind("\n", 0, index) + 1)

    def line_end(self, index: int) -> int:
        """The end of the line that holds `index`, before its line break."""
        end = self.text.find("\n", index)
        end = len(self.text) if end < 0 else end
        return end - 1 if end > index and self.text[end - 1] == "\r" else end

    def next_line(self, index: int) -> int:
        end = self.text.find("\n", index)
        return len(self.text) if end < 0 else end + 1

    def content_end(self, node: _Node) -> int:
        """Where a value's own text ends; line breaks after a block scalar are not its own."""
        if node.is_block_collection:
            return self.content_end(node.entries[-1].node)

        if node.kind == "scalar" and node.style in ("|", ">"):
            return node.start + len(self.text[node.start : node.end].rstrip("\r\n "))

        return node.end

    # --- existing values

    def render(self, node: _Node, new: Any, indent: int = 0) -> str:
        """The text of a node changed to hold `new`; of a block collection up to the end of its last line."""
        end = self.content_end(node)
        if is_same(node.value, new):
            return self.text[node.start : self.line_end(end) if node.is_block_collection else end]

        if node.kind == "map" and isinstance(new, dict) and node.entries and new:
            return self.flow_collection(node, new) if node.is_flow else self.block_collection(node, new)

        if node.kind == "seq" and isinstance(new, list) and node.entries and new:
            return self.flow_collection(node, new) if node.is_flow else self.block_collection(node, new)

        if node.kind == "scalar" and not self.is_collection(new):
            return self.scalar(new, style=node.style, indent=indent)

        return self.fresh(new, indent, in_flow=False)

    @staticmethod
    def is_collection(value: Any) -> bool:
        return isinstance(value, dict | list) and bool(value)

    def block_collection(self, node: _Node, new: Any) -> str:
        starts = self.entry_starts(node)
        indent = self.column(starts[0])
        gaps = self.gaps(node, starts)
        is_spaced = len(gaps) > 1 and all(gap.detached and not gap.detached.strip() for gap in gaps[1:])
        plan = _plan(node, new)
        kept = {old_index for old_index, _, _ in plan}
        orphans = {i: gap.detached for i, gap in enumerate(gaps) if i not in kept and gap.detached.strip()}
        result = self.text[node.start : starts[0]]
        previous: int | None = None
        for position, (old_index, name, value) in enumerate(plan):
            lead = self.lead(gaps, old_index, previous, is_first=not position, is_spaced=is_spaced)
            for index in [index for index in orphans if old_index is not None and index < old_index]:
                lead = orphans.pop(index) + lead

            if position:
                result += self.break_after(node, previous) + lead + " " * indent
            elif lead and not self.is_inline(starts[0]):
                result += lead.lstrip(" ") + " " * indent

            result += self.entry_text(node, old_index, name, value, indent)
            previous = old_index

        rest = "".join(orphans.values()).rstrip("\r\n ")
        return result + self.newline + rest if rest else result

    def lead(
        self, gaps: Sequence[_Gap], old_index: int | None, previous: int | None, *, is_first: bool, is_spaced: bool
    ) -> str:
        """What stands above an entry: lines on their own (blank ones as the file has them), then its comments."""
        if old_index is None:
            return self.newline if is_spaced and not is_first else ""

        gap = gaps[old_index]
        if is_first or not (gap.detached or is_spaced):
            return (gap.detached.lstrip("\r\n") if gap.detached.strip() else "") + gap.attached

        is_in_place = previous == old_index - 1
        return (gap.detached if is_in_place or gap.detached else self.newline) + gap.attached

    def is_inline(self, start: int) -> bool:
        """Whether something other than space stands before this place on its line."""
        return self.text[self.text.rfind("\n", 0, start) + 1 : start].strip() != ""

    def break_after(self, node: _Node, old_index: int | None) -> str:
        if old_index is None:
            return self.newline

        end = self.line_end(self.content_end(node.entries[old_index].node))
        return self.text[end : self.next_line(end)] or self.newline

    def entry_starts(self, node: _Node) -> list[int]:
        if node.kind == "map":
            return [entry.key.start for entry in node.entries if entry.key is not None]

        starts = [self.text.index("-", node.start)]
        if self.text[node.start] == "&" or self.text[node.start] == "!":
            starts = [self.text.index("-", self.next_line(node.start))]

        dash = re.compile(rf"^ {{{self.column(starts[0])}}}-(?=\s|\Z)", re.MULTILINE)
        for entry in node.entries[:-1]:
            match = dash.search(self.text, self.next_line(self.content_end(entry.node)))
            starts.append(match.end() - 1 if match else starts[-1])

        return starts

    def gaps(self, node: _Node, starts: Sequence[int]) -> list[_Gap]:
        gaps = [_Gap()]
        for before, start in zip(node.entries[:-1], starts[1:], strict=True):
            begin = self.next_line(self.line_end(self.content_end(before.node)))
            line_start = self.text.rfind("\n", 0, start) + 1
            lines = self.text[begin:line_start].splitlines(keepends=True)
            blank = max((index for index, line in enumerate(lines) if not line.strip()), default=-1)
            gaps.append(_Gap("".join(lines[: blank + 1]), "".join(lines[blank + 1 :])))

        return gaps

    def entry_text(self, node: _Node, old_index: int | None, name: Any, value: Any, indent: int) -> str:
        if old_index is None:
            lines = self.entry_lines(name, value, indent) if node.kind == "map" else self.item_lines(value, indent)
            return self.newline.join(lines).lstrip(" ")

        entry = node.entries[old_index]
        inner = entry.node
        start = self.entry_starts(node)[old_index]
        opening, between = self.text[start : start + 1], self.text[start + 1 : inner.start]
        if entry.key is not None:
            is_same_key = is_same(entry.key.value, name)
            opening = self.text[start : entry.key.end] if is_same_key else self.scalar(name, style=entry.key.style)
            between = self.text[entry.key.end : inner.start]

        end = self.content_end(inner)
        tail = "" if inner.is_block_collection else self.text[end : self.line_end(end)]
        if is_same(inner.value, value):
            return opening + between + self.render(inner, value) + tail

        continues = bool(inner.entries) and inner.kind == _kind_of(value)
        if self.is_collection(value) and not continues:
            return self.with_fresh_block(opening + between, value, tail, indent, in_map=entry.key is not None)

        if inner.is_block_collection and not self.is_collection(value):
            return opening + self.with_fresh_scalar(between, self.fresh(value, indent + self.step, in_flow=False))

        if inner.start == inner.end:
            between = between.rstrip() + " "

        rendered = self.render(inner, value, indent + self.step)
        if "\n" in rendered and tail.strip() and not continues:
            header, _, body = rendered.partition(self.newline)
            return f"{opening}{between}{header}{tail}{self.newline}{body}"

        return opening + between + rendered + tail

    @staticmethod
    def with_fresh_scalar(between: str, text: str) -> str:
        """A scalar in place of a block collection; comments between the key and the collection stay."""
        mark = between.find(":") + 1
        rest = between[mark:].rstrip()
        separator = "" if not rest or rest.startswith(("\r", "\n")) else "  "
        return f"{between[:mark]} {text}{separator}{rest.lstrip(' ')}"

    def with_fresh_block(self, head: str, value: Any, tail: str, indent: int, *, in_map: bool) -> str:
        """A collection below its key (or dash) in place of a scalar, an empty collection or an alias."""
        if not in_map:
            return self.newline.join(self.item_lines(value, indent)).lstrip(" ")

        offset = self.sequence_offset if isinstance(value, list) else self.step
        comment = f"  {tail.strip()}" if tail.strip() else ""
        return self.newline.join([head.rstrip() + comment, *self.block_lines(value, indent + offset)])

    # --- flow collections

    def flow_collection(self, node: _Node, new: Any) -> str:
        plan = _plan(node, new)
        kept = [old_index for old_index, _, _ in plan if old_index is not None]
        if kept != sorted(kept):
            opening, closing = ("{", "}") if node.kind == "map" else ("[", "]")
            return opening + ", ".join(self.flow_entry(node, *step) for step in plan) + closing

        spans = [(entry.key.start if entry.key else entry.node.start, entry.node.end) for entry in node.entries]
        result = self.text[node.start : spans[0][0]]
        previous: int | None = None
        for position, (old_index, name, value) in enumerate(plan):
            if position:
                is_next = old_index is not None and previous is not None and old_index == previous + 1
                result += self.text[spans[old_index - 1][1] : spans[old_index][0]] if is_next and old_index else ", "

            result += self.flow_entry(node, old_index, name, value)
            previous = old_index

        return result + self.text[spans[-1][1] : node.end]

    def flow_entry(self, node: _Node, old_index: int | None, name: Any, value: Any) -> str:
        if old_index is None:
            fresh = self.fresh(value, 0, in_flow=True)
            return fresh if node.kind == "seq" else f"{self.scalar(name, in_flow=True)}: {fresh}"

        entry = node.entries[old_index]
        head = ""
        if entry.key is not None:
            same_key = is_same(entry.key.value, name)
            key = self.text[entry.key.start : entry.key.end] if same_key else self.scalar(name, in_flow=True)
            between = self.text[entry.key.end : entry.node.start]
            head = key + (between if between.strip() else ": ")

        inner = entry.node
        if is_same(inner.value, value):
            return head + self.text[inner.start : inner.end]

        if inner.kind in ("map", "seq") and inner.entries and type(inner.value) is type(value) and value:
            return head + self.flow_collection(inner, value)

        if inner.kind == "scalar" and not isinstance(value, dict | list):
            return head + self.scalar(value, style=inner.style, in_flow=True)

        return head + self.fresh(value, 0, in_flow=True)

    # --- new text

    def fresh(self, value: Any, indent: int, *, in_flow: bool) -> str:
        if isinstance(value, dict):
            if in_flow or not value:
                pairs = (
                    f"{self.scalar(k, in_flow=True)}: {self.fresh(v, indent, in_flow=True)}" for k, v in value.items()
                )
                return "{" + ", ".join(pairs) + "}"

            return self.newline.join(self.block_lines(value, indent)).lstrip(" ")

        if isinstance(value, list):
            if in_flow or not value:
                return "[" + ", ".join(self.fresh(item, indent, in_flow=True) for item in value) + "]"

            return self.newline.join(self.block_lines(value, indent)).lstrip(" ")

        return self.scalar(value, indent=indent, in_flow=in_flow)

    def block_lines(self, value: Any, indent: int) -> list[str]:
        if isinstance(value, dict) and value:
            return [line for key, item in value.items() for line in self.entry_lines(key, item, indent)]

        if isinstance(value, list) and value:
            return [line for item in value for line in self.item_lines(item, indent)]

        return [" " * indent + self.fresh(value, indent, in_flow=False)]

    def entry_lines(self, key: Any, value: Any, indent: int) -> list[str]:
        head = " " * indent + self.scalar(key) + ":"
        if not self.is_collection(value):
            return f"{head} {self.fresh(value, indent + self.step, in_flow=False)}".split(self.newline)

        offset = self.sequence_offset if isinstance(value, list) else self.step
        return [head, *self.block_lines(value, indent + offset)]

    def item_lines(self, value: Any, indent: int) -> list[str]:
        lines = self.block_lines(value, indent + 2)
        joined = self.newline.join(lines)
        return [" " * indent + "- " + joined.lstrip(" ")] if lines else [" " * indent + "-"]

    def scalar(self, value: Any, *, style: str = "", indent: int = 2, in_flow: bool = False) -> str:
        """A scalar, in the style of the one it replaces where that can hold it."""
        if not isinstance(value, str):
            return _other_scalar(value)

        if "\n" in value and self.allow_literal and not in_flow and style in ("", "|", ">") and _fits_literal(value):
            return self.literal(value, indent)

        if style == '"' or "\n" in value or _TO_ESCAPE.search(value) or not value.isprintable():
            return _double_quoted(value)

        if style != "'" and _is_plain(value, in_flow=in_flow):
            return value

        return "'" + value.replace("'", "''") + "'"

    def literal(self, value: str, indent: int) -> str:
        body = value.rstrip("\n")
        n_breaks = len(value) - len(body)
        header = "|-" if n_breaks == 0 else "|" if n_breaks == 1 else "|+"
        margin = " " * max(indent, 1)
        lines = [header, *(margin + line if line else "" for line in body.split("\n"))]
        return self.newline.join(lines) + self.newline * max(n_breaks - 1, 0)


def _plan(node: _Node, new: Any) -> list[tuple[int | None, Any, Any]]:
    """Per new entry: the old entry whose text it continues (None when there is none), its key, its value."""
    return _plan_mapping(node, new) if node.kind == "map" else _plan_sequence(node, new)


def _plan_mapping(node: _Node, new: dict[Any, Any]) -> list[tuple[int | None, Any, Any]]:
    own = {entry.name: index for index, entry in enumerate(node.entries)}
    merges = [index for name, index in own.items() if name == "<<" and "<<" not in node.value]
    removed = [name for name in own if name not in new and own[name] not in merges]
    added = [
        name for name in new if name not in own and not (name in node.value and is_same(node.value[name], new[name]))
    ]
    renamed: dict[Any, Any] = {}
    if len(removed) == len(added):
        explicit = [name for name in new if name in own or name in added]
        order = [name for name in own if own[name] not in merges]
        renamed = {a: r for r, a in zip(removed, added, strict=True) if order.index(r) == explicit.index(a)}

    steps: list[tuple[int | None, Any, Any]] = []
    for name, value in new.items():
        if name in own:
            steps.append((own[name], name, value))
        elif name in renamed:
            steps.append((own[renamed[name]], name, value))
        elif name in added:
            steps.append((None, name, value))

    for index in merges:
        steps.insert(min(index, len(steps)), (index, "<<", node.entries[index].node.value))

    return steps


def _plan_sequence(node: _Node, new: list[Any]) -> list[tuple[int | None, Any, Any]]:
    free = dict(enumerate(entry.node.value for entry in node.entries))
    matched: dict[int, int] = {}
    for test in (is_same, _same_name):
        for index, value in enumerate(new):
            if index not in matched:
                found = next((old for old, old_value in free.items() if test(old_value, value)), None)
                if found is not None:
                    matched[index] = found
                    del free[found]

    if len(new) == len(node.entries):
        for index in range(len(new)):
            if index not in matched and index in free:
                matched[index] = index

    return [(matched.get(index), None, value) for index, value in enumerate(new)]


def _same_name(a: Any, b: Any) -> bool:
    return isinstance(a, dict) and isinstance(b, dict) and "name" in a and a.get("name") == b.get("name")


def _kind_of(value: Any) -> str:
    return "map" if isinstance(value, dict) else "seq" if isinstance(value, list) else "scalar"


def _other_scalar(value: Any) -> str:
    if value is None:
        return "null"

    if isinstance(value, bool):
        return "true" if value else "false"

    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"

    if isinstance(value, dt.datetime):
        return value.isoformat(" ")

    return value.isoformat() if isinstance(value, dt.date) else str(value)


def _is_plain(text: str, *, in_flow: bool) -> bool:
    """Whether a text can stand without quotes, decided by the parser itself."""
    if not text or "\n" in text or text != text.strip():
        return False

    try:
        # as a value and as a key, so that neither ': ' nor '#' can slip through
        probe = f"[{text}, {{{text}: 0}}]" if in_flow else f"- {text}\n- {text}: 0\n"
        return is_same(parse_yaml(probe).value, [text, {text: 0}])
    except FlowSyntaxError:
        return False


def _double_quoted(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return _TO_ESCAPE.sub(lambda match: f"\\u{ord(match.group()):04x}", quoted)


def _fits_literal(text: str) -> bool:
    return not _LITERAL_SAFE.search(text) and text[0] not in " \n"
