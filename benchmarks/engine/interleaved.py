"""Two long prompts, interleaved rows: the engine, the usual loop, and the floor of the same decode calls.

python -m benchmarks.engine.interleaved --threads 1
"""

from __future__ import annotations

from benchmarks.engine.common import (
    GREEDY,
    Timing,
    drain,
    open_engine,
    open_llama,
    parser,
    record_schedule,
    replay,
    report,
    timed,
    trie_size,
    words,
)
from promptflow_lite.engine import Generation


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--rows", type=int, default=64, help="Rows of each prompt.")
    options.add_argument("--prefix", type=int, default=600)
    options.add_argument("--tail", type=int, default=33)
    options.add_argument("--new", type=int, default=16)
    options.add_argument(
        "--loop-rows", type=int, default=6, help="Requests of the loop; its rate does not depend on them."
    )
    options.add_argument("--no-floor", action="store_true", help="Leave the replay out.")
    args = options.parse_args()

    engine = open_engine(args)
    prefixes = [words(engine, args.prefix, seed) for seed in (1, 2)]
    prompts = [prefixes[row % 2] + words(engine, args.tail, 100 + row) for row in range(2 * args.rows)]
    drain(engine, [Generation(tokens=[5, 6, 7], sampling=GREEDY, max_tokens=2)])
    llama = open_llama(engine, args)

    loop = Timing()
    with timed(loop):
        for prompt in prompts[: args.loop_rows // 2]:
            llama.create_completion(prompt, max_tokens=args.new, temperature=0.0)
    plans = record_schedule(engine)
    before = engine.stats
    ours = Timing()
    with timed(ours):
        drain(engine, [Generation(tokens=prompt, sampling=GREEDY, max_tokens=args.new) for prompt in prompts])
    after = engine.stats
    floor = Timing() if args.no_floor else replay(engine, plans)
    with timed(loop):
        for prompt in prompts[args.loop_rows // 2 : args.loop_rows]:
            llama.create_completion(prompt, max_tokens=args.new, temperature=0.0)

    report(
        "interleaved",
        requests=len(prompts),
        engine=ours.to_dict(),
        floor=floor.to_dict(),
        loop_of=args.loop_rows,
        loop=loop.to_dict(),
        times_the_loop=ours.ratio(loop, len(prompts) / args.loop_rows),
        fraction_of_floor=None if args.no_floor else ours.ratio(floor),
        prompt_tokens_evaluated=after.evaluated_tokens - before.evaluated_tokens - _decoded(before, after, prompts),
        prompt_tokens_least=trie_size(prompts),
    )
    engine.close()


def _decoded(before: object, after: object, prompts: list[list[int]]) -> int:
    """Generated tokens that were fed back: all but each row's last."""
    generated = after.generated_tokens - before.generated_tokens  # type: ignore[attr-defined]
    return int(generated - len(prompts))


if __name__ == "__main__":
    main()
