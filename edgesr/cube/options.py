"""What the user knows better than a file."""

from __future__ import annotations

from dataclasses import dataclass

from edgesr.errors import OptionError

AXES = "hwb"
UNITS = ("nm", "um")


@dataclass(frozen=True)
class ReadOptions:
    """What is taken instead of what a file says, or does not say.

    Attributes:
        nodata: the number that stands for "no measurement".
        axes: what the axes of the stored array are, in its order: ``h`` (height, rows), ``w``
            (width, columns) and ``b`` (bands), such as ``bhw``.
        wavelength_unit: of the stored wavelengths and widths, ``nm`` or ``um``.

    Raises:
        OptionError: no such order of axes or unit.
    """

    nodata: float | None = None
    axes: str | None = None
    wavelength_unit: str | None = None

    def __post_init__(self) -> None:
        if self.axes is not None and sorted(self.axes) != sorted(AXES):
            raise OptionError(
                f"the axes are the letters h, w and b (height, width, bands) in the order of the "
                f"stored array, such as bhw; received {self.axes!r}"
            )
        if self.wavelength_unit is not None and self.wavelength_unit not in UNITS:
            raise OptionError(
                f"wavelengths are in {' or '.join(UNITS)}; received {self.wavelength_unit!r}"
            )

    @property
    def order(self) -> tuple[int, int, int] | None:
        """The axes of the stored array that are height, width and bands; None where not said."""
        if self.axes is None:
            return None
        height, width, bands = (self.axes.index(axis) for axis in AXES)
        return height, width, bands
