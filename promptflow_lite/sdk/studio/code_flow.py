"""A flow without nodes (flex flow or prompty) open in the studio: its files, inputs, problems and rendered prompt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptflow_lite.errors import PromptflowException
from promptflow_lite.flow import FlexFlow, PromptyFlow, load_flow, render_template, validate_flow
from promptflow_lite.flow.model import Flow, Problem
from promptflow_lite.sdk.studio.files import FlowFiles
from promptflow_lite.sdk.studio.sources import Parameter, entry_parameters


class CodeFlow:
    """A flex flow's folder or a `.prompty` file; reading it runs none of its code.

    Args:
        path: The folder, or the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path if path.is_dir() else path.parent
        self.files = FlowFiles(self.folder)

    @property
    def kind(self) -> str:
        return "flex" if self.path.is_dir() else "prompty"

    @property
    def definition(self) -> str:
        """The file that declares the flow."""
        if self.kind == "prompty":
            return self.path.name

        return next((name for name in ("flow.flex.yaml", "flow.flex.yml") if (self.folder / name).is_file()), "")

    @property
    def flow(self) -> FlexFlow | PromptyFlow | None:
        """What the file declares; None while it cannot be read."""
        try:
            found: Flow = load_flow(self.path)
        except PromptflowException:
            return None

        return found if isinstance(found, FlexFlow | PromptyFlow) else None

    @property
    def source(self) -> str | None:
        """The file with the entry's code, if it lies in the folder."""
        flow = self.flow
        if not isinstance(flow, FlexFlow):
            return None

        name = flow.entry.partition(":")[0].replace(".", "/")
        return next((file for file in (f"{name}.py", f"{name}/__init__.py") if (self.folder / file).is_file()), None)

    @property
    def problems(self) -> list[Problem]:
        return list(validate_flow(self.path))

    def parameters(self) -> list[Parameter]:
        """The inputs: those that are declared, else those that the code takes."""
        flow = self.flow
        if flow is not None and flow.inputs is not None:
            return [Parameter(name, spec.type, is_required=spec.default is None) for name, spec in flow.inputs.items()]

        source = self.source
        if not isinstance(flow, FlexFlow) or source is None:
            return []

        return entry_parameters((self.folder / source).read_text("utf-8"), flow.entry.partition(":")[2])

    def first_inputs(self) -> dict[str, Any]:
        """Values to test with: defaults, and the flow's sample."""
        flow = self.flow
        if flow is None:
            return {}

        values = {name: spec.default for name, spec in (flow.inputs or {}).items() if spec.default is not None}
        sample = (flow.sample or {}).get("inputs") if isinstance(flow, FlexFlow) else flow.sample
        return {**values, **(sample or {})}

    def rendered(self, inputs: Mapping[str, Any]) -> str | None:
        """A prompty's prompt with these values; None for other flows. The text of an error when it cannot be made."""
        flow = self.flow
        if not isinstance(flow, PromptyFlow):
            return None

        try:
            return render_template(flow.template, inputs)
        except PromptflowException as error:
            return str(error)


def is_code_flow(path: Path) -> bool:
    """Whether a path is a prompty or the folder of a flex flow."""
    return path.suffix == ".prompty" or any((path / name).is_file() for name in ("flow.flex.yaml", "flow.flex.yml"))
