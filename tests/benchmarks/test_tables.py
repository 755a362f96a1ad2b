"""Tables stand where the marks are, and what is committed is what the results say."""

from __future__ import annotations

import re

import pytest
from benchmark_fakes import record

from benchmarks import __main__ as program
from benchmarks.fit import growth
from benchmarks.machine import file_name
from benchmarks.results import FOLDER, Results
from benchmarks.sections import REASONS
from benchmarks.tables import MARKED, PAGES, rendered

PAGE = "before\n<!-- bench:{section} {file} -->\nold\n<!-- /bench:{section} -->\nafter\n"


@pytest.fixture
def results(saved):
    return saved(record("surgery", 1500, step="whitened SVD"))


def test_a_table_is_made_between_its_marks(results, tmp_path):
    page = PAGE.format(section="steps", file="abacus.json")
    text = rendered(page, folder=tmp_path)
    assert text.startswith("before\n<!-- bench:steps abacus.json -->\n| What |")
    assert text.endswith("\n<!-- /bench:steps -->\nafter\n")
    assert "whitened SVD" in text
    assert "old" not in text
    assert rendered(text, folder=tmp_path) == text


def test_new_results_take_over_the_marks(results):
    text = rendered(PAGE.format(section="steps", file="gone.json"), results)
    assert "<!-- bench:steps abacus.json -->" in text


def test_tables_of_a_gpu_take_no_results_of_a_cpu(results):
    page = PAGE.format(section="gpu", file="gpu.json")
    assert rendered(page, results) == page


def test_a_table_that_nothing_was_measured_for_waits(results):
    page = PAGE.format(section="gpu", file="none")
    assert rendered(page) == page


def test_an_unknown_section_is_refused(results):
    with pytest.raises(ValueError, match="no section ghost"):
        rendered(PAGE.format(section="ghost", file="abacus.json"), results)


@pytest.mark.parametrize("content", ["[]", "{}"])
def test_what_is_no_file_of_results_is_refused(tmp_path, content):
    (tmp_path / "other.json").write_text(content)
    with pytest.raises(ValueError, match="make bench"):
        Results.load(tmp_path / "other.json")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_committed_tables_are_what_the_committed_results_say(page):
    text = page.read_text("utf-8")
    assert MARKED.search(text)
    assert text.count("<!-- bench:") == text.count("<!-- /bench:") == len(MARKED.findall(text))
    assert rendered(text) == text


def test_committed_pictures_exist():
    for page in PAGES:
        for name in re.findall(r"!\[[^]]*\]\((results/[^)]+)\)", page.read_text("utf-8")):
            assert (page.parent / name).is_file()


SUITES = [path for path in sorted(FOLDER.glob("*.json")) if '"machine_info"' in path.read_text()]
"""Results of the suite; others of the folder are of programs that say what theirs are."""


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_committed_growth_beyond_the_linear_is_explained(path):
    axes: dict[str, list] = {}
    for one in Results.load(path).records("growth with "):
        axes.setdefault(one.facts["axis"], []).append(one)
    for axis, points in axes.items():
        x = [one.facts["x"] for one in points]
        time = growth(x, [one.median_ms for one in points])
        memory = growth(x, [one.facts["peak_bytes"] for one in points])
        assert axis in REASONS or not (time.superlinear or memory.superlinear), (axis, time, memory)


@pytest.mark.parametrize(
    ("device", "name"),
    [("cpu", "amd-epyc-9-tm-4-threads"), ("cuda (NVIDIA H200)", "cuda-nvidia-h200")],
)
def test_results_are_named_by_the_machine(device, name):
    assert file_name({"cpu": "AMD EPYC 9(TM)", "threads": 4, "device": device}) == name


@pytest.mark.parametrize("words", [["--quick"], []])
def test_nothing_is_saved_of_a_run_that_failed_or_was_quick(monkeypatch, tmp_path, words):
    def measured(arguments: list[str]) -> int:
        (option,) = [one for one in arguments if one.startswith("--benchmark-json=")]
        with open(option.partition("=")[2], "w") as file:  # noqa: PTH123
            file.write('{"benchmarks": [], "machine_info": {}}')
        return 0 if words else 1

    monkeypatch.setattr(program.pytest, "main", measured)
    monkeypatch.setattr(program, "FOLDER", tmp_path)
    assert program.main(words) == (0 if words else 1)
    assert not list(tmp_path.iterdir())


@pytest.fixture(autouse=True)
def scenes(monkeypatch) -> list[list[str]]:
    """Words with which the benchmark of scenes was asked for."""
    asked: list[list[str]] = []
    monkeypatch.setattr(program.scenes, "main", lambda words: asked.append(words) or 0)
    return asked


def test_a_run_is_saved_whole_and_its_tables_are_made(monkeypatch, tmp_path, scenes):
    content = (
        '{"machine_info": {"cpu": "Abacus", "threads": 2, "device": "cpu"}, "benchmarks": [1]}'
    )
    made = []

    def measured(arguments: list[str]) -> int:
        (option,) = [one for one in arguments if one.startswith("--benchmark-json=")]
        with open(option.partition("=")[2], "w") as file:  # noqa: PTH123
            file.write(content)
        return 0

    monkeypatch.setattr(program.pytest, "main", measured)
    monkeypatch.setattr(program, "FOLDER", tmp_path)
    monkeypatch.setattr(program, "render", made.append)
    assert program.main([]) == 0
    (path,) = tmp_path.iterdir()
    assert (path.name, path.read_text()) == ("abacus-2-threads.json", content + "\n")
    assert made == [path]
    assert scenes == [["--output", str(tmp_path / "abacus-2-threads-scenes")]]


def test_a_run_that_measured_nothing_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(program.pytest, "main", lambda arguments: 0)
    monkeypatch.setattr(program, "FOLDER", tmp_path)
    assert program.main(["--gpu"]) == 1
    assert "nothing was measured" in capsys.readouterr().err
