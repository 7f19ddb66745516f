"""What happens when something wrong is found: the loader raises at once, the validator collects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import FlowDefinitionError, Location, PromptflowException
from promptflow_lite.flow.model import Problem
from promptflow_lite.flow.yaml_io import Steps, YamlDocument


class Findings:
    """Raises the first error; keeps warnings. The loader's way."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def error(self, error: PromptflowException, steps: Steps = (), value: Any = None) -> None:
        """Report something that makes the flow unusable."""
        raise error

    def warning(self, problem: Problem) -> None:
        """Report something that works, but hardly as its author thinks."""
        self.problems.append(problem)

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(problem.message for problem in self.problems if problem.severity == "warning")


class CollectedFindings(Findings):
    """Keeps errors and warnings. The validator's way."""

    def error(self, error: PromptflowException, steps: Steps = (), value: Any = None) -> None:
        self.problems.append(problem_of(error, steps, value))


def problem_of(error: PromptflowException, steps: Steps = (), value: Any = None) -> Problem:
    """An exception as a problem with a place."""
    return Problem(
        code=error.code,
        message=str(error),
        hint=error.hint or "",
        where=error.where,
        yaml_path=".".join(str(step) for step in steps),
        value=value,
    )


class Cursor:
    """A mapping inside a document, read key by key with errors that know their place."""

    __slots__ = ("document", "findings", "steps", "value")

    def __init__(self, document: YamlDocument, findings: Findings, steps: Steps = (), value: Any = None) -> None:
        self.document = document
        self.findings = findings
        self.steps = steps
        self.value: dict[Any, Any] = value if isinstance(value, dict) else {}

    def where(self, key: str | int | None = None, *, of_key: bool = False) -> Location:
        """The place of this mapping, or of one of its values."""
        return self.document.locate(self.steps if key is None else (*self.steps, key), key=of_key)

    def get(self, key: str, default: Any = None) -> Any:
        return self.value.get(key, default)

    def child(self, key: str | int, value: Any) -> Cursor:
        """A cursor on a mapping below this one."""
        return Cursor(self.document, self.findings, (*self.steps, key), value)

    def wrong(self, message: str, key: str | int | None = None, *, code: str, hint: str | None = None) -> None:
        """Report a structural error at a key."""
        steps = self.steps if key is None else (*self.steps, key)
        value = self.value if key is None else self.value.get(key)
        error = FlowDefinitionError(message, code=code, hint=hint, where=self.document.locate(steps))
        self.findings.error(error, steps, value)

    def warn(self, message: str, key: str | int | None = None, *, code: str, hint: str | None = None) -> None:
        """Report something that works, but hardly as intended."""
        steps = self.steps if key is None else (*self.steps, key)
        problem = Problem(
            code=code,
            message=message,
            hint=hint or "",
            where=self.document.locate(steps, key=True),
            yaml_path=".".join(str(step) for step in steps),
            value=None if key is None else self.value.get(key),
            severity="warning",
        )
        self.findings.warning(problem)

    def mapping(self, key: str) -> Cursor:
        """The mapping under `key`; null and an empty list count as an empty mapping."""
        value = self.value.get(key)
        if value is not None and value != [] and not isinstance(value, dict):
            message = f"{key!r} must be a mapping, not {kind_of(value)}."
            self.wrong(
                message, key, code="flow.not_a_mapping", hint=f"Write '{key}:' and below it 'name: value' lines."
            )

        return self.child(key, value)

    def items(self, key: str) -> list[Any]:
        """The list under `key`; null and an empty mapping count as an empty list."""
        value = self.value.get(key)
        if isinstance(value, list):
            return value

        if value is not None and value != {}:
            message = f"{key!r} must be a list, not {kind_of(value)}."
            self.wrong(
                message, key, code="flow.not_a_list", hint=f"Write '{key}:' and below it lines that start with '- '."
            )

        return []

    def text(self, key: str, default: str = "") -> str:
        """A text; numbers and booleans are written out, as in `name: 12`."""
        value = self.value.get(key)
        if value is None:
            return default

        if isinstance(value, dict | list):
            message = f"{key!r} must be text, not {kind_of(value)}."
            self.wrong(message, key, code="flow.not_text", hint="Put the text in quotes.")
            return default

        return "true" if value is True else "false" if value is False else str(value)

    def optional_text(self, key: str) -> str | None:
        return None if self.value.get(key) is None else self.text(key)

    def remark(self, key: str, default: str = "") -> str:
        """A text that nothing depends on: anything else is warned about and replaced by the default."""
        value = self.value.get(key)
        if not isinstance(value, dict | list):
            return self.text(key, default)

        self.warn(f"{key!r} should be text, not {kind_of(value)}; it is ignored.", key, code="flow.not_text")
        return default

    def remarks(self, key: str) -> dict[str, Any]:
        """A mapping that nothing depends on: a list counts as its words, anything else is warned about."""
        value = self.value.get(key)
        if isinstance(value, dict):
            return {str(name): item for name, item in value.items()}

        if isinstance(value, list):
            return {str(item): "" for item in value}

        if value is not None:
            message = f"{key!r} should be a mapping, not {kind_of(value)}; it is ignored."
            self.warn(message, key, code="flow.not_a_mapping")

        return {}

    def flag(self, key: str) -> bool:
        """A boolean; the texts `true` and `false` are accepted, and `yes` and `on` with a warning."""
        value = self.value.get(key)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"

        if isinstance(value, str) and value.lower() in ("yes", "on", "y"):
            hint = "In YAML 1.2 only true and false are booleans; write 'true'."
            self.warn(f"{key!r} is the text {value!r}, taken as true.", key, code="flow.not_a_boolean", hint=hint)
            return True

        if value is not None and not isinstance(value, bool | int):
            self.wrong(
                f"{key!r} must be true or false, not {value!r}.",
                key,
                code="flow.not_a_boolean",
                hint="In YAML 1.2 only true and false are booleans; yes, no, on and off are text.",
            )
            return False

        return bool(value)

    def choice(self, key: str, known: Iterable[str], default: str, *, code: str, what: str) -> str:
        """A text out of a closed set."""
        value = self.text(key, default)
        names = tuple(known)
        if value not in names:
            self.wrong(f"{what} {value!r} is unknown.", key, code=code, hint=did_you_mean(value, names))
            return default

        return value

    def warn_unknown(self, known: Iterable[str], what: str) -> None:
        """Warn about every key that nothing reads."""
        names = tuple(known)
        for key in self.value:
            if key not in names:
                self.warn(
                    f"The key {key!r} of {what} is unknown and ignored.",
                    key,
                    code="flow.unknown_key",
                    hint=did_you_mean(str(key), names),
                )


def kind_of(value: Any) -> str:
    """What a YAML value is, in words."""
    if value is None:
        return "null"

    names = {dict: "a mapping", list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), f"a {type(value).__name__}")
