from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Literal

import pytest
from jsonschema import Draft202012Validator
from msgspec import Struct

from edgesr.errors import EdgesrError
from edgesr.report import SCHEMA_VERSION, ReportError, load_schema, parse, read, validate
from edgesr.report.schema import make_schema
from edgesr.report.validation import typed


class Kind(Struct):
    of: Literal["a", "b"]


def properties(schema, place="report") -> Iterator[tuple[str, dict]]:
    """Every key that the schema knows, with what it says of it."""
    if isinstance(schema, dict):
        for name, entry in schema.get("properties", {}).items():
            yield f"{place}.{name}", entry
        for name, entry in schema.items():
            yield from properties(entry, f"{place}.{name}")
    elif isinstance(schema, list):
        for index, entry in enumerate(schema):
            yield from properties(entry, f"{place}[{index}]")


def test_the_schema_is_valid_and_documents_every_key():
    schema = load_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["properties"]["schema_version"]["const"] == SCHEMA_VERSION
    undocumented = [
        place
        for place, entry in properties(schema)
        if set(entry) != {"const"} and not entry.get("description", "").endswith(".")
    ]
    assert undocumented == []


def test_the_committed_schema_is_what_the_types_say():
    assert load_schema() == make_schema(), "run python -m edgesr.report.schema"


def test_schema_and_types_agree(report, old_report):
    schema = Draft202012Validator(load_schema())
    bare = {key: value for key, value in report.items() if key not in ("onnx", "deployment")}
    for content in (report, old_report, bare | {"not_exported": "an operator is unknown"}):
        assert list(schema.iter_errors(content)) == []
        assert validate(content).to_dict() == content
    for broken in (bare, change(report, ["sites", 0, "scale"], 1), report | {"chosen": {}}):
        assert list(schema.iter_errors(broken)) != []
        with pytest.raises(ReportError):
            validate(broken)


def test_a_report_from_before_the_types_is_read(old_report, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(old_report))
    assert read(path).to_dict() == old_report
    del old_report["deployment"], old_report["teacher"]["naive_latency_ms"]  # as older ones were
    path.write_text(json.dumps(old_report))
    assert read(path).deployment is None


def test_what_cannot_be_read_is_told_in_one_line(report, tmp_path):
    path = tmp_path / "report.json"
    for text, words in (
        (json.dumps(report | {"schema_version": 2}), "schema_version 2"),
        (json.dumps(report | {"schema_version": "1"}), "schema_version"),
        (json.dumps(change(report, ["teacher", "metrics", "cc"], float("nan"))), "holds nan"),
        ("[]", "the report"),
        ("{", "cannot read"),
        ("[" * 100_000, "cannot read"),
    ):
        path.write_text(text)
        with pytest.raises(ReportError, match=words) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_missing_pixels_may_be_marked_by_not_a_number(report):
    report["data"]["nodata"] = "nan"
    assert validate(report).data.nodata == "nan"


def test_a_complete_report_is_valid_also_after_a_round_trip(report):
    validate(report)
    validate(json.loads(json.dumps(report)))


def test_a_run_without_the_papers_baseline_is_valid(report):
    validate(report | {"paper_baseline": None})


def test_every_key_that_the_schema_requires_is_missed(report):
    for key in load_schema()["required"]:
        broken = {name: value for name, value in report.items() if name != key}
        with pytest.raises(ReportError, match=key):
            validate(broken)


def change(report, path, value):
    changed = copy.deepcopy(report)
    target = changed
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (["student", "metrics", "sam"], "4.5", "student.metrics.sam"),
        (["teacher", "params"], 1.5, "teacher.params"),
        (["teacher", "latency_ms", "repeats"], 0, "teacher.latency_ms.repeats"),
        (["created"], "yesterday", "created"),
        (["schema_version"], 2, "schema_version"),
        (["files", 0, "sha256"], "abc", "files"),
        (["environment", "colour"], "red", "environment"),
        (["distillation", "kept"], "both", "distillation.kept"),
        (["candidates", 0, "pass"], "", "candidates"),
        (["data", "nodata"], "none", "data.nodata"),
        (["onnx", "max_abs_difference"], float("inf"), "onnx.max_abs_difference"),
        (["student", "metrics", "mpsnr"], float("nan"), "student.metrics.mpsnr"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(report, path, value, named):
    with pytest.raises(EdgesrError) as caught:
        validate(change(report, path, value))
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("metric", ["mpsnr", "mssim", "sam", "cc", "rmse", "ergas"])
@pytest.mark.parametrize("network", ["teacher", "student", "bicubic", "paper_baseline"])
def test_all_six_metrics_are_required_of_every_network(report, network, metric):
    changed = copy.deepcopy(report)
    del changed[network]["metrics"][metric]
    with pytest.raises(ReportError):
        validate(changed)


def test_a_candidate_has_a_rank_or_groups_as_its_pass_says(report):
    for entry in ({"pass": "lowrank", "groups": 8}, {"pass": "grouped", "rank": 8}):
        with pytest.raises(ReportError):
            validate(report | {"chosen": entry | {"why": "because"}})
    assert (
        parse(report | {"chosen": {"pass": "folded", "setting": 8, "why": "x"}}).chosen.value == 8
    )


def test_what_does_not_fit_is_not_repeated_at_length():
    with pytest.raises(ReportError) as caught:
        typed({"of": "x" * 100_000}, Kind)
    assert "does not fit its schema at of: Invalid enum value 'xxx" in str(caught.value)
    assert len(str(caught.value)) < 300
