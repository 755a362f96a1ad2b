"""Archives: many scenes, each one task that can be done again, recorded when it is done.

::

    sources -> jobs -> engine (this process, or workers of Dask) -> receipts -> archive.json

A scene is super-resolved by a function that is known by its dotted name, so that a worker on
another machine finds it. Nothing here imports Dask before workers are asked for.
"""

from edgesr.scenes.archive.jobs import SceneJob, make_jobs
from edgesr.scenes.archive.run import run_archive

__all__ = ["SceneJob", "make_jobs", "run_archive"]
