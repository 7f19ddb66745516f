"""`pfl monitor`: how served flows are doing, and what to learn from them."""

from __future__ import annotations

import argparse
import time
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptflow_lite._utils.clock import iso_utc
from promptflow_lite.cli import render
from promptflow_lite.cli.arguments import parse_pairs
from promptflow_lite.cli.endpoint import parse_seconds

if TYPE_CHECKING:
    from promptflow_lite.monitoring import Evaluator
    from promptflow_lite.sdk.client import Client

_EPILOG = """\
examples:
  pfl monitor stats -n support --last 1h
  pfl monitor watch -n support --evaluator quality=my_module:Judge --sample 0.1 --alert 'error_rate > 5% over 10m'
  pfl monitor verdict -n support --deployments v1 v2 --metric quality
  pfl monitor export -n support --out worst.jsonl --metric quality --below 0.5"""


def register(groups: Any) -> None:
    """Add the group to the command line."""
    group = groups.add_parser(
        "monitor", help="Watch served flows", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = group.add_subparsers(metavar="<verb>")
    _verb(verbs, "stats", "Requests, latency, errors, tokens and cost per deployment", _stats, has_output=True)
    _register_judging(verbs)

    drift = _verb(verbs, "drift", "How inputs and outputs moved from a reference run", _drift, has_output=True)
    drift.add_argument("--run", required=True, help="The reference run.")
    drift.add_argument("--embed", nargs="?", const="", metavar="MODEL", help="Also compare embeddings of texts.")
    drift.add_argument("--connection", help="Connection of the embedding model (default: the default model).")

    _verb(verbs, "alerts", "Alerts that were given", _alerts, has_output=True)
    export = _verb(verbs, "export", "Failing, disliked or low-scoring requests as a data set", _export)
    export.add_argument("--out", required=True, metavar="FILE", help="JSONL file to write.")
    export.add_argument("--deployment")
    export.add_argument("--metric", help="Also take requests that score low in this metric.")
    export.add_argument("--below", type=float, help="What low means.")

    save = _verb(verbs, "save-run", "Store a deployment's requests as a run, for compare and gate", _save_run)
    save.add_argument("--deployment", required=True)
    save.add_argument("--run", required=True, help="Name of the new run.")
    save.add_argument("--beside", metavar="DEPLOYMENT", help="Only requests that this one ran too, numbered alike.")


def _register_judging(verbs: Any) -> None:
    for name, text, handler in (
        ("evaluate", "Judge a sample of recorded requests now", _evaluate),
        ("watch", "Judge samples and check rules on a schedule, until stopped", _watch),
    ):
        verb = _verb(verbs, name, text, handler)
        verb.add_argument(
            "--evaluator",
            nargs="+",
            action="extend",
            default=[],
            metavar="NAME=TARGET",
            help="exact_match, contains, f1, edit_similarity, module:attribute, or the folder of an evaluation flow.",
        )
        verb.add_argument(
            "--mapping", nargs="+", metavar="PARAM=${outputs.x}", help="Where evaluators' parameters come from."
        )
        verb.add_argument("--sample", type=float, default=1.0 if name == "evaluate" else 0.1, help="Share to judge.")
        if name == "watch":
            verb.add_argument("--alert", nargs="+", action="extend", default=[], metavar="RULE")
            verb.add_argument(
                "--to", nargs="+", default=["log"], metavar="log|URL|mailto:…", help="Whom to tell (log)."
            )
            verb.add_argument("--every", default="60s", metavar="TIME", help="How often to look (60s).")
            verb.add_argument("--once", action="store_true", help="Look once and stop.")

    _verb(verbs, "scores", "What evaluators said, per deployment, with intervals", _scores, has_output=True)
    verdict = _verb(verbs, "verdict", "Compare two deployments on the requests both ran", _verdict)
    verdict.add_argument("--deployments", nargs=2, required=True, metavar=("A", "B"))
    verdict.add_argument("--metric", required=True)


def _verb(verbs: Any, name: str, text: str, handler: Any, *, has_output: bool = False) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=text)
    verb.add_argument("-n", "--name", required=True, help="Endpoint.")
    verb.add_argument("--last", metavar="TIME", help="Only this far back: 30m, 24h, 7d (default: everything).")
    if has_output:
        verb.add_argument("-o", "--output", choices=("json", "table"))

    verb.set_defaults(handler=handler)
    return verb


def _client() -> Client:
    from promptflow_lite.sdk.client import Client

    return Client()


def _since(args: Namespace) -> float | None:
    return time.time() - parse_seconds(args.last) if args.last else None


def _stats(args: Namespace) -> int:
    from promptflow_lite.monitoring import summarize_traffic

    records = _client().store.requests.list(args.name, since=_since(args), limit=None)
    columns = {
        "deployment": lambda item: item["deployment"] + (" (shadow)" if item["is_shadow"] else ""),
        "requests": lambda item: item["n"],
        "failed": lambda item: f"{item['error_rate']:.1%}",
        "p50 ms": lambda item: _rounded(item["p50_ms"]),
        "p95 ms": lambda item: _rounded(item["p95_ms"]),
        "p99 ms": lambda item: _rounded(item["p99_ms"]),
        "first token p50": lambda item: _rounded(item["first_token_p50_ms"]),
        "tokens": lambda item: item["prompt_tokens"] + item["completion_tokens"],
        "cost": lambda item: _rounded(item["cost"]),
    }
    render.records([asdict(item) for item in summarize_traffic(records)], columns, output=args.output)
    return 0


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _evaluators(args: Namespace, client: Client) -> list[Evaluator]:
    from promptflow_lite.monitoring import load_evaluator

    mapping = parse_pairs(args.mapping, "--mapping")
    targets = parse_pairs(args.evaluator, "--evaluator")
    return [
        load_evaluator(name, target, mapping=mapping, connections=client.connections)
        for name, target in targets.items()
    ]


def _evaluate(args: Namespace) -> int:
    from promptflow_lite.monitoring import judge_endpoint, summarize_scores

    client = _client()
    for evaluator in _evaluators(args, client):
        judge_endpoint(client.store, args.name, evaluator, fraction=args.sample, since=_since(args))
    scores = client.store.requests.scores(args.name, since=_since(args))
    render.json([asdict(item) for item in summarize_scores(scores)])
    return 0


def _watch(args: Namespace) -> int:
    import threading

    from promptflow_lite.monitoring import AlertBook, Watch, WatchSettings, channels_from, parse_rule

    client = _client()
    rules = [parse_rule(text) for text in args.alert]
    book = AlertBook(args.name, rules, channels_from(args.to), on_alert=client.store.requests.add_alert)
    window_s = parse_seconds(args.last) if args.last else WatchSettings().window_s
    settings = WatchSettings(fraction=args.sample, interval_s=parse_seconds(args.every), window_s=window_s)
    watch = Watch(client.store, args.name, evaluators=_evaluators(args, client), alerts=book, settings=settings)
    if args.once:
        found = watch.look()
        render.json({"judged": found.n_judged, "alerts": [asdict(alert) for alert in found.alerts]})
        return 0

    watch.run(threading.Event())
    return 0


def _scores(args: Namespace) -> int:
    from promptflow_lite.monitoring import summarize_scores

    scores = _client().store.requests.scores(args.name, since=_since(args))
    columns = {
        "deployment": lambda item: item["deployment"] + (" (shadow)" if item["is_shadow"] else ""),
        "metric": lambda item: item["metric"],
        "n": lambda item: item["n"],
        "mean": lambda item: _rounded(item["mean"]),
        "95 %": lambda item: _interval(item["interval"]),
        "failed": lambda item: item["n_failed"],
    }
    render.records([asdict(item) for item in summarize_scores(scores)], columns, output=args.output)
    return 0


def _interval(interval: dict[str, Any] | None) -> str:
    return "" if interval is None else f"{interval['low']:.3f} … {interval['high']:.3f}"


def _verdict(args: Namespace) -> int:
    from promptflow_lite.monitoring import compare_deployments

    a, b = args.deployments
    scores = _client().store.requests.scores(args.name, since=_since(args))
    render.json(asdict(compare_deployments(scores, a, b, args.metric)))
    return 0


def _drift(args: Namespace) -> int:
    from promptflow_lite.monitoring import drift_against_run
    from promptflow_lite.monitoring.embedding import embedder

    client = _client()
    embed = None
    if args.embed is not None:
        connection = client.connections.get(args.connection) if args.connection else None
        embed = embedder(model=args.embed or None, connection=connection)

    found = drift_against_run(client.store, args.name, args.run, since=_since(args), embed=embed)
    columns = {
        "field": lambda item: item["field"],
        "kind": lambda item: item["kind"],
        "n": lambda item: f"{item['n_window']} / {item['n_reference']}",
        "PSI": lambda item: _rounded(item["psi"]),
        "KS": lambda item: _rounded(item["ks"]),
        "distance": lambda item: _rounded(item["distance"]),
        "p": lambda item: None if item["p_value"] is None else f"{item['p_value']:.2g}",
        "verdict": lambda item: item["verdict"],
    }
    render.records([asdict(item) for item in found], columns, output=args.output)
    return 0


def _alerts(args: Namespace) -> int:
    found = _client().store.requests.alerts(args.name)
    columns = {
        "time": lambda item: iso_utc(item["at"]),
        "state": lambda item: item["state"],
        "rule": lambda item: item["rule"],
        "value": lambda item: _rounded(item["value"]),
    }
    render.records([asdict(item) for item in found], columns, output=args.output)
    return 0


def _export(args: Namespace) -> int:
    from promptflow_lite.monitoring import data_rows, worst_requests, write_rows

    found = worst_requests(
        _client().store,
        args.name,
        deployment=args.deployment,
        since=_since(args),
        metric=args.metric,
        below=args.below,
    )
    n = write_rows(data_rows(found), Path(args.out))
    render.note(f"{n} rows written to {args.out}.")
    return 0


def _save_run(args: Namespace) -> int:
    from promptflow_lite.monitoring import save_as_run

    n = save_as_run(_client().store, args.name, args.deployment, args.run, beside=args.beside, since=_since(args))
    render.note(f"Run {args.run} holds {n} requests.")
    return 0
