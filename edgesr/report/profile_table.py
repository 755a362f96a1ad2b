"""Profiles on the console: one table a network, the slowest layers first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgesr.errors import shown
from edgesr.report.model import Profile, ProfiledNetwork, SkippedEntry
from edgesr.report.profiles import origin

MOST = 12
"""Layers of a table; the rest is summed up in one line."""


def render_profiles(
    profiles: Iterable[Profile], absent: Iterable[SkippedEntry], console: Console
) -> None:
    """Print every profiled network, and what could not be profiled."""
    for profile in profiles:
        for network in profile.networks:
            console.print()
            console.print(Text(shown(f"{network.name}, {profile.runtime}"), style="bold"))
            console.print(_table(network))
            for line in _below(network, profile):
                console.print(Text(shown(line), style="dim"))
    for one in absent:
        console.print(Text(shown(f"not profiled: {one.what}: {one.why}"), style="dim"))


def _table(network: ProfiledNetwork) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    table.add_column("Layer", overflow="fold")
    table.add_column("Comes from", overflow="fold")
    table.add_column("Type", no_wrap=True)
    for name in ("ms", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    whole = network.sum_ms or 1.0
    ranked = sorted(network.layers, key=lambda layer: -layer.ms)
    for layer in ranked[:MOST]:
        table.add_row(
            Text(shown(layer.layer)),
            Text(shown(origin(layer))),
            Text(shown(" ".join(filter(None, (layer.op, layer.precision))))),
            f"{layer.ms:.3f}",
            f"{layer.ms / whole:.1%}",
        )
    if rest := ranked[MOST:]:
        spent = sum(layer.ms for layer in rest)
        table.add_row(f"{len(rest)} others", "", "", f"{spent:.3f}", f"{spent / whole:.1%}")
    return table


def _below(network: ProfiledNetwork, profile: Profile) -> Iterator[str]:
    height, width = profile.input_shape[-2:]
    conditions = f"LR {height} x {width}, median of {profile.runs} runs"
    if network.whole_ms is not None:
        yield (
            f"sum of layers {network.sum_ms:.3f} ms, whole call without the profiler"
            f" {network.whole_ms:.3f} ms; {conditions}"
        )
    if network.memory_mb is not None:
        yield f"peak memory {network.memory_mb:.1f} MB"
    elif network.no_memory:
        yield f"peak memory not known: {network.no_memory}"
