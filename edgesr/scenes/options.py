"""How a scene is super-resolved: one value for the command, for Python and for archives."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from edgesr_export.card import ModelCard, parse_card

from edgesr.cube import Window
from edgesr.cube.matching import Rescale
from edgesr.cube.options import ReadOptions
from edgesr.errors import OptionError
from edgesr.recipe.options import THREADS, require
from edgesr.scenes.output.meta import DTYPES

MEMORY = "1GB"
BANDS = ("network", "all")
_BYTES = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([KMGT]?)I?B?", re.IGNORECASE)
_FACTORS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True)
class SceneOptions:
    """Options of :func:`edgesr.upscale`; plain values, so that they travel to other machines.

    Attributes:
        model: path of the model file.
        runtime: that runs it; None for the usual one of such a file.
        factory: ``package.module:function`` of a network that is none of edgesr's.
        memory: that the process may use, such as "1GB"; it changes no pixel.
        threads: tiles that are computed at once; None for the processors. It changes no pixel.
        dtype: of the output: "source" or a type.
        window: "row,col,height,width" of the LR scene; None for all of it.
        bands: "network" for the network's, "all" for those of the scene, of which the others are
            interpolated.
        rescale: "FACTOR" or "FACTOR,OFFSET" from the scene's numbers to those of the training data.
        nodata, axes, wavelength_unit: see :class:`edgesr.cube.options.ReadOptions`.
        ortho: write the scene on the ground, by its look-up table.
        stac: write a STAC item beside the output.
        card: model card in JSON, for a model file that has none.

    Raises:
        OptionError: a value that cannot be.
        ExportError: a card that is none.
    """

    model: str
    runtime: str | None = None
    factory: str | None = None
    memory: str = MEMORY
    threads: int | None = None
    dtype: str = "source"
    window: str | None = None
    bands: str = "network"
    rescale: str | None = None
    nodata: float | None = None
    axes: str | None = None
    wavelength_unit: str | None = None
    ortho: bool = False
    stac: bool = False
    card: str | None = None

    def __post_init__(self) -> None:
        if self.dtype != "source" and self.dtype not in DTYPES:
            raise OptionError(
                f"--dtype is source or one of {', '.join(DTYPES)}, received {self.dtype!r}"
            )
        if self.bands not in BANDS:
            raise OptionError(f"--bands is network or all, received {self.bands!r}")
        require("threads", self.threads, THREADS)
        if self.ortho and self.window is not None:
            raise OptionError("--ortho writes the whole scene; leave out --window")
        _ = self.memory_bytes, self.part, self.factors, self.reading, self.given_card

    @classmethod
    def of(cls, values: dict[str, Any]) -> SceneOptions:
        """From plain values.

        Raises:
            OptionError: there is no such option, or no model.
        """
        unknown = values.keys() - {field.name for field in fields(cls)}
        if unknown or "model" not in values:
            raise OptionError(
                f"options of a scene are {', '.join(field.name for field in fields(cls))}; model is"
                f" needed, received {', '.join(map(str, values))}"
            )
        return cls(**values)

    @property
    def memory_bytes(self) -> int:
        """The memory in bytes."""
        match = _BYTES.fullmatch(self.memory.strip())
        found = 0 if match is None else int(float(match[1]) * _FACTORS[match[2].upper()])
        if found < 10**6:
            raise OptionError(f"--memory is such as 800MB or 2GB, received {self.memory!r}")
        return found

    @property
    def part(self) -> Window | None:
        """The window."""
        if self.window is None:
            return None
        match = re.fullmatch(r"(\d{1,9}),(\d{1,9}),(\d{1,9}),(\d{1,9})", self.window)
        if match is None or not (int(match[3]) and int(match[4])):
            raise OptionError(
                f"--window is row,col,height,width in LR pixels, received {self.window!r}"
            )
        return Window(*(int(number) for number in match.groups()))

    @property
    def factors(self) -> Rescale | None:
        """The rescaling."""
        if self.rescale is None:
            return None
        try:
            factor, *rest = (float(text) for text in self.rescale.split(","))
            offset = rest[0] if rest else 0.0
            if len(rest) > 1 or not factor > 0 or not np.isfinite([factor, offset]).all():
                raise ValueError
        except ValueError:
            raise OptionError(
                "--rescale is FACTOR or FACTOR,OFFSET with a factor above 0, received"
                f" {self.rescale!r}"
            ) from None
        return Rescale(np.asarray(factor), np.asarray(offset))

    @property
    def given_card(self) -> ModelCard | None:
        """The card."""
        return None if self.card is None else parse_card(self.card, "--card")

    @property
    def reading(self) -> ReadOptions:
        """How the scene is read."""
        return ReadOptions(self.nodata, self.axes, self.wavelength_unit)
