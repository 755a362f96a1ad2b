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
from .live import Live
from .live_output import LineWriter
from .live_setup import choose_way, describe, lines_of, make_plan, notices, open_live
from .measure import Plan, idle_power
from .native import check_native, native_network
from .outputs import ENGINES
from .power import PowerMeter, energy
from .probe import clocks, temperatures
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
            bundle, models, backend, tile, plan, root, say, may_skip=not options.models
        )
    else:
        result["live"] = _live(bundle, models, backend, plan, options, root, result, say)
    result["board"]["clocks_at_end"] = clocks(root)


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
    with ExitStack() as stack:
        source = open_live(bundle, options)
        stack.callback(source.close)
        way = choose_way(bundle, model, source, options, backend.as_bytes)
        live_plan = make_plan(bundle, source, options)
        meter = stack.enter_context(PowerMeter(root, plan.power_interval_s))
        idle = idle_power(meter, plan.idle_s)
        is_native = way.native is True
        used = native_network(bundle, model) if is_native else (bundle, model)
        runner, engine = backend.open(*used)
        stack.callback(runner.close)
        verification = (check_native if is_native else check)(bundle, model, runner)
        result["models"] = [
            {
                "name": model.name,
                "precision": model.precision,
                "onnx_sha256": used[1].sha256,
                "status": "verified",
                "engine": {**engine, **runner.describe()},
                "verification": verification,
            }
        ]
        writer = None
        if options.write:
            kind = lines_of(bundle, source, way.numbers, options.normalised)
            writer = stack.enter_context(LineWriter(Path(options.write), kind))
        for line in notices(bundle, source, live_plan, way):
            say(line)
        run = Live(used[0], runner, source, way.numbers, live_plan, writer)
        say(f"{model.name}: verified; live from {source.name}, Ctrl-C ends it")
        before = temperatures(root)
        figures = run.run()
        report = figures.report(options.line_rate)
        if writer is not None:
            writer.finish(figures.received)
        between = meter.between(figures.began, figures.ended)
        per_line = (figures.ended - figures.began) / len(figures.spent)
        return {
            **describe(source, live_plan, way),
            **report,
            "power": energy(between, idle, per_line, "line"),
            "temperatures_c": {"start": before, "end": temperatures(root)},
        }
