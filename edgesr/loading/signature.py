"""How a third-party network is called, and the network that hides it behind ``model(x)``.

A *call* says what a network takes beside the image, in which layout, at which sizes, and which of
its outputs is the image. :func:`edgesr.loading.infer_signature.find_call` finds it; :func:`adapt`
makes ``model(x)`` mean [N, B, h, w] -> [N, B, h r, w r].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from edgesr.errors import ModelError
from edgesr.loading.carried import cut, join
from edgesr.loading.python_source import is_name
from edgesr.models._parts import bicubic_skip

BICUBIC = "bicubic"
SCALE_KINDS: dict[str, Callable[[Tensor, int], Any]] = {
    "int": lambda x, scale: scale,
    "float": lambda x, scale: float(scale),
    "tensor": lambda x, scale: x.new_full((1,), scale),
}
KINDS = (*SCALE_KINDS, BICUBIC)

_RECORD = "edgesr_call"  # an attribute that no third-party class has


@dataclass(frozen=True)
class Call:
    """How a network is called; the default is plainly.

    Attributes:
        scale: r, its magnification.
        further: arguments beside the image, by name: the scale as ``int``, ``float`` or
            ``tensor``, or the image's ``bicubic`` enlargement by r.
        enlarged: the image itself is given in bicubic enlargement.
        volume: images are given as [N, 1, B, h, w].
        multiple: height and width are brought to multiples of it, by repeating the last row and
            column; the output is cropped accordingly.
        output: key or index of the image where the network returns more than that.
        squeeze: the image comes back as [N, 1, B, h r, w r].
        copy: the network writes into its image, and so is given a copy.
        side: the only height and width that the network takes: it is given tiles, see
            :func:`edgesr.loading.carried.cut`; 0 where it takes others.
    """

    scale: int = 0
    further: tuple[tuple[str, str], ...] = ()
    enlarged: bool = False
    volume: bool = False
    multiple: int = 1
    output: str | int | None = None
    squeeze: bool = False
    copy: bool = False
    side: int = 0

    @property
    def plain(self) -> bool:
        """Whether the network needs nothing of this."""
        return self == Call(scale=self.scale)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, JSON-able."""
        return {**asdict(self), "further": dict(self.further)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Call:
        """Build it from :meth:`to_dict`'s result.

        Raises:
            ModelError: the values are no call.
        """
        try:
            call = cls(**{**values, "further": tuple(values["further"].items())})
        except (TypeError, KeyError, AttributeError) as error:
            raise ModelError(f"got {dict(values)!r} for how a network is called") from error
        whole = _whole(call.scale, call.multiple, call.side) and (
            call.scale >= 2 and call.multiple >= 1 and call.side >= 0
        )
        known = all(is_name(name) and kind in KINDS for name, kind in call.further)
        if not (whole and known):
            raise ModelError(f"got {dict(values)!r} for how a network is called")
        return call

    def arguments(self, x: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """Return what the network is given for an image [N, B, h, w] that needs no padding."""
        larger = bicubic_skip(x, self.scale) if self.enlarged or BICUBIC in self._kinds() else x
        image = larger if self.enlarged else x
        if self.volume:
            image, larger = image.unsqueeze(1), larger.unsqueeze(1)
        further = {
            name: larger if kind == BICUBIC else SCALE_KINDS[kind](x, self.scale)
            for name, kind in self.further
        }
        return image, further

    def run(self, forward: Callable[..., Any], x: Tensor) -> Tensor:
        """Call a network's own ``forward``: [N, B, h, w] -> [N, B, h r, w r]."""
        height, width = x.shape[-2:]
        if self.copy:
            x = x.clone()
        if self.side:
            x = cut(x, self.side)
        if self.multiple > 1:
            missing = (0, -width % self.multiple, 0, -height % self.multiple)
            x = F.pad(x, missing, mode="replicate")
        image, further = self.arguments(x)
        result = forward(image, **further)
        if self.output is not None:
            result = result[self.output]
        if self.squeeze:
            result = result.squeeze(1)
        if self.side:
            result = join(result, height, width, self.side, self.scale)
        if self.multiple > 1:
            result = result[..., : height * self.scale, : width * self.scale]
        return result

    def describe(self) -> str:
        """Say it in some words, such as ``(x, lms=bicubic), padded to multiples of 8``."""
        image = "bicubic x" if self.enlarged else "x"
        words = ", ".join((image, *(f"{name}={kind}" for name, kind in self.further)))
        parts = [f"({words})" + (f"[{self.output!r}]" if self.output is not None else "")]
        if self.volume:
            parts.append("with volumes [N, 1, B, h, w]")
        if self.multiple > 1:
            parts.append(f"padded to multiples of {self.multiple}")
        if self.side:
            parts.append(f"in tiles of {self.side} x {self.side}, the only size that it takes")
        if self.copy:
            parts.append("with a copy of x, since it writes into it")
        return ", ".join(parts)

    def _kinds(self) -> list[str]:
        return [kind for _, kind in self.further]


def adapt(model: nn.Module, call: Call) -> nn.Module:
    """Make ``model(x)`` mean [N, B, h, w] -> [N, B, h r, w r], in place; return the model.

    A network that is called plainly is left alone. Any other becomes an instance of a subclass of
    its own class, of the same name: state dict, module paths, ``isinstance``, deep copies and
    export stay what they were. Adapting again replaces the call.
    """
    if call.plain and call_of(model) is None:
        return model
    if call_of(model) is None:
        model.__class__ = _called(type(model))
    vars(model)[_RECORD] = call
    return model


def call_of(model: nn.Module) -> Call | None:
    """Return how an adapted network is called underneath, None for any other."""
    call = vars(model).get(_RECORD)
    return call if isinstance(call, Call) else None


def _called(own: type[nn.Module]) -> type[nn.Module]:
    def forward(self: nn.Module, x: Tensor, *more: Any, **further: Any) -> Any:
        if more or further:  # the class calls itself, in its own manner
            return own.forward(self, x, *more, **further)
        return vars(self)[_RECORD].run(partial(own.forward, self), x)

    same = {"__module__": own.__module__, "__qualname__": own.__qualname__, "__doc__": own.__doc__}
    return type(own.__name__, (own,), {**same, "forward": forward})


def _whole(*values: Any) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) for value in values)
