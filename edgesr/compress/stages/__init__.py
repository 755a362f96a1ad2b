"""The stages of a compression, one file each, in the order of the arrow.

::

    teacher -> baselines -> candidates -> students -> export
        -> deploy -> pictures -> judge -> report

``candidates``, which a search takes up as well, lies beside this folder. Each is a function that
takes what it uses and returns what it found; none knows a recipe, a run folder or how to resume.
``docs/stages.md`` calls them one after the other.
"""
