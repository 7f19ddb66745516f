"""What a loaded engine is told once: pool sizes, threads, devices and mode."""

from __future__ import annotations

from dataclasses import dataclass

EMBEDDING_TOKENS = 2048
"""Most tokens of one text to embed: it is computed in one pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Settings of one engine; equal settings on the same model file share one engine.

    The defaults are measured for a CPU: flash attention is slower there with a unified cache, and steps above
    128 tokens are not faster, only less responsive.
    """

    n_cells: int = 0
    """KV cells of the whole pool, shared by all rows and cached prefixes; 0 chooses by model and memory."""
    row_cells: int = 0
    """In reproducible mode the cells of each row's stream; 0 takes 2048, or the model's context if that is shorter."""
    max_rows: int = 16
    """Rows that generate together."""
    n_cached: int = 16
    """Finished prompts kept as starting points for later ones."""
    step_tokens: int = 128
    """Most tokens one decode call takes; bounds how long running rows wait for a neighbour's prefill."""
    idle_cells: int = 384
    """Cells that tails used once so far may keep; every kept cell slows attention for all rows."""
    max_waiting: int = 4096
    """Rows that may wait before new ones are refused."""
    weights: str = "auto"
    """`auto` rewrites weights once, without changing them, where a processor multiplies them faster; `file` never."""
    n_threads: int = 0
    """Threads of the C library in every step; 0 takes up to every core this process may use, by what was faster."""
    n_gpu_layers: int = 0
    """Layers placed on a GPU, -1 for all; needs a library built for one."""
    flash_attention: bool = False
    reproducible: bool = False
    """An answer depends on its own request only, not on its neighbours or on what is cached."""
    seed: int = 0
    """Seed of requests without one in reproducible mode; otherwise such requests draw a fresh seed."""
    default_max_tokens: int = 512
    """New tokens of a request that sets no limit; an answer cut there says `length`."""
