"""Measure every model of a bundle that computes what it should."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from .backend import Backend
from .contents import Bundle, Model
from .errors import BoardError, absent
from .measure import Plan, idle_power, latency, sustained, throughput
from .native import check_native, in_form, native_network, why_no_native
from .power import PowerMeter
from .probe import temperatures
from .profile import profile
from .tiles import load_inputs
from .trt import Say
from .verify import check


def choose_models(bundle: Bundle, names: Sequence[str] | None) -> list[Model]:
    """Models by name, all of them where none is named; BoardError on an unknown name."""
    known = {model.name: model for model in bundle.models}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise BoardError(f"the bundle has no model {unknown[0]}; it has {', '.join(known)}")
    return [known[name] for name in names] if names else list(known.values())


def choose_tile(bundle: Bundle, size: tuple[int, int] | None) -> np.ndarray:
    """Real data [1, B, h, w] of the size to measure: a reference tile, repeated and cut.

    Raises:
        BoardError: the size is outside the bundle's range.
    """
    shape = bundle.profile.typical if size is None else (1, bundle.bands, *size)
    bundle.profile.require(shape)
    tile = load_inputs(bundle)[0]
    repeats = [1, 1, *(-(-want // have) for want, have in zip(shape[2:], tile.shape[2:]))]
    return np.ascontiguousarray(np.tile(tile, repeats)[:, :, : shape[2], : shape[3]])


def bench(
    bundle: Bundle,
    models: Sequence[Model],
    backend: Backend,
    tile: np.ndarray,
    plan: Plan,
    root: Path,
    say: Say,
    may_skip: bool = False,
    profiled: bool = False,
) -> list[dict[str, Any]]:
    """Verify, then measure, one model after the other; a failed one does not stop the others.

    With ``may_skip``, models that the runtime is known to get wrong are left out, with the reason;
    with ``profiled``, every layer is measured, too.

    Returns one entry a model, see ``result.schema.json``.
    """
    entries = []
    with PowerMeter(root, plan.power_interval_s) as meter:
        if meter.source is not None and plan.idle_s > 0:
            say(f"measuring the idle board for {plan.idle_s:g} s")
        idle = idle_power(meter, plan.idle_s)
        for model in models:
            reason = backend.reason_to_skip(model) if may_skip else None
            if reason is not None:
                say(f"{model.name}: skipped: {reason}")
                entries.append({**_head(model), "status": "skipped", "reason": reason})
                continue
            try:
                entries.append(
                    _measure(bundle, model, backend, tile, plan, meter, idle, root, say, profiled)
                )
            except BoardError as error:
                say(f"{model.name}: failed: {error}")
                entries.append({**_head(model), "status": "failed", "reason": str(error)})
    return entries


def _measure(
    bundle: Bundle,
    model: Model,
    backend: Backend,
    tile: np.ndarray,
    plan: Plan,
    meter: PowerMeter,
    idle: dict[str, Any],
    root: Path,
    say: Say,
    profiled: bool,
) -> dict[str, Any]:
    runner, engine = backend.open(bundle, model)
    try:
        verification = check(bundle, model, runner)
        native = _check_native(bundle, model, backend)
        say(f"{model.name}: verified on {verification['tiles']} tiles; measuring")
        before = temperatures(root)
        timing = latency(runner, tile, plan)
        run, power = sustained(runner, tile, plan, meter, idle)
        return {
            **_head(model),
            "status": "verified",
            "engine": {**engine, **runner.describe()},
            "verification": verification,
            "native": native,
            "latency_ms": timing,
            "throughput": throughput(
                timing["with_transfers"]["median"] / 1e3, tile.shape, bundle.scale
            ),
            "sustained": run,
            "power": power,
            "temperatures_c": {"start": before, "end": temperatures(root)},
            "memory": {"host_peak_mb": host_peak_mb(), "device": runner.memory()},
            **({"profile": profile(runner, tile, model.read())} if profiled else {}),
        }
    finally:
        runner.close()


def _check_native(bundle: Bundle, model: Model, backend: Backend) -> dict[str, Any]:
    """Verify the native model, too, where there is one in the form that the runtime takes."""
    model = in_form(model, backend.as_bytes)
    reason = why_no_native(model, backend.as_bytes)
    if reason is not None:
        return absent(reason)
    try:
        runner, engine = backend.open(*native_network(bundle, model))
    except BoardError as error:  # an old TensorRT, say; the plain model was verified
        return absent(str(error))
    try:
        return {"engine": engine, "verification": check_native(bundle, model, runner)}
    finally:
        runner.close()


def host_peak_mb() -> float:
    """Largest resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024.0 if sys.platform.startswith("linux") else 1024.0**2), 1)


def _head(model: Model) -> dict[str, Any]:
    return {"name": model.name, "precision": model.precision, "onnx_sha256": model.sha256}
