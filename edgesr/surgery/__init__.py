"""Surgery on trained networks: find the layers worth it, look at their spectrum, replace them.

- upsamplers: ``find_sites``, ``require_sites``; their passes ``lowrank`` and ``grouped``, walked
  through by ``walk`` and ``choose``
- backbone: ``find_layers(model, example)`` gives its large convolutions and linear layers as sites
  for ``lowrank`` (``rank_for_error(factorise(model, site, moments), share)`` gives the rank) and
  ``tucker``; ``shrink_all(model, sites, share, decompose_all(model, sites, moments))`` takes the
  cheapest of all passes for each, ``shrink`` for one, and ``change_for`` tells without doing
- depth: ``find_blocks(model, example)``, ``rank_blocks(model, blocks, effect)`` with an effect such
  as ``distance_to(teacher, tiles)``, and ``remove(model, paths)``
- width: ``find_widths(model, example)`` gives channels inside of blocks that can be left out,
  ``narrow(model, {name: width}, inners, moments)`` leaves them out
- :data:`PASSES`: the registry of all that can be made of a network (:mod:`edgesr.surgery.passes`)
- every closed form takes ``Moments`` of the layer's real input, of all sites in one run from
  ``all_moments(model, sites, inputs, limit)``; ``reconstruction_error(model, student, site,
  moments)`` is the share of a layer's output that any replacement loses

A pass returns a new model and the :data:`Change` that it made; ``apply_changes`` repeats the
changes on a fresh network, without the weights.
"""

from edgesr.surgery.backbone import find_layers
from edgesr.surgery.calibrate import Moments, all_moments, moments, reconstruction_error
from edgesr.surgery.candidates import Candidate, choose, walk
from edgesr.surgery.passes import PASSES
from edgesr.surgery.passes.grouped import admissible_groups, grouped, groups_for_rank
from edgesr.surgery.passes.lowrank import Factorisation, factorise, lowrank, rank_for_error
from edgesr.surgery.passes.remove import distance_to, find_blocks, rank_blocks, remove
from edgesr.surgery.passes.tucker import (
    factorise_tucker,
    tucker,
    tucker_cost,
    tucker_for_error,
)
from edgesr.surgery.passes.width import find_widths, narrow, order_channels
from edgesr.surgery.shrink import (
    Decomposition,
    change_for,
    decompose,
    decompose_all,
    shrink,
    shrink_all,
)
from edgesr.surgery.sites import Site, find_sites, require_sites
from edgesr.surgery.spectrum import Spectrum, spectrum
from edgesr.surgery.structure import Change, apply_changes, changes_of

__all__ = [
    "PASSES",
    "Candidate",
    "Change",
    "Decomposition",
    "Factorisation",
    "Moments",
    "Site",
    "Spectrum",
    "admissible_groups",
    "all_moments",
    "apply_changes",
    "change_for",
    "changes_of",
    "choose",
    "decompose",
    "decompose_all",
    "distance_to",
    "factorise",
    "factorise_tucker",
    "find_blocks",
    "find_layers",
    "find_sites",
    "find_widths",
    "grouped",
    "groups_for_rank",
    "lowrank",
    "moments",
    "narrow",
    "order_channels",
    "rank_blocks",
    "rank_for_error",
    "reconstruction_error",
    "remove",
    "require_sites",
    "shrink",
    "shrink_all",
    "spectrum",
    "tucker",
    "tucker_cost",
    "tucker_for_error",
    "walk",
]
