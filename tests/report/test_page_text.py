"""The page as text: complete, self-contained, and safe whatever the names in it are."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from msgspec import Struct, structs

from edgesr.report import parse, validate
from edgesr.report.page import render_page, write_page
from edgesr.report.pictures import TRUTH, Pictures

EVIL = "</script><x-evil onclick=alert(1)>\"'&"


class Reader(HTMLParser):
    """Collects elements, their attributes, text, and the contents of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data):
        where = self.open[-1] if self.open else ""
        if where == "script":
            self.scripts[-1] += data
        elif where == "style":
            self.styles.append(data)
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def ids(self) -> list[str]:
        return [attrs["id"] for _, attrs in self.elements if "id" in attrs]

    def payload(self) -> dict[str, Any]:
        kinds = [attrs.get("type") for tag, attrs in self.elements if tag == "script"]
        return json.loads(self.scripts[kinds.index("application/json")])


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    random = np.random.default_rng(0)
    names = (TRUTH, "bicubic", "teacher", "student", "int8")
    images = {name: random.uniform(size=(4, 6, 16)).astype("float32") for name in names}
    return Pictures.of_window(images, [450, 550, 650, 2000], (8, 0))


def test_a_program_manager_finds_the_figures(report, pictures, read_result):
    page = Reader(render_page(parse(report), pictures, [read_result()]))
    for words in (
        "The upsampler is 13.2 times smaller",
        "low-rank R=24",
        "exact rewrites",
        "it needs a GPU",
        "Orin Nano, 15W",
        "no layer of the engine has it",
        "test region of indian_pines, 1 window of 48 × 144 pixels",
        "2 threads, AMD EPYC, input 1 × 36 × 32 × 32",
        "6 × 16 pixels from row 8, column 0",
    ):
        assert words in page.text, words
    assert "middle of a test window" not in page.text


def test_every_chart_has_its_place_and_every_link_its_target(report, pictures, read_result):
    page = Reader(render_page(parse(report), pictures, [read_result()]))
    ids = page.ids()
    assert len(ids) == len(set(ids))
    places = {a["id"] for _, a in page.elements if a.get("class") == "chart"}
    assert places - {"spectra"} == set(page.payload()["charts"])
    links = [attrs["href"] for tag, attrs in page.elements if tag == "a"]
    assert len(links) >= 7
    assert all(link[0] == "#" and link[1:] in ids for link in links)


def test_nothing_is_loaded_and_only_known_scripts_run(report, pictures):
    page = Reader(render_page(parse(report), pictures))
    for tag, attrs in page.elements:
        assert "src" not in attrs or tag == "none"
        assert tag not in ("iframe", "object", "embed", "form", "base")
        assert not [name for name in attrs if name.startswith("on")]
        assert attrs.get("href", "#").startswith(("#", "data:,"))
    assert not [style for style in page.styles if "url(" in style or "@import" in style]
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "http" not in policy
    kinds = [attrs.get("type") for tag, attrs in page.elements if tag == "script"]
    for kind, script in zip(kinds, page.scripts, strict=True):
        if kind is None:
            digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
    script_rules = policy.split("script-src")[1].split(";")[0]
    assert script_rules.count("sha256-") == kinds.count(None) == 4
    assert "unsafe" not in script_rules


def poisoned(value: Any, keep: tuple[str, ...] = ("method", "kept")) -> Any:
    """Put markup into every text of a report, but where the schema allows only few words."""
    if isinstance(value, Struct):
        return structs.replace(value, **poisoned(structs.asdict(value), keep))
    if isinstance(value, dict):
        return {
            (key + EVIL if key in ("open", "rank_target") else key): entry
            if key in keep
            else poisoned(entry, keep)
            for key, entry in value.items()
        }
    if isinstance(value, list):
        return [poisoned(entry, keep) for entry in value]
    return value + EVIL if isinstance(value, str) else value


def test_names_from_files_stay_text(report, pictures, read_result):
    report["profile"] = {
        "runtime": "r", "input_shape": [1], "threads": 1, "runs": 1,
        "networks": [{"name": "n", "layers": [{"layer": "l", "op": "Conv", "ms": 1.0}]}],
    }  # fmt: skip
    board = read_result()
    object.__setattr__(board, "content", poisoned(board.content, ("status", "precision")))
    clean = Reader(render_page(parse(report), pictures, [read_result()]))
    dirty = Reader(render_page(poisoned(parse(report)), pictures, [board]))
    assert "x-evil" not in {tag for tag, _ in dirty.elements}
    assert not [1 for _, attrs in dirty.elements if "onclick" in attrs]
    count = {tag: [t for t, _ in page.elements].count(tag) for page in (clean,) for tag in
             ("script", "style", "section", "table")}  # fmt: skip
    assert count == {tag: [t for t, _ in dirty.elements].count(tag) for tag in count}
    assert "indian_pines" + EVIL in "".join(dirty.words)
    assert dirty.payload()["charts"].keys() == clean.payload()["charts"].keys()


def without(report: dict[str, Any], *path: str) -> dict[str, Any]:
    copied = copy.deepcopy(report)
    place = copied
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return copied


def test_what_is_missing_is_left_out(report):
    bare = without(report, "deployment")
    bare["paper_baseline"] = None
    bare["candidates"] = []
    for key in ("source", "scale"):
        del bare["data"][key]
    bare["data"]["normalisation"] = {}
    bare["distillation"] = {"epochs": 0, "best_epoch": 0, "kept": "closed form", "history": []}
    bare["onnx"]["rewrites"] = []
    page = Reader(render_page(parse(bare), None))
    assert set(page.payload()["charts"]) == {"share", "spectrum-0", "latency"}
    assert page.payload()["pictures"] is None
    assert not {"pictures", "choice", "pareto"} & set(page.ids())
    assert "No board has been measured yet" in page.text
    assert "paper's" not in page.text
    links = [attrs["href"] for tag, attrs in page.elements if tag == "a"]
    assert all(link[1:] in page.ids() for link in links)


def test_candidates_without_any_latency_have_a_table_and_no_chart(report):
    for candidate in report["candidates"]:
        candidate["latency_ms"] = None
    page = Reader(render_page(parse(report), None))
    assert "pareto" not in page.payload()["charts"]
    assert "All 5 candidates" in page.text


def test_what_int8_changes_is_said_with_its_interval(report):
    quantised = report["deployment"]["models"][0]
    quantised["precision"] = "int8"
    quality = {"mpsnr": 31.4, "sam": 2.0}
    quantised["validation"] = {
        "before": quality, "after": quality, "drop": {"mpsnr": 0.012, "sam": 0.004},
        "mpsnr_interval": [-0.01, 0.034], "sam_interval": [0.001, 0.009],
    }  # fmt: skip
    quantised["layers"] = [{"name": "head", "kind": "conv", "precision": "int8", "reason": "fits"}]
    text = Reader(render_page(parse(report), None)).text
    assert (
        "change on budget blocks: −0.012 dB (interval −0.034 to +0.010), +0.004 degrees"
        " (+0.001 to +0.009)"
    ) in text


def test_folds_are_said_where_they_were_measured(report):
    assert "folds" not in Reader(render_page(parse(report), None)).text
    report["candidates"][0]["validation"]["folds"] = 6
    text = Reader(render_page(parse(report), None)).text
    assert "measured on budget blocks and folds of the training part." in text
    assert "6 folds of the training part, calibrated on the rest of it each time" in text


def test_several_sites_have_a_spectrum_each(report):
    report["spectrum"].append(report["spectrum"][0] | {"site": "second"})
    page = Reader(render_page(parse(report), None))
    assert {"spectrum-0", "spectrum-1"} <= set(page.ids())
    assert "second" in page.text


def test_a_cropped_window_says_so(report):
    truth = np.zeros((40, 400, 420), dtype="float32")
    page = Reader(render_page(parse(report), Pictures.of_window({TRUTH: truth, "student": truth})))
    assert "the middle of a test window of 400 × 420 pixels" in page.text


def test_a_profile_of_layers_is_valid_and_shown(report):
    report["profile"] = {
        "runtime": "ONNX Runtime, CPU", "input_shape": [1, 36, 32, 32], "threads": 2, "runs": 9,
        "networks": [
            {"name": "student", "layers": [{"layer": "conv_7", "op": "Conv", "ms": 1.25}]},
        ],
    }  # fmt: skip
    validate(report)
    page = Reader(render_page(parse(report), None))
    assert {"operators", "layers-0"} <= set(page.payload()["charts"])
    assert "conv_7" in page.text


def test_the_file_appears_whole_or_not_at_all(report, pictures, tmp_path):
    path = write_page(parse(report), pictures, tmp_path / "report.html")
    assert path.read_text("utf-8") == render_page(parse(report), pictures)
    assert path.stat().st_size < 6_000_000
    before = path.read_bytes()
    broken = structs.replace(parse(report), recipe=None)
    with pytest.raises(AttributeError):
        write_page(broken, pictures, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_the_largest_pictures_fit_the_promise(report):
    """Noise, which deflates worst; real pictures are smooth from band to band."""
    random = np.random.default_rng(0)
    smooth = random.uniform(size=(60, 300, 300)).astype("float32").cumsum(axis=0) / 60
    images = dict.fromkeys((TRUTH, "bicubic", "teacher", "student", "int8"), smooth)
    page = render_page(parse(report), Pictures.of_window(images))
    assert len(page.encode()) < 12_500_000
