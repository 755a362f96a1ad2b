"""The whole of ``report.json``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from edgesr.report.model._base import Amount, Entry, Text, doc
from edgesr.report.model.deployment import Deployment, OnnxFile, Profile
from edgesr.report.model.networks import Distillation, Measured, Network, PaperBaseline
from edgesr.report.model.run import Data, Environment, File
from edgesr.report.model.search import SearchEntry
from edgesr.report.model.surgery import CandidateEntry, ChosenEntry, SiteEntry, SpectrumEntry

SCHEMA_VERSION: Literal[1] = 1
MOMENT = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$"


class Report(Entry, frozen=True, kw_only=True):
    """One run of edgesr compress: what was compressed, what came out, and how it was measured."""

    schema_version: Annotated[Literal[1], doc("Version of this schema.")]
    created: Annotated[
        str, Meta(pattern=MOMENT, description="When the run ended, ISO 8601 with offset.")
    ]
    folder: Annotated[
        str | None,
        doc("Output folder as given by the user; the paths below are relative to it."),
    ] = None
    data: Annotated[Data, doc("The scene.")]
    environment: Annotated[Environment, doc("Where the run took place.")]
    bicubic: Annotated[Measured, doc("What interpolation alone reaches.")]
    teacher: Annotated[Network, doc("The network before compression.")]
    student: Annotated[Network, doc("The network after compression.")]
    sites: Annotated[list[SiteEntry], doc("Learnable upsamplers found in the teacher.")]
    spectrum: Annotated[list[SpectrumEntry], doc("Singular values of each site.")]
    candidates: Annotated[
        list[CandidateEntry],
        doc("Surgeries evaluated in closed form, before any training."),
    ]
    chosen: Annotated[
        ChosenEntry | None,
        doc("The surgery of the student; null where it is the teacher as it was, --method none."),
    ]
    distillation: Annotated[Distillation, doc("Training of the student after the surgery.")]
    paper_baseline: Annotated[
        PaperBaseline | None,
        doc("The paper's grouped upsampler, distilled in the same run; null when it was left out."),
    ]
    onnx: Annotated[OnnxFile | None, doc("The exported student.")] = None
    not_exported: Annotated[
        Text | None,
        doc("Why there is no ONNX file and nothing was deployed; latencies are then PyTorch's."),
    ] = None
    deployment: Annotated[
        Deployment | None,
        doc(
            "The student for each target and precision; all latencies were measured in turn in one"
            " process."
        ),
    ] = None
    profile: Annotated[
        Profile | None,
        doc("Where the time of one call goes, layer by layer, as ONNX Runtime's profiler tells."),
    ] = None
    timing_s: Annotated[
        dict[str, Amount], Meta(min_length=1, description="Seconds of each stage, by its name.")
    ]
    recipe: Annotated[dict[str, Any], doc("Every option of the run; the same as recipe.toml.")]
    files: Annotated[list[File], doc("What lies in the folder.")]
    search: Annotated[
        SearchEntry | None,
        doc(
            "Search over designs of the whole network; absent where the upsampler alone was made"
            " smaller."
        ),
    ] = None
