"""New flows: small folders that run as they are, and existing functions wrapped as flows."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from promptflow_lite.errors import Location, UserErrorException

FlowKind = Literal["standard", "evaluation", "chat"]

_STANDARD = {
    "flow.dag.yaml": """\
inputs:
  text:
    type: string
    default: Hello World!
outputs:
  output:
    type: string
    reference: ${echo_my_prompt.output}
nodes:
- name: hello_prompt
  type: prompt
  source:
    type: code
    path: hello.jinja2
  inputs:
    text: ${inputs.text}
- name: echo_my_prompt
  type: python
  source:
    type: code
    path: hello.py
  inputs:
    input1: ${hello_prompt.output}
""",
    "hello.jinja2": "Write a simple {{text}} program that displays the greeting message.\n",
    "hello.py": '''\
from promptflow.core import tool


@tool
def my_python_tool(input1: str) -> str:
    """Return the prompt; replace this with what your flow does."""
    return "Prompt: " + input1
''',
    "data.jsonl": '{"text": "Python Hello World!"}\n{"text": "C Hello World!"}\n{"text": "C# Hello World!"}\n',
}

_EVALUATION = {
    "flow.dag.yaml": """\
inputs:
  groundtruth:
    type: string
    default: groundtruth
  prediction:
    type: string
    default: prediction
outputs:
  results:
    type: string
    reference: ${line_process.output}
nodes:
- name: line_process
  type: python
  source:
    type: code
    path: line_process.py
  inputs:
    groundtruth: ${inputs.groundtruth}
    prediction: ${inputs.prediction}
- name: aggregate
  type: python
  source:
    type: code
    path: aggregate.py
  inputs:
    processed_results: ${line_process.output}
  aggregation: true
""",
    "line_process.py": '''\
from promptflow.core import tool


@tool
def line_process(groundtruth: str, prediction: str) -> str:
    """Grade one row."""
    return "Correct" if groundtruth.lower() == prediction.lower() else "Incorrect"
''',
    "aggregate.py": '''\
from typing import List

from promptflow.core import log_metric, tool


@tool
def aggregate(processed_results: List[str]) -> float:
    """Accuracy over all rows."""
    accuracy = processed_results.count("Correct") / len(processed_results) if processed_results else 0.0
    log_metric("accuracy", accuracy)
    return accuracy
''',
    "data.jsonl": '{"groundtruth": "App", "prediction": "App"}\n{"groundtruth": "Channel", "prediction": "App"}\n',
}

_CHAT = {
    "flow.dag.yaml": """\
inputs:
  chat_history:
    type: list
    is_chat_history: true
    default: []
  question:
    type: string
    is_chat_input: true
    default: What is a prompt flow?
outputs:
  answer:
    type: string
    reference: ${chat.output}
    is_chat_output: true
nodes:
- name: chat
  type: llm
  source:
    type: code
    path: chat.jinja2
  inputs:
    max_tokens: 256
    temperature: 0.7
    chat_history: ${inputs.chat_history}
    question: ${inputs.question}
  api: chat
  # Without a connection the default model answers: the bundled one, offline.
  # connection: open_ai_connection
""",
    "chat.jinja2": """\
system:
You are a helpful assistant.

{% for item in chat_history %}
user:
{{item.inputs.question}}
assistant:
{{item.outputs.answer}}
{% endfor %}

user:
{{question}}
""",
    "openai.yaml": """\
name: open_ai_connection
type: open_ai
api_key: ${env:OPENAI_API_KEY}
""",
    "azure_openai.yaml": """\
name: open_ai_connection
type: azure_open_ai
api_key: ${env:AZURE_OPENAI_API_KEY}
api_base: https://<your-resource>.openai.azure.com/
api_version: 2024-02-01
""",
    "README.md": """\
# A chat flow

    pfl flow test --flow . --interactive

The bundled model answers. To use another one, store a connection and name it in `flow.dag.yaml`:

    pfl connection create --file openai.yaml
""",
}

_TEMPLATES: dict[FlowKind, dict[str, str]] = {"standard": _STANDARD, "evaluation": _EVALUATION, "chat": _CHAT}
_COMMON = {
    "requirements.txt": "promptflow-lite\n",
    ".gitignore": ".env\n__pycache__/\n.promptflow/*\n!.promptflow/flow.tools.json\n.runs/\n",
}


def folder_is_taken(folder: str | Path) -> bool:
    """Whether something is in the folder already."""
    path = Path(folder)
    return path.exists() and (not path.is_dir() or any(path.iterdir()))


def create_flow(folder: str | Path, kind: FlowKind = "standard") -> list[Path]:
    """Write a new flow into a folder; returns the files.

    Raises:
        UserErrorException: the folder cannot be written.
    """
    return _write(Path(folder), {**_TEMPLATES[kind], **_COMMON})


def wrap_function(
    folder: str | Path, entry: str | Path, function: str, templates: Mapping[str, str] | None = None
) -> list[Path]:
    """Make a flow around a function that exists in the folder: a tool file and a `flow.dag.yaml`.

    Args:
        folder: The existing folder that holds `entry`.
        entry: Python file inside it.
        function: Name of a top-level function there.
        templates: Parameter -> prompt file; each becomes a prompt node.

    Raises:
        UserErrorException: the file or the function does not exist.
    """
    root = Path(folder)
    source = root / entry
    if not source.is_file():
        raise UserErrorException(f"{source} does not exist.", hint="--entry is a file inside the --flow folder.")

    definition = _function_in(source, function)
    parameters = [argument.arg for argument in (*definition.args.args, *definition.args.kwonlyargs)]
    prompts = dict(templates or {})
    unknown = sorted(set(prompts) - set(parameters))
    if unknown:
        raise UserErrorException(f"Function {function!r} has no parameter {unknown[0]!r}.", where=Location(str(source)))

    files = {
        f"{function}_tool.py": _tool_file(Path(entry).stem, function, parameters),
        "flow.dag.yaml": _wrapping_yaml(function, parameters, prompts),
        **{name: f"Write the prompt for {parameter} here.\n" for parameter, name in prompts.items()},
        **_COMMON,
    }
    return _write(root, {name: text for name, text in files.items() if name not in _existing(root, prompts)})


def _function_in(source: Path, name: str) -> ast.FunctionDef | ast.AsyncFunctionDef:
    try:
        tree = ast.parse(source.read_text("utf-8"))
    except (SyntaxError, UnicodeDecodeError, OSError) as error:
        raise UserErrorException(f"{source} cannot be read as Python: {error}") from error

    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return node

    raise UserErrorException(f"{source} defines no function {name!r}.", where=Location(str(source)))


def _existing(root: Path, prompts: Mapping[str, str]) -> set[str]:
    """Files of the user's that must not be overwritten."""
    return {name for name in (*prompts.values(), *_COMMON) if (root / name).exists()}


def _tool_file(module: str, function: str, parameters: list[str]) -> str:
    names = ", ".join(parameters)
    call = ", ".join(f"{name}={name}" for name in parameters)
    return (
        f"from promptflow.core import tool\n\nfrom {module} import {function}\n\n\n"
        f"@tool\ndef {function}_tool({names}):\n    return {function}({call})\n"
    )


def _wrapping_yaml(function: str, parameters: list[str], prompts: Mapping[str, str]) -> str:
    plain = [name for name in parameters if name not in prompts]
    inputs = "".join(f"  {name}:\n    type: string\n" for name in plain)
    nodes = "".join(
        f"- name: {name}_prompt\n  type: prompt\n  source:\n    type: code\n    path: {file}\n  inputs: {{}}\n"
        for name, file in prompts.items()
    )
    bound = "".join(
        f"    {name}: ${{{name}_prompt.output}}\n" if name in prompts else f"    {name}: ${{inputs.{name}}}\n"
        for name in parameters
    )
    return (
        f"inputs:{chr(10) + inputs if inputs else ' {}' + chr(10)}"
        f"outputs:\n  output:\n    type: string\n    reference: ${{{function}.output}}\n"
        f"nodes:\n{nodes}- name: {function}\n  type: python\n  source:\n    type: code\n    path: {function}_tool.py\n"
        f"  inputs:{chr(10) + bound if bound else ' {}' + chr(10)}"
    )


def _write(root: Path, files: Mapping[str, str]) -> list[Path]:
    written = []
    try:
        root.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            written.append(path)
    except OSError as error:
        raise UserErrorException(
            f"{root} cannot be written: {error.strerror}.", hint="Choose another folder."
        ) from error

    return written
