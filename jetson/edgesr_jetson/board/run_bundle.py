"""From a checked bundle to the figures, for measuring and for live use."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .backend import choose
from .bench import bench, choose_models, choose_tile
from .contents import Bundle
from .errors import BoardError, is_absent
from .live_run import run_live
from .measure import Plan
from .outputs import ENGINES
from .probe import clocks
from .profile import require_profiles
from .tiles import check_references
from .trt import Say
from .trt_build import BuildSettings


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
        if options.models and len(models) > 1:
            raise BoardError(f"--live runs one model, got {', '.join(options.models)}; name one")
        result["live"] = run_live(bundle, models[0], backend, plan, options, root, result, say)
    result["board"]["clocks_at_end"] = clocks(root)
    require_profiles(result["models"])
