"""`pfl model`: local models, what they are, fetching, trying, measuring and serving them."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from promptflow_lite.cli import render

if TYPE_CHECKING:
    from promptflow_lite.sdk.models import ModelOperations

_COLUMNS = {
    "name": lambda item: item["name"],
    "architecture": lambda item: item["architecture"],
    "parameters": lambda item: f"{item['parameters'] / 1e6:.0f}M" if item["parameters"] else None,
    "quantisation": lambda item: item["quantisation"],
    "context": lambda item: item["context"],
    "size": lambda item: f"{item['size_bytes'] / (1 << 20):.0f} MiB" if item["size_bytes"] else None,
    "licence": lambda item: item["licence"],
    "fit": lambda item: item["fit"],
    "source": lambda item: item["source"],
}
_BENCH_COLUMNS = {
    "rows together": lambda item: item["rows"],
    "prompt tokens/s": lambda item: item["prompt_tokens_per_s"],
    "generated tokens/s": lambda item: item["generated_tokens_per_s"],
}


def register(groups: Any) -> None:
    """Add the group to the command line."""
    verbs = groups.add_parser("model", help="Local models: list, download, try").add_subparsers(metavar="<verb>")
    _register_looking(verbs)
    _register_changing(verbs)
    _register_using(verbs)


def _register_looking(verbs: Any) -> None:
    listing = verbs.add_parser("list", help="Models that are here, or that an endpoint offers")
    listing.add_argument("--connection", help="List the models of this stored connection's endpoint instead.")
    listing.add_argument("-o", "--output", choices=("json", "table"))
    listing.set_defaults(handler=_list)

    search = verbs.add_parser("search", help="Find models by name")
    search.add_argument("text")
    search.add_argument("--hub", action="store_true", help="Ask the model hub too (network).")
    search.set_defaults(handler=_search)

    show = verbs.add_parser("show", help="A model's card, out of its file's header")
    show.add_argument("name", nargs="?", help="A name or a GGUF file; the default model without.")
    show.set_defaults(handler=_show)


def _register_changing(verbs: Any) -> None:
    pull = verbs.add_parser(
        "pull",
        help="Fetch a model",
        description="Fetch a bundled model by its name, or a GGUF file of a hub repository; downloads resume.",
        epilog="Example: pfl model pull bartowski/SmolLM2-360M-Instruct-GGUF --file '*Q4_K_M.gguf'",
    )
    pull.add_argument("wanted", metavar="NAME|OWNER/REPOSITORY")
    pull.add_argument("--file", help="Name or pattern of the file, when the repository has several.")
    pull.add_argument("-n", "--name", help="Name to keep it under.")
    pull.set_defaults(handler=_pull)

    add = verbs.add_parser("add", help="Register a GGUF file where it lies")
    add.add_argument("path")
    add.add_argument("-n", "--name")
    add.set_defaults(handler=_add)

    remove = verbs.add_parser("remove", help="Forget a model; a downloaded file is deleted")
    remove.add_argument("name")
    remove.add_argument("--keep-file", action="store_true")
    remove.set_defaults(handler=_remove)

    alias = verbs.add_parser("alias", help="Give a model a second name")
    alias.add_argument("alias")
    alias.add_argument("name")
    alias.set_defaults(handler=_alias)


def _register_using(verbs: Any) -> None:
    run = verbs.add_parser("run", help="Ask a model one question")
    run.add_argument("prompt")
    run.add_argument("-n", "--name", help="A model; the default one without.")
    run.add_argument("--max-tokens", type=int, default=256)
    run.add_argument("--temperature", type=float, default=0.7)
    run.add_argument("--seed", type=int)
    run.set_defaults(handler=_run)

    bench = verbs.add_parser("bench", help="Measure prompt and generation speed")
    bench.add_argument("name", nargs="?")
    bench.add_argument("--rows", type=int, nargs="+", default=[1, 4, 16], help="Rows together.")
    bench.add_argument("-o", "--output", choices=("json", "table"))
    bench.set_defaults(handler=_bench)

    serve = verbs.add_parser(
        "serve",
        help="Serve a model with the OpenAI API",
        description="Serve a model with the OpenAI API, so that several processes share one warm model.",
        epilog="Example: pfl model serve --port 8080, then use http://127.0.0.1:8080/v1 as base_url.",
    )
    serve.add_argument("name", nargs="?")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=8080)
    serve.add_argument(
        "--key-env", default="PFL_MODEL_KEYS", help="Environment variable with allowed keys, comma apart."
    )
    serve.add_argument("--max-requests", type=int, default=256, help="Requests at a time before others are refused.")
    serve.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS")
    serve.set_defaults(handler=_serve)


def _operations() -> ModelOperations:
    from promptflow_lite.sdk.models import ModelOperations

    return ModelOperations()


def _list(args: Namespace) -> int:
    if args.connection:
        from promptflow_lite.sdk.client import Client

        render.json(Client().models.list_endpoint(args.connection))
        return 0

    render.records([card.to_dict() for card in _operations().list()], _COLUMNS, output=args.output)
    return 0


def _search(args: Namespace) -> int:
    render.json(_operations().search(args.text, hub=args.hub))
    return 0


def _show(args: Namespace) -> int:
    from promptflow_lite.sdk.client import Client

    render.json(Client().models.show(args.name).to_dict())
    return 0


def _pull(args: Namespace) -> int:
    render.json(_operations().pull(args.wanted, file=args.file, name=args.name).to_dict())
    return 0


def _add(args: Namespace) -> int:
    render.json(_operations().add(args.path, args.name).to_dict())
    return 0


def _remove(args: Namespace) -> int:
    is_deleted = _operations().remove(args.name, keep_file=args.keep_file)
    render.json({"removed": args.name, "file_deleted": is_deleted})
    return 0


def _alias(args: Namespace) -> int:
    _operations().alias(args.alias, args.name)
    render.json({"alias": args.alias, "name": args.name})
    return 0


def _run(args: Namespace) -> int:
    options = {"max_tokens": args.max_tokens, "temperature": args.temperature}
    if args.seed is not None:
        options["seed"] = args.seed
    for part in _operations().run(args.prompt, args.name, **options):
        render.text(part, end="", flush=True)
    render.text()
    return 0


def _bench(args: Namespace) -> int:
    measured = list(_operations().bench(args.name, batch_sizes=args.rows))
    render.records(measured, _BENCH_COLUMNS, output=args.output)
    return 0


def _serve(args: Namespace) -> int:
    from promptflow_lite.sdk.model_server import serve_model

    render.note(f"Serving on http://{args.host}:{args.port}/v1; stop with Ctrl-C.")
    serve_model(
        args.name,
        host=args.host,
        port=args.port,
        key_variable=args.key_env,
        max_requests=args.max_requests,
        timeout_s=args.timeout,
    )
    return 0
