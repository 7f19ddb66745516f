"""What this machine has: cores, vector instructions, memory."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

_INSTRUCTIONS = (
    "avx",
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "f16c",
    "fma",
    "asimd",
    "sve",
    "i8mm",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Facts that decide how fast a local model runs."""

    system: str
    processor: str
    cores_usable: int
    """Cores this process may run on."""
    cores_total: int
    instructions: tuple[str, ...]
    memory_bytes: int
    memory_available_bytes: int
    load: float | None
    """Processes that want a core, averaged over a minute."""


def describe_machine() -> Machine:
    """Read the facts from the operating system."""
    cpu = _proc_values("/proc/cpuinfo")
    flags = set((cpu.get("flags") or cpu.get("Features") or "").split())
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        processor=cpu.get("model name") or platform.processor(),
        cores_usable=usable,
        cores_total=os.cpu_count() or 1,
        instructions=tuple(name for name in _INSTRUCTIONS if name in flags),
        memory_bytes=_memory("MemTotal"),
        memory_available_bytes=available_memory_bytes(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def available_memory_bytes() -> int:
    """Memory that new work can have without swapping."""
    return _memory("MemAvailable")


def _memory(name: str) -> int:
    text = _proc_values("/proc/meminfo").get(name, "")
    if text.endswith(" kB"):
        return int(text[:-3]) * 1024

    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    return 8 << 30


def _proc_values(path: str) -> dict[str, str]:
    """The first value of each `name: value` line; empty on systems without such files."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}

    values: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            values.setdefault(name.strip(), value.strip())
    return values
