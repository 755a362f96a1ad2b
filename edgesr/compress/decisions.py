"""``decisions.json`` of a run: everything in it that a clock has decided, or could turn.

Timings pick the surgery, the designs of a search and the layers that are int8; a training keeps the
weights of one epoch. All else follows from the recipe. With these decisions the same files can be
made again: see :mod:`edgesr.compress.replay`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgesr.compress.search.design import Design
from edgesr.deploy.variants import Model
from edgesr.errors import OptionError
from edgesr.files import atomic_path
from edgesr.stored import read_json, typed
from edgesr.surgery import Candidate

VERSION = 1


@dataclass(frozen=True)
class Surgery:
    """What is done to the upsamplers: the fields of a candidate that no clock has touched."""

    method: str
    setting: int
    settings: dict[str, int]

    @classmethod
    def of(cls, candidate: Candidate) -> Surgery:
        """That of a candidate."""
        return cls(candidate.method, candidate.setting, candidate.settings)

    def find(self, candidates: Sequence[Candidate]) -> Candidate:
        """The candidate that it is of.

        Raises:
            OptionError: there is none: the network or the options are others.
        """
        found = next((one for one in candidates if Surgery.of(one) == self), None)
        if found is None:
            raise OptionError(
                f"the decisions take {self.method} {self.setting}, which this network and recipe do"
                " not offer; they are of another run"
            )
        return found


@dataclass(frozen=True)
class SearchDecision:
    """What a search took.

    Attributes:
        design: the chosen one.
        pool: the surgeries that designs count.
        blocks: ranking of the removable blocks, by path and effect.
    """

    design: Design
    pool: list[Surgery]
    blocks: list[tuple[str, float]]


@dataclass(frozen=True)
class Decisions:
    """All of a run's.

    Attributes:
        surgery: of the student's upsampler; None where the network is deployed as it is.
        best: epoch, weights and figures of what the student's training has kept; "share" of the
            way there, where the budget did not allow all of it.
        threads: of PyTorch, on which roundings depend.
        search: None where the upsampler alone was made smaller.
        int8: precision and reason of each layer, by target; what is missing has no int8 file.
        version: of this file.
    """

    surgery: Surgery | None
    best: dict[str, Any]
    threads: int
    search: SearchDecision | None = None
    int8: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    version: int = VERSION

    def save(self, path: Path) -> None:
        """Write them as JSON."""
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> Decisions:
        """Read them.

        Raises:
            OptionError: there are none, or the file is damaged or of a newer version.
        """
        content = read_json(path, "the decisions", OptionError)
        version = content.get("version") if isinstance(content, Mapping) else None
        if isinstance(version, int) and version > VERSION:
            raise OptionError(
                f"{path} is of version {version}, this edgesr knows {VERSION}; update edgesr"
            )
        try:
            found: Decisions = typed(cls, content)
        except ValueError as error:
            raise OptionError(f"{path} holds no decisions: {error}") from error
        return found


def int8_layers(models: Sequence[Model]) -> dict[str, dict[str, tuple[str, str]]]:
    """The layers of int8 files, as decisions have them."""
    return {
        model.target: {
            layer["name"]: (layer["precision"], layer["reason"]) for layer in model.layers
        }
        for model in models
        if model.precision == "int8"
    }


def differences(earlier: Decisions, now: Decisions) -> list[str]:
    """What two runs decided otherwise, a line each."""
    found = []
    if earlier.surgery != now.surgery:
        found.append(f"surgery: {_words(now.surgery)}, was {_words(earlier.surgery)}")
    if earlier.search != now.search:
        designs = [one.search and one.search.design for one in (now, earlier)]
        found.append(f"search: {designs[0]}, was {designs[1]}")
    if earlier.best["epoch"] != now.best["epoch"]:
        found.append(f"epoch kept: {now.best['epoch']}, was {earlier.best['epoch']}")
    shares = [one.best.get("share", 1.0) for one in (now, earlier)]
    if shares[0] != shares[1]:
        found.append(f"share of the distillation kept: {shares[0]:g}, was {shares[1]:g}")
    for target in dict.fromkeys((*earlier.int8, *now.int8)):
        layers = [one.int8.get(target, {}) for one in (earlier, now)]
        before, after = (
            {name for name, (kind, _) in one.items() if kind == "int8"} for one in layers
        )
        if before != after:
            reasons = {
                reason
                for one in layers
                for name in before ^ after
                for kind, reason in [one.get(name, ("", ""))]
                if kind != "int8" and reason
            }
            why = f" ({'; '.join(sorted(reasons))})" if reasons else ""
            found.append(f"int8 for {target}: {len(after)} layers, was {len(before)}{why}")
    return found


def _words(surgery: Surgery | None) -> str:
    return f"{surgery.method} {surgery.setting}" if surgery else "none"
