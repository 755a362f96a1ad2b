"""Build an engine from a typed ONNX file, and prove that it is what was asked for.

::

    typed ONNX -> checked -> parsed -> built -> precision read back -> engine + side file

Nothing is written before the last arrow, so a failure leaves what was there. Where TensorRT builds
no engine for a range of sizes, as of networks that compute a size from others, one is built for the
size that it would be tuned for, and the side file says why.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import onnx

from edgesr_export.card import read_card
from edgesr_export.errors import ExportError
from edgesr_export.fp16 import kept_nodes
from edgesr_export.model_file import file_hash, load_model, write_together
from edgesr_export.tensorrt import inspector, timing
from edgesr_export.tensorrt.api import Api, Capability, capability_text, find_api, parse_capability
from edgesr_export.tensorrt.cuda import Device, find_device
from edgesr_export.tensorrt.inspector import EngineLayer
from edgesr_export.tensorrt.messages import (
    Messages,
    complaint,
    logger,
    reason,
    record,
    silent_stderr,
)
from edgesr_export.tensorrt.profile import Range, Shape, checked_profile, model_inputs
from edgesr_export.tensorrt.progress import Interrupt, line_on_stderr, make_monitor
from edgesr_export.tensorrt.refusal import parser_error, refuse
from edgesr_export.tensorrt.requested import check_expected, name_nodes, requested
from edgesr_export.tensorrt.sidecar import SideFile, sha256, side_path
from edgesr_export.tensorrt.weakly_typed import constrain


@dataclass(frozen=True)
class Settings:
    """How an engine is built, beside what for.

    Attributes:
        memory_limit: bytes that the engine may use beside its weights; None for no limit.
        timing_cache: folder of timings that builds share; each device has its file there.
        library: "tensorrt" or "tensorrt_rtx"; None takes the first that is here.
        tf32: let float32 layers round their factors to 10 bits of significand, which is faster.
        accept_warnings: patterns of parser warnings that the caller answers for.
        progress: show on stderr what the builder does.
    """

    memory_limit: int | None = None
    timing_cache: Path | str | None = None
    library: str | None = None
    tf32: bool = False
    accept_warnings: Sequence[str] = ()
    progress: bool = True


@dataclass(frozen=True)
class BuildResult:
    """An engine and what is known of it.

    Attributes:
        engine: its file.
        side_file: the JSON file beside it.
        side: content of that file: hashes, versions, GPU, precision of every layer, build time.
    """

    engine: Path
    side_file: Path
    side: SideFile


def build(
    onnx_path: Path | str,
    engine_path: Path | str,
    *,
    expect: str,
    compute_capability: str | Capability | None = None,
    profile: Mapping[str, Range | Sequence[Shape]] | None = None,
    settings: Settings | None = None,
) -> BuildResult:
    """Build the engine of an ONNX file; for one size where TensorRT has none for a range of them.

    Args:
        onnx_path: typed ONNX: float32, float16 (:func:`edgesr_export.fp16.to_fp16`) or explicit
            Q/DQ.
        engine_path: file to write; its side file ``<name>.json`` stands beside it. Both appear
            only when the engine is proved to be what was asked for.
        expect: precision that the file and the engine must have; see
            :func:`edgesr_export.tensorrt.requested.check_expected`.
        compute_capability: GPU to build for, such as "8.6"; by default the one in use.
        profile: shapes that the engine serves; by default tiles of
            :data:`edgesr_export.tensorrt.profile.TILE` for every free axis.
        settings: how it is built.

    Raises:
        UnsupportedOperatorError: an operator that TensorRT does not take.
        PrecisionError: the engine does not compute in the precision asked for.
        ExportError: anything else that the caller can mend.
    """
    onnx_path, engine_path, settings = Path(onnx_path), Path(engine_path), settings or Settings()
    if not engine_path.parent.is_dir():
        raise ExportError(f"{engine_path} cannot be written: {engine_path.parent} is no folder")
    if settings.memory_limit is not None and settings.memory_limit < 1:
        raise ExportError(
            f"a memory limit is a number of bytes from 1, got {settings.memory_limit}"
        )
    model = load_model(onnx_path)
    name_nodes(model)
    refuse(model)
    kept = kept_nodes(model)
    asked = requested(model)
    check_expected(asked, kept, expect)
    ranges = checked_profile(model_inputs(model), profile)
    api = find_api(settings.library)
    device = find_device()
    target = capability_to_build_for(api, compute_capability, device)
    timed_here = device if device and device.capability == target else None

    gpu = timed_here.name if timed_here else None
    cache = None
    if settings.timing_cache is not None:
        cache = timing.cache_file(Path(settings.timing_cache), api, capability_text(target), gpu)

    def attempt(served: dict[str, Range]) -> tuple[_Network, memoryview, Messages]:
        network = _parse(api, model, settings.accept_warnings)
        config = network.config
        _set_target(api, config, target, device)
        _set_precision(api, config, network.network, asked, kept, settings.tf32)
        _set_profile(network.builder, config, served)
        if settings.memory_limit is not None:
            config.set_memory_pool_limit(api.module.MemoryPoolType.WORKSPACE, settings.memory_limit)
        if cache is not None:
            timing.load_cache(config, cache)
        plan, said = _run(api, network, expect, settings.memory_limit, settings.progress)
        return network, plan, said

    began, why_one_size = time.monotonic(), None
    try:
        network, plan, said = attempt(ranges)
    except _NoEngineError as error:
        one_size = {name: served.narrowed for name, served in ranges.items()}
        if one_size == ranges:
            raise
        why_one_size = f"TensorRT builds none for {_sizes(ranges)}: {error.complaint}"
        ranges = one_size
        network, plan, said = attempt(ranges)
    seconds = time.monotonic() - began
    layers, source = _layers(api, plan, said, timed_here)
    found = inspector.verify(asked, layers)
    if cache is not None:
        timing.save_cache(network.config, cache)

    warnings = (*network.said, *said.warnings)
    side = SideFile(
        engine_sha256=sha256(plan),
        onnx=onnx_path.name,
        onnx_sha256=file_hash(onnx_path),
        library=api.name,
        version=api.version,
        compute_capability=capability_text(target),
        gpu=gpu,
        expect=expect,
        strongly_typed=api.strongly_typed,
        tf32=settings.tf32,
        profile={n: [list(r.least), list(r.best), list(r.most)] for n, r in ranges.items()},
        precision={n: {"asked": asked[n], "obtained": found[n]} for n in asked},
        kept_in_float32=kept,
        precision_source=source,
        layers=[{**asdict(layer), "precision": layer.precision} for layer in layers],
        warnings={w: reason(w, settings.accept_warnings) for w in warnings},
        memory_limit=settings.memory_limit,
        build_seconds=round(seconds, 3),
        built_at=datetime.now(UTC).isoformat(timespec="seconds"),
        model=None if (card := read_card(onnx_path)) is None else msgspec.to_builtins(card),
        why_one_size=why_one_size,
    )
    write_together({engine_path: plan, side_path(engine_path): side.to_json()})
    return BuildResult(engine_path, side_path(engine_path), side)


@dataclass(frozen=True)
class _Network:
    """Objects of one build, and what was said; builder and parser must outlive the network."""

    builder: Any
    network: Any
    parser: Any
    config: Any
    said: list[str]


class _NoEngineError(ExportError):
    """The builder gives up, and not for want of memory.

    Attributes:
        complaint: the builder's words.
    """

    def __init__(self, complaint: str, hint: str) -> None:
        super().__init__(f"TensorRT cannot build the engine: {complaint}{hint}")
        self.complaint = complaint


def capability_to_build_for(
    api: Api, asked: str | Capability | None, device: Device | None
) -> Capability:
    """The compute capability asked for, or that of the GPU here.

    Raises:
        ExportError: the library does not build for it, or nothing was asked for and none is here.
    """
    offered = api.capabilities
    names = ", ".join(capability_text(c) for c in offered)
    if asked is None:
        if device is None:
            raise ExportError(
                "there is no GPU here to build for; "
                + (f"name a compute capability: {names}" if offered else "build where it is")
            )
        return device.capability
    target = parse_capability(asked)
    if device is not None and target == device.capability:
        return target
    if not offered:
        here = f"which is {capability_text(device.capability)}" if device else "and there is none"
        raise ExportError(
            f"{api.name} builds for the GPU in use alone, {here}; build for "
            f"{capability_text(target)} where that GPU is, or with tensorrt_rtx"
        )
    if target not in offered:
        raise ExportError(
            f"{api.name} {api.version} does not build for compute capability "
            f"{capability_text(target)}; it does for {names}"
        )
    return target


def _parse(api: Api, model: onnx.ModelProto, accepted: Sequence[str]) -> _Network:
    """The network as TensorRT reads it; all warnings have a reason."""
    module = api.module
    with record(api) as said, silent_stderr():
        builder = module.Builder(logger(api))
        network = builder.create_network(api.network_flags)
        parser = module.OnnxParser(network, logger(api))
        if not parser.parse(model.SerializeToString()):
            raise parser_error(parser, model)
        config = builder.create_builder_config()
    unknown = [warning for warning in said.warnings if reason(warning, accepted) is None]
    if unknown:
        raise ExportError(
            f"TensorRT warns while it reads the file: {unknown[0][:200]}; mend the file, or "
            "accept this warning by a pattern"
        )
    return _Network(builder, network, parser, config, said.warnings)


def _set_target(api: Api, config: Any, target: Capability, device: Device | None) -> None:
    member = api.capabilities.get(target)
    if member is None and api.capabilities:
        member = api.module.ComputeCapability.CURRENT
    if member is not None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(member, 0)


def _set_precision(
    api: Api, config: Any, network: Any, asked: dict[str, str], kept: dict[str, str], tf32: bool
) -> None:
    config.profiling_verbosity = api.module.ProfilingVerbosity.DETAILED  # names types and nodes
    flag = api.builder_flag("TF32")
    if flag is not None:
        (config.set_flag if tf32 else config.clear_flag)(flag)
    if not api.strongly_typed:
        constrain(api, config, network, asked, kept)


def _set_profile(builder: Any, config: Any, ranges: dict[str, Range]) -> None:
    if not ranges:
        return
    profile = builder.create_optimization_profile()
    for name, served in ranges.items():
        profile.set_shape(name, served.least, served.best, served.most)
    if config.add_optimization_profile(profile) < 0:
        raise ExportError(f"TensorRT refuses the sizes {ranges}; choose others")


def _run(
    api: Api, network: _Network, expect: str, memory_limit: int | None, progress: bool
) -> tuple[memoryview, Messages]:
    """The serialised engine, and what was said while it was built."""
    interrupt = Interrupt()
    line = line_on_stderr(f"TensorRT {expect}") if progress and api.has_progress else None
    monitor = make_monitor(api, line, interrupt) if line else None
    if monitor is not None:
        network.config.progress_monitor = monitor
    try:
        with record(api) as said:
            plan = network.builder.build_serialized_network(network.network, network.config)
    finally:
        if line:
            line.close()
    interrupt.raise_if_pressed()
    if plan is None:
        raise _build_failure(said, expect, memory_limit)
    return memoryview(plan), said


def _build_failure(said: Messages, expect: str, memory_limit: int | None) -> ExportError:
    if said.of_memory and memory_limit is None:
        return ExportError(
            "the GPU has too little memory to build the engine; build for smaller tiles, or close "
            "other programs"
        )
    if said.of_memory and memory_limit is not None:
        return ExportError(
            f"the engine does not fit the memory limit of {memory_limit / 2**20:.0f} MB; raise it, "
            "or build for smaller tiles"
        )
    hint = ""
    if expect == "int8":
        hint = "; this TensorRT may lack int8 kernels (RTX has them from 1.7 on), try float16"
    return _NoEngineError(complaint(said.errors), hint)


def _sizes(ranges: Mapping[str, Range]) -> str:
    """ "1 x 6 x 16 x 16 to 1 x 6 x 128 x 128"."""
    return ", ".join(
        " to ".join(" x ".join(map(str, shape)) for shape in (served.least, served.most))
        for served in ranges.values()
    )


def _layers(
    api: Api, plan: memoryview, said: Messages, device: Device | None
) -> tuple[list[EngineLayer], str]:
    """Layers of the engine, and where they were read."""
    if device is not None:
        with record(api):
            runtime = api.module.Runtime(logger(api))
            engine = runtime.deserialize_cuda_engine(plan)
        if engine is not None:
            return inspector.layers_of_engine(api, engine), "engine inspector"
    return inspector.parse_report(said.report), "builder report"
