"""Search: the whole network made smaller within a budget, not its upsampler alone."""

from edgesr.compress.search.budget import Budget, choose, front
from edgesr.compress.search.design import ERRORS, Backbone, Design, build, survey
from edgesr.compress.search.entries import search_entry
from edgesr.compress.search.loop import Search, missing, require_quality, search
from edgesr.compress.search.options import SearchOptions
from edgesr.compress.search.trial import Trial

__all__ = [
    "ERRORS",
    "Backbone",
    "Budget",
    "Design",
    "Search",
    "SearchOptions",
    "Trial",
    "build",
    "choose",
    "front",
    "missing",
    "require_quality",
    "search",
    "search_entry",
    "survey",
]
