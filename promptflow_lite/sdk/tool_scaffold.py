"""New tools: a script with one `@tool`, or a package that offers it through the `package_tools` entry point."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptflow_lite.errors import UserErrorException
from promptflow_lite.flow import dump_yaml_text


def create_tool(name: str, package: str | None = None, *, options: Mapping[str, str] | None = None) -> list[Path]:
    """Write a tool below the current folder; returns the files.

    Args:
        name: Name of the tool's function.
        package: Name of a package around it; without, a single script is written.
        options: `icon`, `category`, `tags`, kept in the tool's metadata.

    Raises:
        UserErrorException: a name cannot be used, or the files exist already.
    """
    if not name.isidentifier():
        raise UserErrorException(f"{name!r} cannot be the name of a function.", hint="Use letters, digits and _.")

    files = {f"{name}.py": _script(name)} if package is None else _package(name, package, options or {})
    present = [file for file in files if Path(file).exists()]
    if present:
        raise UserErrorException(f"{present[0]} exists already.", hint="Choose another name.")

    written = []
    for file, text in files.items():
        path = Path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def _script(name: str) -> str:
    return (
        "from promptflow.core import tool\n\n\n"
        f"@tool\ndef {name}(text: str) -> str:\n"
        '    """Say what the tool does; editors show the first line."""\n'
        "    return text\n"
    )


def _package(name: str, package: str, options: Mapping[str, str]) -> dict[str, str]:
    module = package.replace("-", "_")
    if not module.isidentifier():
        raise UserErrorException(f"{package!r} cannot be the name of a package.", hint="Use letters, digits, - and _.")

    metadata: dict[str, Any] = {
        "name": name,
        "type": "python",
        "module": f"{module}.{name}",
        "function": name,
        "inputs": {"text": {"type": ["string"]}},
        **{key: _value(value) for key, value in options.items()},
    }
    return {
        f"{package}/pyproject.toml": _PYPROJECT.format(package=package, module=module),
        f"{package}/{module}/__init__.py": _INIT.format(),
        f"{package}/{module}/{name}.py": _script(name),
        f"{package}/{module}/yamls/{name}.yaml": dump_yaml_text({f"{module}.{name}.{name}": metadata}),
    }


def _value(text: str) -> Any:
    """Tags come as Python text: `"{'k': 'v'}"`."""
    if not text.startswith(("{", "[")):
        return text

    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


_PYPROJECT = """\
[build-system]
requires = ["setuptools>=68"]
build-backend = "setuptools.build_meta"

[project]
name = "{package}"
version = "0.1.0"
dependencies = ["pyyaml"]

[project.entry-points.package_tools]
{module} = "{module}:list_package_tools"

[tool.setuptools.package-data]
{module} = ["yamls/*.yaml"]
"""

_INIT = '''\
"""Tools for flows."""

from pathlib import Path

import yaml


def list_package_tools():
    """Metadata of every tool in this package."""
    tools = {{}}
    for file in sorted((Path(__file__).parent / "yamls").glob("*.yaml")):
        tools.update(yaml.safe_load(file.read_text(encoding="utf-8")))
    return tools
'''
