"""`${...}` references: text to objects, and property paths applied to values (contract section 2.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from promptflow_lite.errors import InvalidReferenceProperty

_ITEM = re.compile(r"\$\{\s*item((?:[.\[].*)?)\}\Z", re.DOTALL)
_OUTPUT = re.compile(r"\$\{\s*outputs\.(\w+)((?:[.\[].*)?)\}\Z", re.DOTALL)
_PROPERTY_TOKEN = re.compile(r"(\w+)|(\['.*?'\])|(\[\d+\])")


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference to a flow input, to a node's output, or to what a loop works on.

    `path` holds the property tokens after `output`: `("name", "a")` is `.a`, `("key", "a")` is `['a']`,
    `("index", 3)` is `[3]`.
    """

    kind: Literal["input", "node", "item", "output"]
    """`item` is the element that a `for_each` node works on, `output` an output of a sub-flow that repeats."""
    name: str
    section: str = ""
    """`output` for node references; any other text is unsupported and fails when the reference is used."""
    path: tuple[tuple[str, str | int], ...] = ()
    text: str = ""
    """The reference as written."""

    @property
    def property_text(self) -> str:
        """The property path as written, for messages."""
        return ".".join(str(value) for _, value in self.path)


def parse_reference(value: Any) -> Reference | None:
    """The reference a YAML value is, or None when the value is a literal.

    Only a whole string of the form `${...}` is a reference; text around it makes the value a literal.
    """
    if not isinstance(value, str) or len(value) <= 2 or value[0] != "$" or value[1] != "{" or value[-1] != "}":
        return None

    body = value[2:-1].strip()
    section, _, rest = body.partition(".")
    if section in ("inputs", "flow"):
        return Reference(kind="input", name=rest, text=value)

    if not rest:
        return Reference(kind="node", name=section, section="output", text=value)

    match = re.match(r"[^.\[]*", rest)
    output = match.group(0) if match else ""
    return Reference(
        kind="node", name=section, section=output, path=parse_property_path(rest[len(output) :]), text=value
    )


def parse_item_reference(value: Any) -> Reference | None:
    """`${item}` or `${item.name[0]}`, the element that a `for_each` node works on, else None."""
    match = _ITEM.match(value) if isinstance(value, str) else None
    if match is None:
        return None

    return Reference(kind="item", name="item", path=parse_property_path(match.group(1)), text=str(value))


def parse_output_reference(value: Any) -> Reference | None:
    """`${outputs.name}` or `${outputs.name.a[0]}`, an output of a sub-flow that repeats, else None."""
    match = _OUTPUT.match(value) if isinstance(value, str) else None
    if match is None:
        return None

    name, rest = match.groups()
    return Reference(kind="output", name=name, path=parse_property_path(rest), text=str(value))


def parse_property_path(text: str) -> tuple[tuple[str, str | int], ...]:
    """Tokens of `.a['b'][3]`, left to right; characters that belong to no token are skipped."""
    tokens: list[tuple[str, str | int]] = []
    for name, key, index in _PROPERTY_TOKEN.findall(text):
        if name:
            tokens.append(("name", name))
        elif key:
            tokens.append(("key", key[2:-2]))
        else:
            tokens.append(("index", int(index[1:-1])))
    return tuple(tokens)


def resolve_path(value: Any, reference: Reference) -> Any:
    """Apply a reference's property path to a node's output.

    Raises:
        InvalidReferenceProperty: a property does not exist, or the value has none.
    """
    for kind, token in reference.path:
        try:
            if kind == "name":
                value = value[token] if isinstance(value, dict) else getattr(value, str(token))
            else:
                value = value[token]
        except (KeyError, IndexError, AttributeError, TypeError) as error:
            raise InvalidReferenceProperty(
                f"Invalid property {reference.property_text!r} when accessing the output of node {reference.name!r}.",
                hint=f"Look at what node {reference.name!r} returns; its output has no such property.",
                node=reference.name,
                property=reference.property_text,
                reference=reference.text,
            ) from error
    return value
