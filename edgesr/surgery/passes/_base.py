"""What a pass is, and the kinds of passes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from edgesr.errors import OptionError
from edgesr.surgery.calibrate import Moments
from edgesr.surgery.coupling import Inner
from edgesr.surgery.registry import PASSES
from edgesr.surgery.sites import Site
from edgesr.surgery.structure import Change, apply_changes, clone

Step = tuple[int, Mapping[str, int]]
"""A setting that is aimed at, and what each site, by name, is to have for it."""

Effect = Callable[[nn.Module], float]
"""What a change costs a network: the less the better."""

S = TypeVar("S")
P = TypeVar("P")
Kind = TypeVar("Kind", bound="Pass")


class Pass(ABC):
    """One way to change a network's structure.

    Attributes:
        name: in recipes, reports and weights files; also the name of the file that it is in.
        title: for people, such as "low-rank".
        letter: of its setting in a label, such as "R" in ``low-rank R=32``.
        setting: key of its setting in reports and changes, such as "rank".
        order: of the passes of a kind, in which candidates are walked through; of equals by name.
        colours: of its points in charts, on a light and on a dark page.
        marker: of its points, one of Plotly's symbols.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    letter: ClassVar[str] = ""
    setting: ClassVar[str] = ""
    order: ClassVar[int] = 100
    colours: ClassVar[tuple[str, str]] = ("#5f6b7a", "#9aa7b8")
    marker: ClassVar[str] = "diamond"

    @classmethod
    def label(cls, setting: int) -> str:
        """Short name of the pass with a setting: ``low-rank R=32``."""
        return f"{cls.title} {cls.letter}={setting}"

    @abstractmethod
    def shape(self, change: Mapping[str, Any], layers: list[nn.Module]) -> list[nn.Module]:
        """The structure alone: from a change and the layers that it names to as many replacements.

        They hold zeros, so that a state dict fits that was saved after the pass; they may be the
        layers themselves, altered in place. Raises :class:`edgesr.errors.ModelError` for layers
        that the change does not fit.
        """


class SitePass(Pass, Generic[S, P]):
    """A pass that replaces the layers of one site by smaller ones, in closed form.

    ``S`` is a setting; ``P`` is what all settings of a site share, such as its decomposition.
    """

    @abstractmethod
    def cost(self, site: Site, setting: S) -> tuple[int, int]:
        """Parameters and MACs of the site once it has a setting."""

    @abstractmethod
    def prepare(self, model: nn.Module, site: Site, moments: Moments | None) -> P:
        """Do once for a site what :meth:`fill` needs for every setting of it.

        ``moments`` are those of the site's real input; None for the best in weight space.
        """

    @abstractmethod
    def fill(self, model: nn.Module, student: nn.Module, change: Change, prepared: P) -> None:
        """Give the layers of ``student`` that ``change`` has made of those of ``model`` weights."""

    def check(self, site: Site, setting: S) -> None:
        """Raise :class:`OptionError` for a setting that the site cannot have."""

    def entry(self, setting: S) -> dict[str, int]:
        """A setting as a change holds it."""
        return {self.setting: setting}  # type: ignore[dict-item]  # others override

    def change(self, site: Site, setting: S) -> Change:
        """What is written into a file for a site that gets a setting."""
        start = {"pass": self.name, "site": site.name, "layers": list(site.layers)}
        return {**start, **self.entry(setting)}

    @torch.no_grad()
    def apply(
        self,
        model: nn.Module,
        site: Site,
        setting: S,
        moments: Moments | None = None,
        *,
        prepared: P | None = None,
    ) -> tuple[nn.Module, Change]:
        """A copy of ``model`` whose site has a setting, and the change that was made.

        ``moments`` as for :meth:`prepare`, of which ``prepared`` is the result where it is shared.
        Raises :class:`OptionError` for a setting that the site cannot have.
        """
        self.check(site, setting)
        shared = self.prepare(model, site, moments) if prepared is None else prepared
        change = self.change(site, setting)
        student = apply_changes(clone(model), [change])
        self.fill(model, student, change, shared)
        return student, change


class UpsamplerPass(SitePass[int, P]):
    """A pass that makes an upsampler smaller.

    Attributes:
        one_graph: whether networks of different settings share their ONNX graph, up to the widths
            of layers; then one is exported, and the others are its file with other weights.
    """

    one_graph: ClassVar[bool] = False

    @abstractmethod
    def admissible(self, site: Site) -> Sequence[int]:
        """Settings that a site can have, from large to small; none for a site of another kind."""

    def check(self, site: Site, setting: int) -> None:
        admissible = self.admissible(site)
        if setting not in admissible:
            valid = f"choose from {list(admissible)}" if admissible else "use another pass"
            raise OptionError(f"{site.name!r} cannot have {self.setting} {setting}: {valid}")

    def steps(self, sites: Sequence[Site], starts: Mapping[str, int]) -> Iterator[Step]:
        """What is worth measuring, from large to small.

        Here every step is one setting for all sites that can have it.

        Args:
            sites: all upsamplers of the network.
            starts: rank by site name at which its spectrum reaches the target, for passes that
                have a use for it.
        """
        choices = {site.name: self.admissible(site) for site in sites}
        for setting in dict.fromkeys(one for found in choices.values() for one in found):
            yield setting, {name: setting for name, found in choices.items() if setting in found}

    def nearest(self, setting: int) -> int:
        """The setting that is taken where this one is asked for."""
        return setting

    def at_target(self, sites: Sequence[Site], starts: Mapping[str, int]) -> int | None:
        """The setting that stays at the target's own rank; None where the pass knows of none."""
        return None

    def choices(self, settings: Sequence[int]) -> str:
        """The settings that may be asked for, in words."""
        return ", ".join(map(str, settings))

    def groups(self, site: Site, setting: int) -> dict[str, int]:
        """Groups of convolutions by the name of their weight, where these alone make the graph of
        the result differ from that of the original network. Empty where more does.
        """
        return {}


class BackbonePass(SitePass[S, P]):
    """A pass that makes a convolution or linear layer of the backbone smaller."""

    def fits(self, site: Site) -> bool:
        """Whether the pass has a form for such a layer."""
        return True

    @abstractmethod
    def for_error(self, site: Site, prepared: P, error: float, step: int) -> S | None:
        """The setting of fewest MACs that loses at most the share ``error`` of the output's energy.

        Args:
            site: a layer that :meth:`fits`.
            prepared: what :meth:`prepare` returned for it.
            error: in [0, 1); the energy is that of the output on the calibration data.
            step: of which numbers of inner channels are multiples.
        """


class BlockPass(Pass):
    """A pass that takes whole blocks out of a network."""

    @abstractmethod
    def find(self, model: nn.Module, example: Tensor) -> list[str]:
        """Module paths of the blocks that may go, in the order of the network's modules."""

    @abstractmethod
    def rank(
        self, model: nn.Module, blocks: Sequence[str], effect: Effect
    ) -> list[tuple[str, float]]:
        """Blocks in the order in which they are best taken out, with the effect once each is."""

    @abstractmethod
    def apply(self, model: nn.Module, paths: Sequence[str]) -> tuple[nn.Module, Change]:
        """A copy of ``model`` without the blocks at ``paths``, and the change that was made."""


class WidthPass(Pass, Generic[P]):
    """A pass that leaves channels inside of a network out; ``P`` is what all widths share."""

    @abstractmethod
    def find(self, model: nn.Module, example: Tensor) -> list[Inner]:
        """Inner widths that may be narrowed."""

    @abstractmethod
    def prepare(self, model: nn.Module, inner: Inner, moments: Mapping[str, Moments] | None) -> P:
        """Do once for an inner width what :meth:`apply` needs for every setting of it.

        ``moments`` are those of its readers by name; None for the best in weight space.
        """

    @abstractmethod
    def apply(
        self,
        model: nn.Module,
        chosen: Mapping[str, int],
        inners: Sequence[Inner],
        moments: Mapping[str, Moments] | None = None,
        *,
        orders: Mapping[str, P] | None = None,
    ) -> tuple[nn.Module, Change]:
        """A copy of ``model`` with the widths ``chosen`` by name, and the change that was made."""


def passes_of(kind: type[Kind]) -> dict[str, Kind]:
    """Every registered pass of a kind by name, in their order; imports all of them.

    What a package offers and cannot be imported is named in a warning and left out.
    """
    found = [one for one in PASSES.load().values() if isinstance(one, kind)]
    return {one.name: one for one in sorted(found, key=lambda one: (one.order, one.name))}
