"""Short prompts, long answers: rows together, one at a time on the same engine, and in the usual loop.

python -m benchmarks.engine.generation --threads 1
"""

from __future__ import annotations

import statistics

from benchmarks.engine.common import Timing, drain, open_engine, open_llama, parser, report, timed, words
from promptflow_lite.engine import Generation
from promptflow_lite.engine.sampling import SamplingSettings


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--rows", type=int, default=8)
    options.add_argument("--new", type=int, default=128)
    options.add_argument("--repeats", type=int, default=3)
    args = options.parse_args()
    engine = open_engine(args)
    endless = SamplingSettings(temperature=0.0, logit_bias=tuple((token, -100.0) for token in engine.model.end_tokens))

    def requests(repeat: int) -> list[Generation]:
        prompts = [words(engine, 8, 1000 * repeat + row) for row in range(args.rows)]
        return [Generation(tokens=prompt, sampling=endless, max_tokens=args.new) for prompt in prompts]

    drain(engine, requests(99)[:1])
    llama = open_llama(engine, args)
    endless_map = {str(token): -100.0 for token in engine.model.end_tokens}
    n_single = max(args.rows // 4, 1)
    scale = args.rows / n_single
    ratios = []
    for repeat in range(args.repeats):
        single, together, loop = Timing(), Timing(), Timing()
        with timed(single):
            for request in requests(3 * repeat)[:n_single]:
                drain(engine, [request])
        with timed(loop):
            for request in requests(3 * repeat + 2)[:n_single]:
                llama.create_completion(
                    list(request.tokens), max_tokens=args.new, temperature=0.0, logit_bias=endless_map
                )
        with timed(together):
            drain(engine, requests(3 * repeat + 1))
        ratios.append({"single": together.ratio(single, scale), "loop": together.ratio(loop, scale)})
    report(
        "generation",
        rows=args.rows,
        new_tokens=args.new,
        times_one_at_a_time=_medians(ratios, "single"),
        times_the_loop=_medians(ratios, "loop"),
        all=ratios,
    )
    engine.close()


def _medians(ratios: list[dict[str, dict[str, float]]], name: str) -> dict[str, float]:
    return {kind: statistics.median(ratio[name][kind] for ratio in ratios) for kind in ("wall", "cpu")}


if __name__ == "__main__":
    main()
