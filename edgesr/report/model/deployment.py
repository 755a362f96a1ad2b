"""What was made of the student: its ONNX file, models, engines, and where their time goes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType, field

from edgesr.report.model._base import (
    Amount,
    Checksum,
    Count,
    Entry,
    InFolder,
    Positive,
    Range,
    Shape,
    Share,
    Text,
    doc,
)
from edgesr.report.model.networks import Metrics, Times
from edgesr.report.model.surgery import Interval

Rewrites = Annotated[list[str], doc("Exact rewrites of the graph that were applied.")]


class TracingEntry(Entry, frozen=True, kw_only=True):
    """How the ONNX file was written."""

    how: Annotated[
        Literal["torch.export", "recorded"],
        doc(
            "Followed as symbols by torch.export, or recorded: run once on a real tile, whose"
            " branches the file always takes."
        ),
    ]
    size: Annotated[
        Literal["free"] | Annotated[list[Positive], Meta(min_length=2, max_length=2)],
        doc("The only LR (height, width) that the file takes, or 'free'."),
    ]
    why: Annotated[str, doc("Why torch.export with a free size did not serve; empty where it did.")]
    differs: Annotated[
        dict[str, Amount],
        doc(
            "Images that are no data and for which the file is wrong, by name: largest absolute"
            " difference to the student."
        ),
    ]


class OnnxFile(Entry, frozen=True, kw_only=True):
    """The exported student."""

    path: Annotated[InFolder, doc("File, relative to the folder.")]
    opset: Annotated[Positive, doc("Version of the operator set.")]
    max_abs_difference: Annotated[
        Amount,
        doc(
            "Largest absolute difference between the file in ONNX Runtime and the student in torch."
        ),
    ]
    inputs: Annotated[
        list[Shape], Meta(min_length=1, description="Shapes [N, B, h, w] of the inputs compared.")
    ]
    rewrites: Rewrites
    tracing: Annotated[TracingEntry | None, doc("How the file was written.")] = None


class LayerPrecision(Entry, frozen=True, kw_only=True):
    """One layer whose precision was decided."""

    name: Annotated[str, doc("Name of the node.")]
    kind: Annotated[str, doc("Such as 'dense 3x3 conv'; empty where unknown.")]
    precision: Annotated[str, doc("int8 or fp32.")]
    reason: Annotated[str, doc("Why.")]


class Quality(Entry, frozen=True, kw_only=True):
    """Quality on budget windows."""

    mpsnr: Annotated[float, doc("MPSNR in dB.")]
    sam: Annotated[float, doc("SAM in degrees.")]


class Validation(Entry, frozen=True, kw_only=True):
    """Quality on budget windows, by which layers were chosen."""

    before: Annotated[Quality, doc("In float32, before any fine-tuning for int8.")]
    after: Annotated[Quality, doc("As chosen.")]
    drop: Annotated[Quality, doc("What is lost; negative is a gain.")]
    mpsnr_interval: Annotated[
        Interval | None, doc("Both ends of the interval of drop.mpsnr; null where there is none.")
    ] = None
    sam_interval: Annotated[
        Interval | None, doc("Both ends of the interval of drop.sam; null where there is none.")
    ] = None


class NativeLink(Entry, frozen=True, kw_only=True):
    """One comparison with the model of normalised numbers, its numbers converted exactly."""

    name: Annotated[str, doc("What was compared, and where it ran.")]
    difference: Annotated[
        Amount,
        doc("Largest one, in steps of the output: 1, or for float32 1e-4 of a band's range."),
    ]
    tolerance: Annotated[Amount, doc("Largest accepted one.")]
    equal: Annotated[Share, doc("Share of equal values.")]
    worst: Annotated[str, doc("Image on which the difference is largest.")]
    images: Annotated[Count, doc("Number of images compared.")]
    skipped: Annotated[dict[str, str], doc("Images that the model cannot take, and why.")]


class NativeModel(Entry, frozen=True, kw_only=True):
    """The same model for the sensor's own numbers: normalisation, nodata and types inside."""

    path: Annotated[InFolder, doc("ONNX file, relative to the folder.")]
    bytes: Annotated[Count, doc("Size of the file.")]
    sha256: Annotated[Checksum, doc("Checksum, hexadecimal.")]
    input_dtype: Annotated[str, doc("Type of the image given.")]
    output_dtype: Annotated[str, doc("Type of the answer.")]
    sensor_bands: Annotated[Positive, doc("Bands of the image given.")]
    links: Annotated[list[NativeLink], doc("Comparisons with the model of normalised numbers.")]
    latency_ms: Annotated[
        Times | None,
        doc(
            "Wall time of one call, native numbers in and out, in the same rounds as the model's;"
            " null when it was not timed here."
        ),
    ]
    numpy_ms: Annotated[
        Times | None,
        doc(
            "The same without this file: numbers converted with NumPy around the model; measured"
            " for the CPU's own target."
        ),
    ] = None

    @property
    def difference(self) -> float:
        """Largest difference to the model of normalised numbers, in steps of the output."""
        return max((link.difference for link in self.links), default=0.0)

    @property
    def equal(self) -> float:
        """Least share of equal values of the comparisons."""
        return min((link.equal for link in self.links), default=1.0)


class DeployedModel(Entry, frozen=True, kw_only=True):
    """A model on a runtime."""

    target: Annotated[Text, doc("What it was made for, such as cpu, tensorrt or openvino.")]
    precision: Annotated[
        str, doc("fp32, fp16, bf16 or int8; what else computes beside int8 behind a comma.")
    ]
    runtime: Annotated[str, doc("What executes it.")]
    path: Annotated[InFolder, doc("ONNX file, relative to the folder.")]
    bytes: Annotated[Count, doc("Size of the file.")]
    sha256: Annotated[Checksum | None, doc("Checksum, hexadecimal.")] = None
    metrics: Annotated[Metrics, doc("Quality on the test region.")]
    metrics_runtime: Annotated[str | None, doc("What executed it for the metrics.")] = None
    max_abs_difference: Annotated[
        Amount,
        doc(
            "Largest absolute difference to the student in torch, over real and adversarial input."
        ),
    ]
    latency_ms: Annotated[
        Times | None, doc("Wall time of one call; null when it was not timed here.")
    ]
    why_not_timed: Annotated[
        str | UnsetType | None, doc("Why there is no latency; null where there is.")
    ] = UNSET
    rewrites: Annotated[list[str] | None, doc("Exact rewrites of the graph that were applied.")] = (
        None
    )
    links: Annotated[
        list[dict[str, Any]] | None,
        doc("Steps of the export, each compared with the one before."),
    ] = None
    layers: Annotated[
        list[LayerPrecision], doc("Layers whose precision was decided one by one, and why.")
    ]
    counts: Annotated[dict[str, Count] | None, doc("Number of those layers by precision.")] = None
    validation: Annotated[
        Validation | UnsetType | None,
        doc("Quality on budget windows, by which layers were chosen; null where none were."),
    ] = UNSET
    tuned: Annotated[
        bool | None,
        doc("Whether the weights were fine-tuned with quantisation simulated (--qat)."),
    ] = None
    native: Annotated[NativeModel | None, doc("The same for the sensor's own numbers.")] = None


class EngineEntry(Entry, frozen=True, kw_only=True):
    """One engine; its side file of the same name and .json has every layer."""

    path: Annotated[InFolder, doc("File, relative to the folder.")]
    model: Annotated[InFolder, doc("ONNX file that it was built from.")]
    precision: Annotated[str, doc("Read back from the engine: fp32, fp16 or int8.")]
    library: Annotated[str, doc("TensorRT that built it, and its version.")]
    compute_capability: Annotated[str, doc("Of the GPU that it runs on.")]
    bytes: Annotated[Count, doc("Size.")]
    build_s: Annotated[Amount, doc("Seconds that the build took.")]
    layers: Annotated[
        dict[str, int], doc("Number of layers by the precision that they compute in.")
    ]
    why_one_size: Annotated[
        str | None, doc("Why it serves one size alone; absent where it does not.")
    ] = None


class Ratio(Entry, frozen=True, kw_only=True):
    """One comparison."""

    name: Annotated[str, doc("What is compared.")]
    from_: Annotated[str, doc("The slower.")] = field(name="from")
    from_ms: Annotated[Amount, doc("Its median, in milliseconds.")]
    to: Annotated[str, doc("The faster.")]
    to_ms: Annotated[Amount, doc("Its median, in milliseconds.")]
    ratio: Annotated[Amount, doc("from_ms / to_ms.")]
    interval: Annotated[
        Range | None,
        doc("95 % interval of the ratio, round by round; one that spans 1 is no ratio."),
    ] = None


class SkippedEntry(Entry, frozen=True, kw_only=True):
    """One thing that could not be made."""

    what: Annotated[str, doc("What could not be made here.")]
    why: Annotated[str, doc("Why, and the way out.")]


class Deployment(Entry, frozen=True, kw_only=True):
    """The student for each target and precision."""

    input_shape: Annotated[
        list[Positive], doc("Shape [N, B, h, w] of the LR input that was timed.")
    ]
    threads: Annotated[Positive, doc("Threads of the CPU's runtimes.")]
    repeats: Annotated[Positive, doc("Measured rounds; slow networks take part in fewer.")]
    models: Annotated[
        list[DeployedModel],
        Meta(min_length=1, description="Models by target, precision and runtime."),
    ]
    engines: Annotated[list[EngineEntry], doc("TensorRT engines.")]
    ratios: Annotated[list[Ratio], doc("How much faster: ratios of medians.")]
    absent: Annotated[list[SkippedEntry], doc("What could not be made here.")]

    def layers_of(self, model: DeployedModel) -> dict[str, int]:
        """Layers of a model by precision: as its engine computes them, where one was built."""
        engine = next((one for one in self.engines if one.model == model.path), None)
        return engine.layers if engine else model.counts or {}


class ProfiledLayer(Entry, frozen=True, kw_only=True):
    """One layer, as the runtime executes it."""

    layer: Annotated[str, doc("The runtime's name for it.")]
    op: Annotated[str, doc("Type of the operator.")]
    ms: Annotated[Amount, doc("Median over the runs, in milliseconds.")]
    precision: Annotated[str | None, doc("What it computes in; fp32 where it is not said.")] = None
    nodes: Annotated[
        list[str] | None,
        doc("ONNX nodes that went into it; absent for what the runtime added itself."),
    ] = None
    modules: Annotated[
        list[str] | None, doc("Paths of the network's modules that it comes from, where known.")
    ] = None


class ProfiledNetwork(Entry, frozen=True, kw_only=True):
    """One profiled network."""

    name: Annotated[str, doc("Such as 'teacher'.")]
    layers: Annotated[
        list[ProfiledLayer],
        doc("Operators in the order of execution, after the runtime's fusions."),
    ]
    whole_ms: Annotated[
        Amount | None,
        doc("Median of the whole call, timed without the profiler, in milliseconds."),
    ] = None
    memory_mb: Annotated[
        Amount | None,
        doc(
            "Peak memory in MB: what an engine needs of the device beside its weights, or how much"
            " the process grew on a CPU."
        ),
    ] = None
    no_memory: Annotated[str | None, doc("Why there is no memory_mb.")] = None

    @property
    def sum_ms(self) -> float:
        """Milliseconds of all layers together."""
        return sum(layer.ms for layer in self.layers)


class Profile(Entry, frozen=True, kw_only=True):
    """Where the time of one call goes, layer by layer."""

    runtime: Annotated[str, doc("What executed the networks.")]
    input_shape: Annotated[Shape, doc("Shape [N, B, h, w] of the LR input.")]
    threads: Annotated[Positive, doc("Threads within an operator.")]
    runs: Annotated[Positive, doc("Measured runs.")]
    networks: Annotated[
        list[ProfiledNetwork],
        Meta(min_length=1, description="Profiled networks, such as teacher, student and int8."),
    ]
