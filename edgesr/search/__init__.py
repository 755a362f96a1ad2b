"""Search: the whole network made smaller within a budget, not its upsampler alone."""

from edgesr.search.budget import Budget, choose, front
from edgesr.search.design import ERRORS, Backbone, Design, survey
from edgesr.search.entries import search_entry
from edgesr.search.loop import Search, missing, require_quality, search
from edgesr.search.trial import Trial

__all__ = [
    "ERRORS",
    "Backbone",
    "Budget",
    "Design",
    "Search",
    "Trial",
    "choose",
    "front",
    "missing",
    "require_quality",
    "search",
    "search_entry",
    "survey",
]
