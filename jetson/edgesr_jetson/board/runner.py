"""One interface for whatever runs a network on the board."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .profile import Layers


class Runner:
    """A loaded network of one input [1, B, h, w] and one output [1, B, r*h, r*w].

    Call :meth:`prepare` with a shape before anything else; buffers are made there, never later.
    """

    one_size: tuple[int, int] | None = None
    """The only (h, w) that it takes, where that is less than the bundle's range."""

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether an input of ``shape``, which the bundle's range has, can be run."""
        return self.one_size in (None, tuple(shape[2:4]))

    def prepare(self, shape: tuple[int, ...]) -> None:
        """Make buffers for inputs of ``shape``.

        Raises:
            BoardError: the network does not take this shape, or memory is short.
        """
        raise NotImplementedError

    def load(self, tile: np.ndarray) -> None:
        """Bring a tile to where :meth:`run` reads it."""
        raise NotImplementedError

    def run(self) -> None:
        """Compute on what was loaded; nothing is copied to or from the host. Returns when done."""
        raise NotImplementedError

    def infer(self, tile: np.ndarray) -> np.ndarray:
        """Whole way of a float32 tile in host memory to a float32 output in host memory.

        The array that comes back is valid until the next call.
        """
        raise NotImplementedError

    def infer_into(self, tile: np.ndarray, answer: np.ndarray) -> None:
        """Whole way of a tile to an ``answer`` of the caller's; both as the network has them."""
        np.copyto(answer, self.infer(tile), casting="same_kind")

    def memory(self) -> dict[str, Any]:
        """Memory of the device in MB: what is in use, free and total, or absent."""
        raise NotImplementedError

    def layers(self, tile: np.ndarray, runs: int) -> Layers:
        """Times of every layer in each of ``runs`` runs on ``tile``; the last thing to be asked.

        Raises:
            BoardError: the runtime has no profiler.
        """
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Say how the network runs: device, types of input and output."""
        raise NotImplementedError

    def close(self) -> None:
        """Give memory back."""
