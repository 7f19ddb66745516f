"""Labels scored by logits over a labelled file: evaluated tokens, rate against raw prefill, and against a loop.

python -m benchmarks.engine.choices sst2-dev.jsonl --threads 1
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.engine.common import (
    Timing,
    open_engine,
    open_llama,
    parser,
    read_rows,
    record_schedule,
    replay,
    report,
    timed,
    trie_size,
)

INSTRUCTIONS = (
    "Say whether the film review is positive or negative.",
    "Judge the sentiment of this sentence about a film. Answer with one word, positive or negative.",
)


def six_shots(instruction: str, rows: list[dict[str, Any]]) -> str:
    examples = "\n\n".join(f"Review: {row['text']}\nSentiment: {row['label']}" for row in rows)
    return f"{instruction}\n\n{examples}\n\nReview: "


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("data", help="JSONL with text and label.")
    options.add_argument("--rows", type=int, default=872)
    options.add_argument(
        "--loop-rows", type=int, default=48, help="Rows of the loop; its rate does not depend on them."
    )
    args = options.parse_args()
    rows = read_rows(args.data)
    heads = [six_shots(text, rows[-6 * (k + 1) : len(rows) - 6 * k]) for k, text in enumerate(INSTRUCTIONS)]
    rows = rows[: args.rows]
    engine = open_engine(args)

    def prompts(n_heads: int) -> list[list[int]]:
        texts = (f"{heads[k % n_heads]}{row['text']}\nSentiment:" for k, row in enumerate(rows))
        return [engine.model.tokenize(text) for text in texts]

    single = _score(engine, prompts(1), rows)
    both = _score(engine, prompts(2), rows)
    llama = open_llama(engine, args)
    loop = Timing()
    with timed(loop):
        for prompt in prompts(2)[: args.loop_rows]:
            llama.create_completion(prompt, max_tokens=2, temperature=0.0)
    scale = len(rows) / args.loop_rows
    report(
        "choices",
        rows=len(rows),
        loop_of=args.loop_rows,
        loop=loop.to_dict(),
        one_prompt={key: value for key, value in single.items() if key != "timing"},
        two_prompts={key: value for key, value in both.items() if key != "timing"},
        two_prompts_times_the_loop=both["timing"].ratio(loop, scale),
    )
    engine.close()


def _score(engine: Any, prompts: list[list[int]], rows: list[dict[str, Any]]) -> dict[str, Any]:
    plans = record_schedule(engine)
    before = engine.stats
    ours = Timing()
    with timed(ours), ThreadPoolExecutor(64) as pool:
        scores = list(pool.map(lambda prompt: engine.score_choices(prompt, [" negative", " positive"])[0], prompts))
    after = engine.stats
    right = sum(
        ("negative", "positive")[score[1] > score[0]] == row["label"] for score, row in zip(scores, rows, strict=True)
    )
    return {
        "timing": ours,
        "engine": ours.to_dict(),
        "fraction_of_raw_prefill": ours.ratio(replay(engine, plans)),
        "evaluated_tokens": after.evaluated_tokens - before.evaluated_tokens,
        "least_tokens": trie_size(prompts),
        "generated_tokens": after.generated_tokens - before.generated_tokens,
        "accuracy": round(right / len(rows), 3),
    }


if __name__ == "__main__":
    main()
