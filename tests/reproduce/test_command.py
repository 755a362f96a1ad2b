"""``edgesr reproduce`` from the command line, on generated cubes with the published bands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from reproduce_fakes import saved_cube

from edgesr.cli.main import main
from edgesr.cube import ReadOptions
from edgesr.errors import OptionError
from edgesr.reproduce import catalogue
from edgesr.reproduce.command import _check_cubes
from edgesr.reproduce.published import METRICS
from edgesr.reproduce.real import GROUPS, equal_rank
from edgesr.reproduce.scenes import Scenes
from edgesr.reproduce.store import Store

BANDS = {
    "chikusei": 128,
    "houston2018": 48,
    "pavia_centre": 102,
    "dacn_pavia_centre": 102,
    "dacn_pavia_university": 103,
}
SLOW_TABLES = [name for name in catalogue.TITLES if name not in ("lkca:fig4", "real")]


@pytest.fixture
def rehearse(workplace, capsys):
    """Rehearse a table on generated cubes; what it printed, and the results file."""

    def run(name: str, *cubes: str) -> tuple[str, dict]:
        arguments = []
        for cube in cubes:
            path = saved_cube(Path(f"{cube}.npy"), side=96, bands=BANDS[cube])
            arguments += ["--data", f"{cube}={path}"]
        assert main(["reproduce", name, *arguments, "--quick", "--threads", "1"]) == 0
        return capsys.readouterr().out, json.loads(Path("runs/reproduce.json").read_text())

    return run


def complete(table: dict, content: dict) -> None:
    """Every row of a network that we have has six finite metrics."""
    for row in table["rows"]:
        for key in row["trials"]:
            test = content["trials"][key]["test"]
            assert set(test) == set(METRICS)
            assert np.isfinite(list(test.values())).all()


def test_a_figure_beside_the_published_one(rehearse) -> None:
    printed, content = rehearse("lkca:fig4", "houston2018")
    table = content["experiments"]["lkca:fig4"]
    complete(table, content)
    (key,) = table["rows"][1]["trials"]
    rank = content["trials"][key]["rank"]["sum"]
    lines = printed.splitlines()
    here = next(index for index, line in enumerate(lines) if line.startswith("houston2018"))
    ours, paper = [line for line in lines[here:] if "here" in line or "paper" in line][:2]
    assert ours.split()[-1] == str(rank)
    assert paper.split()[-1] == "60"
    assert "REHEARSAL" in printed
    assert "not given: --data chikusei=FILE, --data pavia_centre=FILE" in printed


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_TABLES)
def test_every_row_of_every_table_runs(rehearse, name: str) -> None:
    printed, content = rehearse(name, *catalogue.cubes_of(name))
    table = content["experiments"][name]
    complete(table, content)
    for row in table["rows"]:
        assert row["label"] in printed


@pytest.mark.slow
def test_the_published_protocol_on_a_cube_of_its_shape(workplace, capsys) -> None:
    """All windows of Pavia Centre are cut, trained on once, and tested."""
    row = np.random.default_rng(0).integers(1, 4000, (1, 715, 102), dtype=np.uint16)
    np.save("pavia.npy", np.broadcast_to(row, (1096, 715, 102)))
    arguments = ["--data", "pavia_centre=pavia.npy", "--epochs", "1", "--threads", "1"]
    assert main(["reproduce", "lkca:fig4", *arguments]) == 0
    assert "trained for 1 epochs" in capsys.readouterr().out


@pytest.mark.slow
def test_all_experiments_on_any_cube(workplace, capsys) -> None:
    path = saved_cube(Path("mine.npy"), side=96, bands=60)
    arguments = ["--data", f"mine={path}", "--epochs", "1", "--seeds", "2", "--threads", "1"]
    assert main(["reproduce", "real", *arguments, "--output", "mine.json"]) == 0
    printed, content = capsys.readouterr().out, json.loads(Path("mine.json").read_text())
    assert {"blocks", "surgery", "after-surgery", "distillation", "decay"} < set(
        content["experiments"]
    )
    for table in content["experiments"].values():
        complete(table, content)
    sizes = {
        row["label"]: content["trials"][row["trials"][0]]["upsampler_params"]
        for row in content["experiments"]["surgery"]["rows"]
    }
    for groups in GROUPS:
        grouped = sizes[f"g = {groups}, closed form"]
        lowrank = sizes[f"R = {equal_rank(groups)}, closed form"]
        assert 0.9 * grouped < lowrank <= grouped
    assert "verdict" in printed


def test_the_list_names_tables_and_cubes(capsys) -> None:
    assert main(["reproduce", "--list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert list(lines) == list(catalogue.TITLES)
    assert lines["lkca:7"].endswith("[pavia_centre]")


def test_results_of_another_cube_are_refused(workplace, refused) -> None:
    saved_cube(Path("houston2018.npy"), side=96, bands=48)
    cubes = {"houston2018": {"shape": [96, 96, 48], "sha256": "of another cube"}}
    Path("runs").mkdir()
    content = {"format": 1, "experiments": {}, "trials": {}, "cubes": cubes}
    Path("runs/reproduce.json").write_text(json.dumps(content))
    line = refused("reproduce", "lkca:fig4", "--data", "houston2018=houston2018.npy", "--quick")
    assert "holds results of another houston2018" in line


def test_results_of_another_nodata_are_refused(workplace) -> None:
    """The cube is the one of the results; what it masks is not."""
    saved_cube(Path("made.npy"), side=16, bands=4)
    cubes = {"made": "made.npy"}
    with Store.locked(Path("results.json")) as store:
        for reading in (None, ReadOptions(), None):
            _check_cubes(store, Scenes(cubes, reading), cubes)
        with pytest.raises(OptionError, match="holds results of another made"):
            _check_cubes(store, Scenes(cubes, ReadOptions(nodata=3)), cubes)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name a table, such as lkca:5"),
        (("lkca:9", "--data", "x.npy"), "there is no table 'lkca:9'"),
        (("lkca:5",), "needs its published data: --data chikusei=FILE"),
        (("lkca:5", "--data", "pavia=x.npy"), "this table needs chikusei"),
        (("lkca:fig4", "--data", "x.npy"), "does not say which cube it is"),
        (("lkca:5", "--data", "missing.npy"), "missing.npy"),
        (("lkca:5", "--data", "a=", "--seeds", "2"), "does not say which cube it is"),
        (("real", "--data", "a=x.npy", "--data", "a=y.npy"), "names a twice"),
        (("real", "--seeds", "0"), "--seeds must be an integer from 1"),
        (("real", "--epochs", "-1"), "--epochs must be an integer from 1"),
        (("real", "--output", "results.txt"), "must end in .json"),
    ],
)
def test_bad_input_is_one_line(refused, arguments, words) -> None:
    assert words in refused("reproduce", *arguments)
