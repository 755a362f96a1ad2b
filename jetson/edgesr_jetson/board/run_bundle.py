"""From a checked bundle to the figures, for measuring and for live use."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .backend import Backend, choose
from .bench import bench, choose_models, choose_tile
from .contents import Bundle, Model
from .errors import BoardError, is_absent
from .live import LivePlan, live
from .live_output import LineWriter
from .live_source import choose_normalisation, open_source
from .measure import Plan, idle_power
from .outputs import ENGINES
from .power import PowerMeter
from .probe import clocks, temperatures
from .profile import require_profiles
from .tiles import check_references
from .trt import Say
from .trt_build import BuildSettings
from .verify import check


def run(
    bundle: Bundle,
    options: argparse.Namespace,
    root: Path,
    result: dict[str, Any],
    say: Say,
) -> None:
    """Fill ``result`` with ``runtime``, ``models`` and ``live``.

    Raises:
        BoardError: nothing could be measured; what is in ``result`` by then stays true.
    """
    check_references(bundle)
    models = choose_models(bundle, options.models)
    settings = BuildSettings(options.workspace, options.tf32)
    engines = Path(options.engines) if options.engines else bundle.folder / ENGINES
    l4t = result["board"]["l4t"]
    backend, passed_over = choose(
        options.runtime, engines, None if is_absent(l4t) else l4t, settings, options.threads, say
    )
    result["runtime"] = {**backend.describe(), "tensorrt_not_used_because": passed_over}
    if passed_over and options.runtime == "auto":
        say(f"onnxruntime is used: {passed_over}")
    plan = Plan(
        options.warmup, options.repeats, options.duration, options.idle, options.power_interval
    )
    if options.live is None:
        tile = choose_tile(bundle, options.tile)
        result["models"] = bench(
            bundle,
            models,
            backend,
            tile,
            plan,
            root,
            say,
            may_skip=not options.models,
            profiled=options.profile,
        )
    else:
        result["live"] = _live(bundle, models, backend, plan, options, root, result, say)
    result["board"]["clocks_at_end"] = clocks(root)
    require_profiles(result["models"])


def _live(
    bundle: Bundle,
    models: list[Model],
    backend: Backend,
    plan: Plan,
    options: argparse.Namespace,
    root: Path,
    result: dict[str, Any],
    say: Say,
) -> dict[str, Any]:
    if options.models and len(models) > 1:
        raise BoardError(f"--live runs one model, got {', '.join(options.models)}; name one")
    model = models[0]
    source = open_source(options.live, bundle.bands, options.width, options.dtype, options.layout)
    normalisation = choose_normalisation(bundle, source.dtype, options.normalised)
    block_lines = options.block_lines or bundle.profile.typical[2]
    live_plan = LivePlan(
        options.line_rate, block_lines, options.context, options.queue, options.lines
    )
    with ExitStack() as stack:
        meter = stack.enter_context(PowerMeter(root, plan.power_interval_s))
        idle = idle_power(meter, plan.idle_s)
        runner, engine = backend.open(bundle, model)
        stack.callback(runner.close)
        verification = check(bundle, model, runner)
        result["models"] = [
            {
                "name": model.name,
                "precision": model.precision,
                "onnx_sha256": model.sha256,
                "status": "verified",
                "engine": {**engine, **runner.describe()},
                "verification": verification,
            }
        ]
        writer = None
        if options.write:
            width = source.width * bundle.scale
            writer = stack.enter_context(
                LineWriter(Path(options.write), bundle.bands, width, bundle.scale)
            )
        say(f"{model.name}: verified; live from {source.name}, Ctrl-C ends it")
        before = temperatures(root)
        report = live(bundle, runner, source, normalisation, live_plan, meter, idle, writer)
        return {**report, "temperatures_c": {"start": before, "end": temperatures(root)}}
