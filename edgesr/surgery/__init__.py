"""Surgery on learnable upsamplers: find them, look at their spectrum, replace them."""

from edgesr.surgery.calibrate import Moments, all_moments, moments
from edgesr.surgery.candidates import Candidate, choose, walk
from edgesr.surgery.grouped import admissible_groups, grouped, groups_for_rank
from edgesr.surgery.lowrank import Factorisation, factorise, lowrank
from edgesr.surgery.sites import Site, find_sites, require_sites
from edgesr.surgery.spectrum import Spectrum, spectrum
from edgesr.surgery.structure import Change, apply_changes

__all__ = [
    "Candidate",
    "Change",
    "Factorisation",
    "Moments",
    "Site",
    "Spectrum",
    "admissible_groups",
    "all_moments",
    "apply_changes",
    "choose",
    "factorise",
    "find_sites",
    "grouped",
    "groups_for_rank",
    "lowrank",
    "moments",
    "require_sites",
    "spectrum",
    "walk",
]
