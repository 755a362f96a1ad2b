"""From an ONNX file to a serialised TensorRT engine, 8.x to 11.x.

What a release can do is seen by its attributes, never by its number:

====================  ==================================  =================================
has                   then                                releases
====================  ==================================  =================================
``STRONGLY_TYPED``    strongly typed, types of the file   10.x (and 9.x)
``BuilderFlag.FP16``  weakly typed, flags by precision    8.x
neither               nothing to set, always typed        11.x
====================  ==================================  =================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .contents import Model, Profile
from .errors import BoardError, absent, one_line

_MB = 1 << 20
_OF_MEMORY = ("OutOfMemory", "out of memory", "allocate", "workspace", "Requested size")
"""Words in errors that mean memory, which no other size would mend for sure."""


@dataclass
class BuildLog:
    """What TensorRT had to say while it built."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def of_memory(self) -> bool:
        """Whether an error says that memory was too little."""
        return any(word in error for error in self.errors for word in _OF_MEMORY)

    def last_error(self) -> str:
        """Say the last error in one line."""
        return one_line(self.errors[-1]) if self.errors else "TensorRT gave no reason"


@dataclass(frozen=True)
class BuildSettings:
    """Choices that make another engine."""

    workspace_mb: int
    tf32: bool


def make_logger(trt: Any, log: BuildLog) -> Any:
    """Logger of TensorRT that fills ``log`` and prints nothing."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            levels = trt.ILogger.Severity
            if severity in (levels.ERROR, levels.INTERNAL_ERROR):
                log.errors.append(message)
            elif severity == levels.WARNING:
                log.warnings.append(message)

    return Logger()


def typing_of(trt: Any) -> str:
    """``strong`` where networks are strongly typed, ``weak`` where builder flags decide."""
    if hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        return "strong"
    return "weak" if hasattr(trt.BuilderFlag, "FP16") else "strong"


def unsupported_precision(trt: Any, builder: Any, precision: str) -> str | None:
    """Say that the GPU has no such arithmetic, where TensorRT tells; 11.x does not."""
    attribute = {"fp16": "platform_has_fast_fp16", "int8": "platform_has_fast_int8"}.get(precision)
    if attribute is None or getattr(builder, attribute, True):
        return None
    return f"this GPU has no fast {precision} arithmetic"


def build(
    trt: Any,
    logger: Any,
    log: BuildLog,
    model: Model,
    profile: Profile,
    settings: BuildSettings,
    timing_cache: bytes,
) -> tuple[bytes, bytes, dict[str, Any]]:
    """Build one engine; for the typical size alone where TensorRT has none for the range.

    Args:
        timing_cache: of an earlier build on this very device, or empty.

    Returns:
        The engine, the grown timing cache (empty where there is none), and what is to be said of
        the build: ``typing``, ``dla``, ``warnings``, and ``one_size`` and ``why_one_size``: the
        only (h, w) that the engine takes, and why; None where it takes the range.

    Raises:
        BoardError: an unsupported operator (named with its layer), a shape that the file does not
            take, too little memory, or whatever else TensorRT refuses.
    """
    parts = (trt, logger, log, model, settings, timing_cache)
    why = None
    try:
        plan, grown, dla = _build_for(profile, *parts)
    except _NoEngineError as error:
        if profile.is_one_size or log.of_memory:
            raise
        why = f"TensorRT builds none for {profile}: {error.reason}"
        log.errors.clear()
        log.warnings.clear()
        plan, grown, dla = _build_for(profile.narrowed, *parts)
    return (
        plan,
        grown,
        {
            "typing": typing_of(trt),
            "dla": dla,
            "warnings": [one_line(w) for w in log.warnings],
            "one_size": list(profile.typical[2:4]) if why else None,
            "why_one_size": why,
        },
    )


class _NoEngineError(BoardError):
    """TensorRT reads the network and builds nothing."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def _build_for(
    profile: Profile,
    trt: Any,
    logger: Any,
    log: BuildLog,
    model: Model,
    settings: BuildSettings,
    timing_cache: bytes,
) -> tuple[bytes, bytes, dict[str, Any]]:
    """Build for one range: the engine, the grown timing cache, and what a DLA would take."""
    builder = trt.Builder(logger)
    lacking = unsupported_precision(trt, builder, model.precision)
    if lacking:
        raise BoardError(f"{lacking}; leave {model.name} out with --models")
    network = builder.create_network(_network_flags(trt))
    _parse(trt, logger, log, network, model)
    config = builder.create_builder_config()
    _configure(trt, config, model.precision, settings)
    _add_profile(builder, config, network, profile, model.name)
    cache = _attach_timing_cache(config, timing_cache)
    dla = dla_layers(trt, builder, network)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        reason = log.last_error()
        raise _NoEngineError(
            f"TensorRT {trt.__version__} cannot build {model.name}: {reason}; if memory is short, "
            "close other programs or lower --workspace",
            reason,
        )
    grown = bytes(memoryview(cache.serialize())) if cache is not None else b""
    return bytes(memoryview(plan)), grown, dla


def _network_flags(trt: Any) -> int:
    flags = 0
    for name in ("STRONGLY_TYPED", "EXPLICIT_BATCH"):
        flag = getattr(trt.NetworkDefinitionCreationFlag, name, None)
        if flag is not None:
            flags |= 1 << int(flag)
    return flags


def _parse(trt: Any, logger: Any, log: BuildLog, network: Any, model: Model) -> None:
    parser = trt.OnnxParser(network, logger)
    if parser.parse(model.read(), str(model.onnx.path)):
        return
    reason = _parser_error(parser.get_error(0)) if parser.num_errors else log.last_error()
    raise BoardError(
        f"TensorRT {trt.__version__} cannot read {model.name}: {reason}; export the network again "
        "for TensorRT, or run it with --runtime onnxruntime"
    )


def _parser_error(error: Any) -> str:
    """Name the operator and its layer as far as this release tells them."""
    parts = []
    for attribute, word in (("node_operator", "operator"), ("node_name", "of layer")):
        value = getattr(error, attribute, None)
        if value is not None and value():
            parts.append(f"{word} {value()}")
    description = one_line(error.desc())
    return f"{' '.join(parts)}: {description}" if parts else description


def _configure(trt: Any, config: Any, precision: str, settings: BuildSettings) -> None:
    if hasattr(config, "set_memory_pool_limit"):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mb * _MB)
    else:
        config.max_workspace_size = settings.workspace_mb * _MB
    if hasattr(config, "profiling_verbosity"):
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if hasattr(trt.BuilderFlag, "TF32") and not settings.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if typing_of(trt) == "weak":
        wanted = {"fp16": ("FP16",), "int8": ("INT8", "FP16")}.get(precision, ())
        for name in wanted:
            config.set_flag(getattr(trt.BuilderFlag, name))


def _add_profile(builder: Any, config: Any, network: Any, profile: Profile, name: str) -> None:
    if network.num_inputs != 1 or network.num_outputs != 1:
        raise BoardError(
            f"{name} has {network.num_inputs} inputs and {network.num_outputs} outputs; one each "
            "is needed"
        )
    tensor = network.get_input(0)
    lengths = tuple(int(length) for length in tensor.shape)
    if -1 not in lengths:
        return
    for shape in (profile.smallest, profile.typical, profile.largest):
        if any(fixed not in (-1, length) for fixed, length in zip(lengths, shape)):
            raise BoardError(
                f"{name} takes input {'x'.join(map(str, lengths))} (-1 is free) and the bundle's "
                f"range has {'x'.join(map(str, shape))}; make the bundle again"
            )
    shapes = builder.create_optimization_profile()
    shapes.set_shape(tensor.name, profile.smallest, profile.typical, profile.largest)
    config.add_optimization_profile(shapes)


def _attach_timing_cache(config: Any, stored: bytes) -> Any:
    if not hasattr(config, "create_timing_cache"):
        return None
    cache = config.create_timing_cache(stored)
    if not config.set_timing_cache(cache, ignore_mismatch=False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def dla_layers(trt: Any, builder: Any, network: Any) -> dict[str, Any]:
    """Count the layers that the Deep Learning Accelerator would take; nothing is placed there."""
    cores = getattr(builder, "num_DLA_cores", 0)
    if not cores:
        return absent("no DLA core, or this TensorRT does not support it")
    try:
        config = builder.create_builder_config()
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = 0
        fit = [
            bool(config.can_run_on_DLA(network.get_layer(index)))
            for index in range(network.num_layers)
        ]
    except (AttributeError, RuntimeError, TypeError) as error:
        return absent(f"TensorRT does not tell ({one_line(error)})")
    transitions = sum(before != after for before, after in zip(fit, fit[1:]))
    return {
        "cores": int(cores),
        "layers": len(fit),
        "would_run": sum(fit),
        "transitions": transitions,
    }
