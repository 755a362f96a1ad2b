"""``edgesr reproduce``: from the name of a table to a results file that holds it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from edgesr.cube.nodata import nodata_in_json
from edgesr.cube.options import ReadOptions
from edgesr.cube.parts import cube_files
from edgesr.errors import OptionError
from edgesr.loading.workload import prepare_torch
from edgesr.outputs import check_folder, check_outputs
from edgesr.recipe.options import COUNT, THREADS, require
from edgesr.recipe.recipes import EMBEDDED
from edgesr.report import environment
from edgesr.reproduce import catalogue, real
from edgesr.reproduce.experiment import Experiment
from edgesr.reproduce.runner import Runner
from edgesr.reproduce.scenes import Scenes, parse_cubes
from edgesr.reproduce.store import Store

SEEDS = {real.NAME: 3}
"""Seeds where the user does not say; tables of the papers have one."""


def reproduce(
    name: str,
    data: Sequence[str],
    output: Path,
    *,
    seeds: int | None = None,
    epochs: int | None = None,
    quick: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    reading: ReadOptions | None = None,
) -> dict[str, Any]:
    """Run what a table needs, and return the content of the results file.

    What the file holds already is not run again, so an interrupted run goes on with the same
    call; a training that was under way goes on from its last epoch.

    Args:
        name: one of :data:`edgesr.reproduce.catalogue.TITLES`.
        data: the cubes, ``NAME=FILE``; a plain file where the table has one cube; for ``real``
            any names, the embedded cube if there are none.
        output: results file, ``.json``; networks and checkpoints lie in a folder beside it.
        seeds: trainings of each row; 1, for ``real`` 3.
        epochs: of every training, instead of those that the table asks for.
        quick: one step for every training, on cubes of any size: a rehearsal.
        device: torch device.
        threads: CPU threads; None for all.
        reading: of the cubes, what is taken instead of what their files say.

    Raises:
        OptionError: an unknown table, a cube that is missing or belongs to another table, or
            options out of range; the results file is a cube, or another process is writing it.
        DataError: a cube does not fit, or the file holds results of another cube.
    """
    catalogue.check_name(name)
    _check(output, seeds, epochs, threads)
    expected = catalogue.cubes_of(name)
    cubes = parse_cubes(data, expected)
    if not cubes:
        if expected:
            wanted = " ".join(f"--data {cube}=FILE" for cube in expected)
            raise OptionError(f"{name} needs its published data: {wanted}")
        cubes = {EMBEDDED: EMBEDDED}
    tables = catalogue.find(name, list(cubes), seeds or SEEDS.get(name, 1))
    if quick and epochs is not None:
        raise OptionError("--quick trains for one step, whatever --epochs says; leave out one")
    if quick:
        tables = catalogue.rehearsed(tables)
    elif epochs is not None:
        tables = catalogue.shortened(tables, epochs)
    files = [file for cube in cubes.values() for file in cube_files(cube)]
    check_outputs([output], files, overwrite=True, makes_folder=True)
    prepare_torch(device, threads)
    scenes = Scenes(cubes, reading)
    with Store.locked(output) as store:
        check_folder(store.folder, files)
        _check_cubes(store, scenes, cubes)
        runner = Runner(store, scenes, device)
        if name == real.NAME:
            runner.run_all(real.by_seed(tables, list(cubes)), keep_all=False)
        else:
            runner.run_all([trial for table in tables for trial in table.trials()])
        _finish(store, tables, name, device, {"quick": quick, "epochs": epochs})
    return store.content


def _check(output: Path, seeds: int | None, epochs: int | None, threads: int | None) -> None:
    if output.suffix != ".json":
        raise OptionError(f"--output {output} must end in .json")
    for name, value, check in (
        *(("seeds", seeds, COUNT), ("epochs", epochs, COUNT), ("threads", threads, THREADS)),
    ):
        require(name, value, check)


def _check_cubes(store: Store, scenes: Scenes, cubes: dict[str, str]) -> None:
    """A results file belongs to certain cubes; another one under the same name is refused."""
    known: dict[str, Any] = store.content.setdefault("cubes", {})
    for name in cubes:
        cube = scenes.cube(name)
        sample = cube.data[::7, ::7].tobytes()
        found: dict[str, Any] = {
            "shape": list(cube.shape),
            "sha256": hashlib.sha256(sample).hexdigest()[:16],
        }
        if scenes.reading.nodata is not None:  # the axes are in the shape and the hash
            found["nodata"] = nodata_in_json(scenes.reading.nodata)
        if known.setdefault(name, found) != found:
            raise OptionError(
                f"{store.path} holds results of another {name}; choose another --output"
            )


def _finish(
    store: Store,
    tables: Sequence[Experiment],
    name: str,
    device: str,
    changes: dict[str, Any],
) -> None:
    """Add what a reader of the file needs to know: the tables, the settings and the machine."""
    content = store.content
    content["experiments"] |= {table.name: _described(table, changes) for table in tables}
    content["created"] = datetime.now().astimezone().isoformat(timespec="seconds")
    content["environment"] = environment(device, torch.get_num_threads())
    if name == real.NAME:
        content["settings"] = real.SETTINGS
    content["cpu_minutes"] = round(
        sum(result["cpu_seconds"] for result in content["trials"].values()) / 60, 1
    )
    store.write()


def _described(table: Experiment, changes: dict[str, Any]) -> dict[str, Any]:
    rows = [
        {
            "label": row.label,
            "cube": row.cube,
            "scale": row.scale,
            "trials": [trial.key for trial in row.trials],
            "published": dict(row.published),
        }
        for row in table.rows
    ]
    departures = {option: value for option, value in changes.items() if value}
    return {
        "title": table.title,
        "notes": list(table.notes),
        "baseline": table.baseline,
        **departures,
        "rows": rows,
    }
