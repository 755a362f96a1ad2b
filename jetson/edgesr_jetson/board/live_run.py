"""A live run as its user sees it: opened, verified, run, reported."""

from __future__ import annotations

import argparse
import dataclasses
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .backend import Backend
from .contents import Bundle, Model
from .errors import BoardError
from .live import Live
from .live_output import LineWriter
from .live_setup import (
    Way,
    choose_way,
    describe,
    lines_of,
    make_plan,
    notices,
    open_live,
    plain_way,
)
from .live_source import Source
from .measure import Plan, idle_power
from .native import check_native, in_form, native_network
from .power import PowerMeter, energy
from .probe import temperatures
from .runner import Runner
from .trt import Say
from .verify import check


def run_live(
    bundle: Bundle,
    model: Model,
    backend: Backend,
    plan: Plan,
    options: argparse.Namespace,
    root: Path,
    result: dict[str, Any],
    say: Say,
) -> dict[str, Any]:
    """Fill ``result["models"]``, and return the report of the run.

    Raises:
        BoardError: the source, the model or the output cannot be used; no output is left then.
    """
    model = in_form(model, backend.as_bytes)
    with ExitStack() as stack:
        source = open_live(bundle, options)
        stack.callback(source.close)
        way = choose_way(bundle, model, source, options, backend.as_bytes)
        live_plan = make_plan(bundle, source, options)
        meter = stack.enter_context(PowerMeter(root, plan.power_interval_s))
        idle = idle_power(meter, plan.idle_s)
        network = _open(bundle, model, way, backend, source, options, say)
        stack.callback(network.runner.close)
        verify = check_native if network.way.native is True else check
        network.entry["verification"] = verify(bundle, model, network.runner)
        network.entry["status"] = "verified"
        if network.runner.one_size is not None:  # known only now
            one = dataclasses.replace(bundle, profile=bundle.profile.narrowed)
            live_plan = make_plan(one, source, options)
        result["models"] = [network.entry]
        numbers = network.way.numbers
        writer = None
        if options.write:
            kind = lines_of(bundle, source, numbers)
            writer = stack.enter_context(LineWriter(Path(options.write), kind))
        for line in notices(source, live_plan, numbers):
            say(line)
        run = Live(bundle, network.runner, source, numbers, live_plan, writer)
        say(f"{model.name}: verified; live from {source.name}, Ctrl-C ends it")
        before = temperatures(root)
        figures = run.run()
        report = figures.report(options.line_rate)
        if writer is not None:
            writer.finish(figures.received)
        per_line = (figures.ended - figures.began) / len(figures.spent)
        return {
            **describe(source, live_plan, network.way),
            **report,
            "power": energy(meter.between(figures.began, figures.ended), idle, per_line, "line"),
            "temperatures_c": {"start": before, "end": temperatures(root)},
        }


@dataclass(frozen=True)
class _Network:
    way: Way
    runner: Runner
    entry: dict[str, Any]


def _open(
    bundle: Bundle,
    model: Model,
    way: Way,
    backend: Backend,
    source: Source,
    options: argparse.Namespace,
    say: Say,
) -> _Network:
    """The native model where that is the way and the runtime takes it, else the plain one."""
    used = (bundle, model)
    if way.native is True:
        used = native_network(bundle, model)
    try:
        runner, engine = backend.open(*used)
    except BoardError as error:
        if way.native is not True:
            raise
        say(f"the native model of {model.name} is not used: {error}")
        plain = plain_way(bundle, source, options, str(error))
        return _open(bundle, model, plain, backend, source, options, say)
    entry = {
        "name": model.name,
        "precision": model.precision,
        "onnx_sha256": used[1].sha256,
        "engine": {**engine, **runner.describe()},
    }
    return _Network(way, runner, entry)
