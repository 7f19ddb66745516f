"""Short prompts, long answers: eight rows together against one at a time, on the same engine.

python -m benchmarks.engine.generation --threads 1
"""

from __future__ import annotations

import statistics

from benchmarks.engine.common import Timing, drain, open_engine, parser, report, timed, words
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
    ratios = []
    for repeat in range(args.repeats):
        single, together = Timing(), Timing()
        with timed(single):
            for request in requests(2 * repeat)[: max(args.rows // 4, 1)]:
                drain(engine, [request])
        with timed(together):
            drain(engine, requests(2 * repeat + 1))
        ratios.append(together.ratio(single, args.rows / max(args.rows // 4, 1)))
    report(
        "generation",
        rows=args.rows,
        new_tokens=args.new,
        times_one_at_a_time={kind: statistics.median(ratio[kind] for ratio in ratios) for kind in ("wall", "cpu")},
        all=ratios,
    )
    engine.close()


if __name__ == "__main__":
    main()
