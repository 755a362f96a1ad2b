"""What the upsampling layers of a network put out while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgesr.errors import ModelError

if TYPE_CHECKING:
    from edgesr.surgery.sites import Site


class SiteFeatures:
    """Listens to the layers of upsampling sites during a network's forward passes.

    A layer that surgery replaced is found under the module path of the original, so one list of
    sites serves a teacher and its students.
    """

    def __init__(self, model: nn.Module, sites: Sequence[Site]) -> None:
        self._sites = tuple(sites)
        self._outputs: dict[str, Tensor] = {}
        self._handles = []
        for path in dict.fromkeys(path for site in sites for path in site.layers):
            try:
                layer = model.get_submodule(path)
            except AttributeError:
                raise ModelError(
                    f"cannot distil: the model has no layer {path!r}; "
                    "teacher and student need the same upsampling layers"
                ) from None
            self._handles.append(layer.register_forward_hook(partial(self._record, path)))

    def _record(self, path: str, _layer: nn.Module, _inputs: object, output: Tensor) -> None:
        self._outputs[path] = output

    def collect(self) -> list[Tensor]:
        """Features [N, C, H, W] of each site in the last forward pass, in the layers' precision.

        Sub-pixel layers are shuffled to the high resolution; parallel layers are concatenated. Of a
        volume [N, C, D, H, W] each of the D planes is an image.
        """
        features = []
        for site in self._sites:
            outputs = []
            for path in site.layers:
                if path not in self._outputs:
                    raise ModelError(
                        f"cannot distil: the layer {path!r} did not run in the forward pass"
                    )
                output = self._outputs[path]
                if output.ndim == 5:
                    output = output.transpose(1, 2).flatten(0, 1)
                if site.kind == "subpixel":
                    output = F.pixel_shuffle(output, site.scale)
                outputs.append(output)
            features.append(outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1))
        self._outputs.clear()
        return features

    def close(self) -> None:
        """Stop listening."""
        for handle in self._handles:
            handle.remove()
        self._outputs.clear()
