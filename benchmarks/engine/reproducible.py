"""Reproducible mode: byte-identical text alone, in batches, shuffled, cold and warm; and what it costs.

python -m benchmarks.engine.reproducible sst2-dev.jsonl --rows 200 --new 32
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.engine.common import Timing, open_engine, parser, read_rows, report, timed
from promptflow_lite.providers.local import LocalClient


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("data", help="JSONL with text.")
    options.add_argument("--rows", type=int, default=200)
    options.add_argument("--new", type=int, default=32)
    args = options.parse_args()
    rows = [row["text"] for row in read_rows(args.data)[: args.rows]]
    results: dict[str, Any] = {}
    reference: dict[int, str] | None = None
    cases = (("alone", 1, False, True), ("4 cold", 4, False, True), ("16 shuffled cold", 16, True, True))
    for name, n_together, is_shuffled, is_reproducible in (*cases, ("16 fast mode", 16, False, False)):
        engine = open_engine(args, reproducible=is_reproducible, max_rows=16, row_cells=512)
        for state in (name, f"{name}, warm")[: 2 if n_together == 16 and is_reproducible else 1]:
            timing = Timing()
            with timed(timing):
                texts = _answers(engine, rows, n_together, args.new, is_shuffled)
            reference = reference or texts
            different = sum(texts[index] != reference[index] for index in texts)
            results[state] = {"different": different, **timing.to_dict()}
        engine.close()
    fast, slow = results["16 fast mode"], results["16 shuffled cold"]
    cost = {kind: round(slow[f"{kind}_s"] / fast[f"{kind}_s"], 2) for kind in ("wall", "cpu")}
    report("reproducible", rows=len(rows), new_tokens=args.new, runs=results, cost_times_fast_mode=cost)


def _answers(engine: Any, rows: list[str], n_together: int, n_new: int, is_shuffled: bool) -> dict[int, str]:
    client = LocalClient(engine.path, engine.settings)
    client.engine = lambda _body=None: engine  # type: ignore[method-assign]
    order = list(range(len(rows)))
    if is_shuffled:
        random.Random(7).shuffle(order)
    system = "You continue film reviews in the same tone, in one or two plain sentences, without repeating them."

    def ask(index: int) -> str:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": rows[index]}]
        body = client.chat({"messages": messages, "temperature": 0, "max_tokens": n_new})
        return str(body["choices"][0]["message"]["content"])

    with ThreadPoolExecutor(n_together) as pool:
        return dict(zip(order, pool.map(ask, order), strict=True))


if __name__ == "__main__":
    main()
