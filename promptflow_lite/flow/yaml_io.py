"""YAML text to plain values and the position of every one of them, by the rules of YAML 1.2.

Parsing is libyaml's event stream; the meaning of scalars is decided here, so `yes` stays text and `010` is ten.

**Why this shape.** PyYAML's own constructor follows YAML 1.1 and forgets positions; building values from events costs
one pass, cannot run user code, and lets depth and the size that aliases expand to be bounded.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from promptflow_lite.errors import FlowSyntaxError, Location

Steps = tuple[str | int, ...]
"""The way to a value: mapping keys and list indexes from the root."""

MAX_BYTES = 32 * 1024 * 1024
MAX_DEPTH = 100
MAX_VALUES = 1_000_000
"""Values of a document, those behind aliases counted each time they are used."""

_INT = re.compile(r"[-+]?[0-9][0-9_]*\Z")
_BASED_INT = re.compile(r"([-+]?)0([box])([0-9a-fA-F_]+)\Z")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?\Z")
_SPECIAL_FLOAT = re.compile(r"([-+]?)\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")
_DATE = re.compile(r"\d{4}-\d\d-\d\d\Z")
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d?)-(\d\d?)(?:[Tt]|[ \t]+)(\d\d?):(\d\d):(\d\d)(?:\.(\d*))?(?:[ \t]*(Z|[-+]\d\d?(?::?\d\d)?))?\Z"
)
_UNUSUAL_BREAK = re.compile("[\r\x85\u2028\u2029\ufeff]")
_BASES = {"b": 2, "o": 8, "x": 16}
_NULLS = frozenset(["", "~", "null", "Null", "NULL"])
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class YamlDocument:
    """A parsed document: its value, and where each part of it was written."""

    value: Any
    path: str
    """The file as shown to people."""
    positions: dict[Steps, tuple[int, int]] = field(default_factory=dict)
    """Line and column, from 1, of each value."""
    key_positions: dict[Steps, tuple[int, int]] = field(default_factory=dict)
    """Line and column, from 1, of the key that leads to each mapping value."""

    def locate(self, steps: Steps = (), *, key: bool = False) -> Location:
        """The place of a value (or of its key); of its nearest known ancestor when it has none."""
        if key and steps in self.key_positions:
            return Location(self.path, *self.key_positions[steps])

        while steps and steps not in self.positions:
            steps = steps[:-1]

        return Location(self.path, *self.positions.get(steps, (1, 1)))


def load_yaml(path: Path, *, shown: str | None = None) -> YamlDocument:
    """Read and parse a YAML file.

    Raises:
        FlowSyntaxError: the file cannot be read or is not YAML; `where` names the place.
    """
    return parse_yaml(read_text(path, shown=shown), path=shown or str(path))


def read_text(path: Path, *, shown: str | None = None) -> str:
    """The text of a UTF-8 file (UTF-16 with a byte order mark is accepted too).

    Raises:
        FlowSyntaxError: the file cannot be read, is too large or is not text.
    """
    name = shown or str(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FlowSyntaxError(
                f"The file is larger than {MAX_BYTES // 2**20} MiB.",
                where=Location(name),
                hint="Is this the right file?",
            )
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FlowSyntaxError(f"The file cannot be read: {reason}.", where=Location(name)) from error

    return decode_text(raw, name)


def decode_text(raw: bytes, name: str) -> str:
    """Bytes of a text file as text; line ends are kept.

    Raises:
        FlowSyntaxError: the bytes are not UTF-8.
    """
    encoding = "utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise FlowSyntaxError(
            f"The file is not valid UTF-8 text: byte 0x{raw[error.start]:02x} cannot be decoded.",
            hint="Save the file with UTF-8 encoding.",
            where=Location(name, line, column),
        ) from error


def parse_yaml(text: str, *, path: str = "<yaml>", first_line: int = 1, as_written: bool = False) -> YamlDocument:
    """Parse one YAML document.

    Args:
        text: The document.
        path: The file name to show in errors.
        first_line: The line of the file at which `text` starts.
        as_written: Keep every scalar as its text: `2024-02-01`, `010` and `yes` are what they look like, nothing is "".

    Raises:
        FlowSyntaxError: not YAML, more than one document, a duplicate key, or too deep or too large.
    """
    document = YamlDocument(None, path)
    builder = _Builder(document, first_line - 1, as_written)
    try:
        loader = _LOADER(text)
        try:
            builder.build(loader)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise _syntax_error(error, text, path, first_line - 1) from error
    except UnicodeError as error:
        raise FlowSyntaxError(
            f"The text has characters that YAML does not allow: {error}.", where=Location(path)
        ) from error

    return document


@dataclass(slots=True)
class _Anchored:
    value: Any
    size: int
    is_open: bool = False


class _Builder:
    """Builds values from parser events; one use."""

    def __init__(self, document: YamlDocument, line_offset: int, as_written: bool) -> None:
        self.document = document
        self.line_offset = line_offset
        self.as_written = as_written
        self.anchors: dict[str, _Anchored] = {}
        self.n_values = 0
        self.next: Any = None

    def build(self, loader: Any) -> None:
        self.next = loader.get_event
        self.next()  # stream start
        event = self.next()
        if isinstance(event, yaml.StreamEndEvent):
            return

        self.document.value = self.value(self.next(), (), 0)
        self.next()  # document end
        event = self.next()
        if not isinstance(event, yaml.StreamEndEvent):
            raise self.error("The file holds more than one YAML document.", event, hint="Remove the '---' line.")

    def value(self, event: Any, steps: Steps, depth: int) -> Any:
        self.document.positions[steps] = self.position(event)
        if depth > MAX_DEPTH:
            raise self.error(f"Values are nested more than {MAX_DEPTH} levels deep.", event)

        if isinstance(event, yaml.AliasEvent):
            return self.alias(event)

        self.count(1, event)
        anchor, before = event.anchor, self.n_values
        if anchor is not None:
            self.anchors[anchor] = _Anchored(None, 1, is_open=True)

        value = self.content(event, steps, depth)
        if anchor is not None:
            self.anchors[anchor] = _Anchored(value, self.n_values - before + 1)

        return value

    def content(self, event: Any, steps: Steps, depth: int) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event)

        self.check_collection_tag(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(steps, depth)

        return self.mapping(steps, depth)

    def sequence(self, steps: Steps, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self.next(), yaml.SequenceEndEvent):
            items.append(self.value(event, (*steps, len(items)), depth + 1))

        return items

    def mapping(self, steps: Steps, depth: int) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        merged: list[Any] = []
        while not isinstance(event := self.next(), yaml.MappingEndEvent):
            key = self.key(event, depth)
            inner = (*steps, key)
            if key == "<<" and isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
                merged.append((self.value(self.next(), inner, depth + 1), event))
                continue

            if key in result:
                raise self.error(
                    f"The key {key!r} appears twice in one mapping.", event, hint="Remove or rename one of them."
                )
            self.document.key_positions[inner] = self.position(event)
            result[key] = self.value(self.next(), inner, depth + 1)

        for source, event in merged:
            self.merge(source, event, result)

        return result

    def key(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            self.count(1, event)
            key = self.scalar(event)
            if event.anchor is not None:
                self.anchors[event.anchor] = _Anchored(key, 1)
        else:
            key = self.alias(event) if isinstance(event, yaml.AliasEvent) else None
            if key is None or isinstance(key, dict | list):
                raise self.error(
                    "A mapping key must be a plain value.", event, hint="Quote the text if it holds braces or brackets."
                )

        return key

    def merge(self, source: Any, event: Any, target: dict[Any, Any]) -> None:
        for mapping in source if isinstance(source, list) else [source]:
            if not isinstance(mapping, dict):
                raise self.error("Only mappings can be merged with '<<'.", event)

            for key, value in mapping.items():
                target.setdefault(key, value)

    def alias(self, event: Any) -> Any:
        anchored = self.anchors.get(event.anchor)
        if anchored is None:
            raise self.error(f"The alias '*{event.anchor}' names no anchor.", event)

        if anchored.is_open:
            raise self.error(f"The alias '*{event.anchor}' stands inside the value it names.", event)

        self.count(anchored.size, event)
        return anchored.value

    def count(self, size: int, event: Any) -> None:
        self.n_values += size
        if self.n_values > MAX_VALUES:
            raise self.error(f"The document expands to more than {MAX_VALUES} values.", event)

    def scalar(self, event: Any) -> Any:
        text: str = event.value
        tag = event.tag
        if self.as_written:
            return text

        if tag is None or tag == "!":
            return parse_plain_scalar(text) if event.implicit[0] and tag is None else text

        converter = _TAGGED.get(tag)
        if converter is None:
            raise self.error(f"The tag {tag!r} is not supported.", event, hint="Remove the tag.")

        try:
            return converter(text)
        except (ValueError, binascii.Error) as error:
            raise self.error(f"{text[:40]!r} does not fit its tag.", event) from error

    def check_collection_tag(self, event: Any) -> None:
        expected = "seq" if isinstance(event, yaml.SequenceStartEvent) else "map"
        if event.tag not in (None, "!", f"tag:yaml.org,2002:{expected}"):
            raise self.error(f"The tag {event.tag!r} is not supported.", event, hint="Remove the tag.")

    def position(self, event: Any) -> tuple[int, int]:
        mark = event.start_mark
        return mark.line + 1 + self.line_offset, mark.column + 1

    def error(self, message: str, event: Any, hint: str | None = None) -> FlowSyntaxError:
        return FlowSyntaxError(message, hint=hint, where=Location(self.document.path, *self.position(event)))


def parse_plain_scalar(text: str) -> Any:
    """The value of an unquoted scalar by the YAML 1.2 core rules, with dates and `1_000`."""
    if text in _NULLS:
        return None

    if text in _BOOLS:
        return _BOOLS[text]

    if text[0] in "+-.0123456789":
        return _parse_numeric(text)

    return text


def _parse_numeric(text: str) -> Any:
    try:
        if _INT.match(text):
            return int(text.replace("_", ""))

        if match := _BASED_INT.match(text):
            sign, base, digits = match.groups()
            return int(sign + digits.replace("_", ""), _BASES[base])

        if _FLOAT.match(text):
            return float(text.replace("_", ""))

        if match := _SPECIAL_FLOAT.match(text):
            return float("nan") if text.lower().endswith("nan") else float(f"{match.group(1)}inf")

        if _DATE.match(text):
            return dt.date.fromisoformat(text)

        if match := _TIMESTAMP.match(text):
            return _timestamp(match)
    except ValueError:
        return text  # digits that are no number or date of Python's: too many of them, or a thirteenth month

    return text


def _timestamp(match: re.Match[str]) -> dt.datetime:
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    microsecond = int(f"{match.group(7) or '0':0<6.6}")
    zone = match.group(8)
    tzinfo: dt.tzinfo | None = None
    if zone == "Z":
        tzinfo = dt.UTC
    elif zone:
        hours, minutes = int(zone[1:3].rstrip(":")), int(zone[-2:]) if len(zone) > 3 else 0
        offset = dt.timedelta(hours=hours, minutes=minutes)
        tzinfo = dt.timezone(-offset if zone[0] == "-" else offset)

    return dt.datetime(year, month, day, hour, minute, second, microsecond, tzinfo)


def _tagged_number(text: str) -> Any:
    value = _parse_numeric(text) if text else None
    if isinstance(value, int | float):
        return value

    raise ValueError(text)


def _tagged_bool(text: str) -> bool:
    if text in _BOOLS:
        return _BOOLS[text]

    raise ValueError(text)


_TAGGED: dict[str, Callable[[str], Any]] = {
    "tag:yaml.org,2002:str": str,
    "tag:yaml.org,2002:int": lambda text: int(_tagged_number(text)),
    "tag:yaml.org,2002:float": lambda text: float(_tagged_number(text)),
    "tag:yaml.org,2002:bool": _tagged_bool,
    "tag:yaml.org,2002:null": lambda text: None,
    "tag:yaml.org,2002:binary": lambda text: base64.b64decode(text, validate=False),
    "tag:yaml.org,2002:timestamp": parse_plain_scalar,
}


class _Dumper(yaml.SafeDumper):
    """Writes texts so that the rules of this module read them back as texts."""


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    if _UNUSUAL_BREAK.search(value):
        style: str | None = '"'
    elif "\n" in value:
        style = "|"
    else:
        style = None if isinstance(parse_plain_scalar(value), str) else "'"

    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _represent_text)


def dump_yaml_text(value: Any) -> str:
    """Plain values as YAML text, keys in their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=120)


def _syntax_error(error: yaml.YAMLError, text: str, path: str, line_offset: int) -> FlowSyntaxError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return FlowSyntaxError(_reader_message(error), where=_reader_place(error, text, path, line_offset))

    problem = str(getattr(error, "problem", None) or error)
    context = getattr(error, "context", None)
    detail = f"{context}: {problem}" if context else problem
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    return FlowSyntaxError(
        f"The file is not valid YAML: {detail}.",
        hint=_syntax_hint(problem, line),
        where=Location(path, mark.line + 1 + line_offset, mark.column + 1),
    )


def _reader_message(error: yaml.YAMLError) -> str:
    character = getattr(error, "character", None)
    if isinstance(character, int):
        return f"The file holds the character U+{character:04X}, which YAML does not allow."

    return f"The file is not valid YAML: {getattr(error, 'reason', error)}."


def _reader_place(error: yaml.YAMLError, text: str, path: str, line_offset: int) -> Location:
    position = getattr(error, "position", None)
    character = getattr(error, "character", None)
    if isinstance(character, int):
        position = text.find(chr(character))

    if not isinstance(position, int) or position < 0:
        return Location(path)

    before = text[:position]
    return Location(path, before.count("\n") + 1 + line_offset, position - (before.rfind("\n") + 1) + 1)


def _syntax_hint(problem: str, line: str) -> str | None:
    if "\t" in line:
        return "Indent with spaces; YAML does not allow tabs."

    if "${" in line and ("{" in line.replace("${", "") or "[" in line):
        return 'Inside {…} or […] a reference needs quotes: "${inputs.x}".'

    if "mapping values are not allowed" in problem:
        return "Quote a value that holds ': ', and check the indentation of this line."

    if "did not find expected key" in problem or "block" in problem:
        return "Check the indentation of this line and of the one before it."

    if "cannot start any token" in problem:
        return "Quote a value that starts with a special character such as @, ` or %."

    return None
