"""`pfl flow`: create, test, validate, serve and build flows."""

from __future__ import annotations

from argparse import Namespace
from contextlib import suppress
from shlex import quote
from typing import Any

from promptflow_lite.cli import render
from promptflow_lite.cli.arguments import add_yes, parse_environment, parse_inputs
from promptflow_lite.cli.serve import register_flow_serve
from promptflow_lite.errors import PromptflowException, UsageError


def register(groups: Any) -> None:
    """Add the group to the command line."""
    verbs = groups.add_parser("flow", help="Create, test, validate and build flows").add_subparsers(metavar="<verb>")
    _register_init(verbs)
    _register_test(verbs)
    _register_validate(verbs)
    _register_save(verbs)
    _register_build(verbs)
    register_flow_serve(verbs)


def _register_init(verbs: Any) -> None:
    init = verbs.add_parser(
        "init",
        help="Create a flow from a template",
        description="Create a folder with a small flow that runs as it is.",
        epilog="Example: pfl flow init --flow my_flow --type chat",
    )
    init.add_argument("--flow", required=True, metavar="FOLDER", help="Folder to create.")
    init.add_argument(
        "--type", choices=("standard", "evaluation", "chat"), default="standard", help="Kind of flow (standard)."
    )
    add_yes(init, "Write into an existing folder without asking.")
    init.add_argument("--entry", metavar="FILE", help="Wrap a function of this Python file as the flow's tool.")
    init.add_argument("--function", metavar="NAME", help="Name of that function.")
    init.add_argument(
        "--prompt-template", nargs="+", metavar="PARAM=FILE", help="Prompt templates for parameters of the function."
    )
    init.set_defaults(handler=_init)


def _register_test(verbs: Any) -> None:
    test = verbs.add_parser(
        "test",
        help="Run a flow, or one of its nodes, once",
        description="Run a flow once and print its outputs as JSON.",
        epilog="Examples:\n"
        "  pfl flow test --flow my_flow --inputs question='Why is the sky blue?'\n"
        "  pfl flow test --flow my_flow --inputs inputs.json --variant '${answer.short}'\n"
        "  pfl flow test --flow my_flow --node answer --inputs inputs.question=Hi\n"
        "  pfl flow test --flow my_chat --interactive",
    )
    test.formatter_class = _raw()
    test.add_argument("--flow", required=True, help="Folder, file or module:function of the flow.")
    test.add_argument("--inputs", nargs="+", metavar="KEY=VALUE", help="Input values, or a .json or .jsonl file.")
    test.add_argument("--input", help=_suppress())
    test.add_argument("--node", help="Run this node alone.")
    test.add_argument("--variant", metavar="${NODE.VARIANT}", help="Variant to use.")
    test.add_argument(
        "--environment-variables", nargs="*", metavar="KEY=VALUE", help="Variables or .env files; none: nearest .env."
    )
    test.add_argument("--init", nargs="+", metavar="KEY=VALUE", help="Constructor values of a flex class.")
    test.add_argument("--interactive", action="store_true", help="Chat with a chat flow in the terminal.")
    test.add_argument("--detail", metavar="FOLDER", help="Where the test's files go; default: .promptflow.")
    test.add_argument("--config", nargs="+", help=_suppress())
    test.add_argument("--collection", help=_suppress())
    test.add_argument("--ui", action="store_true", help="Open the flow in the studio's chat page.")
    test.add_argument("--multi-modal", dest="ui", action="store_true", help=_suppress())
    test.add_argument("--skip-open-browser", action="store_true", help=_suppress())
    test.add_argument("--url-params", nargs="*", help=_suppress())
    test.add_argument("--port", type=int, help=_suppress())
    test.set_defaults(handler=_test)


def _register_validate(verbs: Any) -> None:
    validate = verbs.add_parser(
        "validate",
        help="Check a flow without running any of its code",
        description="Report everything that is wrong with a flow, with file, line and a hint. Exit code 1 if anything.",
        epilog="Example: pfl flow validate --source my_flow",
    )
    validate.add_argument("--source", required=True, help="Folder or file of the flow.")
    validate.set_defaults(handler=_validate)


def _register_save(verbs: Any) -> None:
    save = verbs.add_parser(
        "save",
        help="Make a flow file for a function or class",
        description="Write the flow.flex.yaml of a Python function or class, with the signature that it has.",
        epilog="Example: pfl flow save --entry chat:answer --code . --path my_flow",
    )
    save.add_argument("--entry", required=True, metavar="MODULE:NAME", help="Function or class.")
    save.add_argument("--code", default=".", metavar="FOLDER", help="Folder of the module.")
    save.add_argument("--path", metavar="FOLDER", help="New folder that receives a copy of the code.")
    save.set_defaults(handler=_save)


def _register_build(verbs: Any) -> None:
    build = verbs.add_parser(
        "build",
        help="Copy a flow in the form in which it runs",
        description="Copy a flow with its includes merged and its variants put in place; without --flow-only, also "
        "the files of a container image that serves it.",
        epilog="Example: pfl flow build --source my_flow --output dist --format docker",
    )
    build.add_argument("--source", required=True, help="Folder or file of the flow.")
    build.add_argument("-o", "--output", required=True, metavar="FOLDER", help="Folder that receives the files.")
    build.add_argument("-f", "--format", choices=["docker"], help="What to build; without it only the flow is copied.")
    build.add_argument("--variant", "-v", metavar="${NODE.VARIANT}", help="Variant to put in place.")
    build.add_argument("--flow-only", action="store_true", help=_suppress())
    build.set_defaults(handler=_build)


def _raw() -> Any:
    import argparse

    return argparse.RawDescriptionHelpFormatter


def _suppress() -> str:
    import argparse

    return argparse.SUPPRESS


def _init(args: Namespace) -> int:
    from promptflow_lite.sdk.scaffold import create_flow, folder_is_taken, wrap_function

    if args.entry or args.function:
        if not (args.entry and args.function):
            raise UsageError("--entry and --function belong together.", hint="Give both.")

        from promptflow_lite.cli.arguments import parse_pairs

        created = wrap_function(
            args.flow, args.entry, args.function, parse_pairs(args.prompt_template, "--prompt-template")
        )
    else:
        if folder_is_taken(args.flow) and not args.yes and not render.confirm(f"{args.flow} exists; write into it?"):
            render.note("Nothing was written.")
            return 1

        created = create_flow(args.flow, args.type)
    for path in created:
        render.note(f"created {path}")
    render.note(f"Try it: pfl flow test --flow {quote(str(args.flow))}")
    return 0


def _test(args: Namespace) -> int:
    from promptflow_lite.flow import load_flow
    from promptflow_lite.sdk.client import Client
    from promptflow_lite.sdk.detail_files import detail_folder, write_flow_test

    inputs = parse_inputs([args.input] if args.input else args.inputs)
    environment = parse_environment(args.environment_variables)
    client = Client()
    if args.interactive:
        from promptflow_lite.cli.chat import chat

        return chat(client, args.flow, inputs=inputs, variant=args.variant, environment=environment, init=args.init)

    if args.node:
        return _test_node(client, args, inputs, environment)

    init = parse_inputs(args.init, "--init") or None
    flow = load_flow(args.flow, variant=args.variant)
    result = client.flows.test(flow, inputs=inputs, environment_variables=environment, init=init)
    output = write_flow_test(flow, result, detail_folder(flow, args.detail), variant=args.variant)
    if result.line.exception is not None:
        raise result.line.exception

    if isinstance(output, dict):
        render.json(output)
    else:
        render.text(str(output))
    for node in result.aggregation.nodes if result.aggregation else ():
        if node.error:
            render.note(f"Aggregation node {node.node!r} failed: {node.error['message']}")
    if result.metrics:
        render.note(f"metrics: {render.to_json(result.metrics)}")

    return 0


def _test_node(client: Any, args: Namespace, inputs: dict[str, Any], environment: dict[str, str]) -> int:
    from promptflow_lite.flow import load_flow
    from promptflow_lite.sdk.detail_files import detail_folder, write_node_test

    flow = load_flow(args.flow, variant=args.variant)
    result = client.flows.test_node(flow, args.node, inputs=inputs, environment_variables=environment)
    output = write_node_test(flow, result, detail_folder(flow, args.detail))
    if result.exception is not None:
        raise result.exception

    render.json(output)
    return 0


def _validate(args: Namespace) -> int:
    from promptflow_lite.flow import validate_flow

    problems = validate_flow(args.source)
    errors = [problem for problem in problems if problem.severity == "error"]
    report: dict[str, Any] = {"result": "Failed" if errors else "Succeeded"}
    for key, found in (("errors", errors), ("warnings", [p for p in problems if p.severity == "warning"])):
        if found:
            report[key] = [_problem_to_json(problem) for problem in found]
    render.json(report)
    if render.is_terminal():
        for problem in problems:
            render.note(f"{problem.where or args.source}: {problem.message} {problem.hint}")

    if not errors:
        _write_tools_file(args.source)

    return 1 if errors else 0


def _write_tools_file(source: str) -> None:
    """Leave `.promptflow/flow.tools.json` beside a DAG flow, as editors expect; a read-only folder is no failure."""
    from promptflow_lite.flow import DagFlow, load_flow
    from promptflow_lite.sdk.tool_metadata import write_tools_file

    with suppress(OSError, PromptflowException):
        flow = load_flow(source, include=False)
        if isinstance(flow, DagFlow):
            write_tools_file(flow)


def _save(args: Namespace) -> int:
    from promptflow_lite.sdk.flex_files import save_flow

    render.text(f"Saved flow to {save_flow(args.entry, args.code, path=args.path).parent}.")
    return 0


def _build(args: Namespace) -> int:
    from promptflow_lite.sdk.flow_build import build_docker, build_flow

    if args.format == "docker" and not args.flow_only:
        build_docker(args.source, args.output, variant=args.variant)
    else:
        build_flow(args.source, args.output, variant=args.variant)
    render.text(f"Built flow into {args.output}.")
    return 0


def _problem_to_json(problem: Any) -> dict[str, Any]:
    where = problem.where
    return {
        "message": problem.message,
        "path": problem.yaml_path,
        "value": problem.value,
        "location": f"{where.path}#line {where.line}" if where else None,
        "code": problem.code,
        "hint": problem.hint,
    }
