"""Options that would be ignored are refused; those that count are not."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from edgesr.cli.main import build_parser
from edgesr.cli.unused import RULES, refuse_unused
from edgesr.recipe.recipes import CompressRecipe, TrainRecipe

COMPRESS = "compress --data {cube} --weights {lkca_net} --patch 16 --threads 1 --output run "
TRAIN = "train --data {cube} --patch 16 --epochs 1 --threads 1 --output net.safetensors "
EVALUATE = "evaluate --data {cube} --threads 1 --weights "
REPRODUCE = "reproduce real --data a={cube} --threads 1 --output results.json "

REFUSED = [
    ("upscale {cube} o.npy --weights {lkca_net} --model nowhere.onnx", "--model nowhere.onnx"),
    ("upscale {cube} o.npy --weights {lkca_net} --model lkca_net", "--model lkca_net"),
    ("upscale {cube} o.npy --weights {lkca_net} --model small_networks:bilinear", "--model small"),
    ("upscale {cube} o.npy --weights net.onnx --model small_networks:bilinear", "--model small"),
    ("upscale {cube} o.npy --weights net.engine --model small_networks:bilinear", "--model small"),
    ("archive {cube} out --weights {lkca_net} --model nowhere.onnx", "--model nowhere.onnx"),
    ("archive {folder} out --model {lkca_net} --asset data", "--asset"),
    ("archive {folder}/*.npy out --model {lkca_net} --asset data", "--asset"),
    ("info net.onnx --nodata 0", "--nodata"),
    ("info net.onnx --axes bhw --wavelength-unit nm", "--axes and --wavelength-unit"),
    ("info {lkca_net} --nodata 0", "--nodata"),
    ("info {lkca_net} --card {lkca_net}", "--card"),
    ("info nowhere.engine --card {lkca_net}", "nowhere.engine"),
    ("info {cube} --card {lkca_net}", "--card"),
    (EVALUATE + "net.onnx --model dacn", "--model"),
    (EVALUATE + "net.onnx --checkpoint-key params", "--checkpoint-key"),
    (EVALUATE + "{lkca_net} --device cuda", "--device"),
    ("analyze --data {cube} --weights {lkca_net} --device cuda:1", "--device"),
    ("analyze --data {cube} --weights {lkca_net} --device cpu:99", "--device cpu:99"),
    (EVALUATE + "{lkca_net} --device cpu:1", "--device cpu:1"),
    (COMPRESS + "--device cpu:99", "--device cpu:99"),
    (TRAIN + "--device cpu:99", "--device cpu:99"),
    (REPRODUCE + "--device cpu:99", "--device cpu:99"),
    (COMPRESS + "--trials 3", "--trials"),
    (COMPRESS + "--runtime openvino", "--runtime"),
    (COMPRESS + "--rank 3 --exact-target", "--exact-target"),
    (COMPRESS + "--groups 2 --rank-criterion energy", "--rank-criterion"),
    (COMPRESS + "--method lowrank --groups 2", "--groups"),
    (COMPRESS + "--method grouped --rank 2", "--rank"),
    (COMPRESS + "--method none --init weights", "--init"),
    (COMPRESS + "--method none --epochs 3", "--epochs"),
    (COMPRESS + "--method none --learning-rate 0.1", "--learning-rate"),
    (COMPRESS + "--epochs 0 --teacher t.safetensors", "--teacher"),
    (COMPRESS + "--epochs 0 --batch 4 --distil output", "--distil and --batch"),
    (COMPRESS + "--baseline-groups 0 --distil mix --alpha 0.1", "--alpha"),
    (COMPRESS + "--qat --precisions fp32,fp16", "--qat"),
    (COMPRESS + "--targets cpu --compute-capability 8.6", "--compute-capability"),
    (COMPRESS + "--targets cpu --tile-range 8:16:32", "--tile-range"),
    (TRAIN + "--model vdsr --blocks 2", "--blocks"),
    (TRAIN + "--variant paper", "--variant"),
    (TRAIN + "--model dacn --groups 2", "--groups"),
    (TRAIN + "--initial {lkca_net} --blocks 2", "--blocks"),
    (TRAIN + "--mix 0.2", "--mix"),
    (TRAIN + "--focus 0.2", "--focus"),
    ("export net.onnx --target cpu --output o.onnx --tiles t.npz", "--tiles"),
    ("export net.onnx --target cpu --output o.onnx --max-psnr-drop 0.1", "--max-psnr-drop"),
    ("export net.onnx --target cpu --output o.onnx --precision fp16 --max-sam-drop 0", "--max-sam"),
    ("bench run --no-measure --tile 32", "--tile"),
    ("bench run --no-measure --threads 2", "--threads"),
    ("estimate --list --board nano-10w --json", "--board and --json"),
    ("estimate run --list", "RUN_DIR"),
    ("reproduce --list --device cpu --quick", "--quick and --device"),
    (REPRODUCE + "--quick --epochs 3", "--quick"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "named"), REFUSED)
def test_an_option_that_would_be_ignored_is_refused(line, named, refused, materials):
    for name in ("net.onnx", "net.engine"):
        Path(name).write_bytes(b"none")
    files = vars(materials)
    said = refused(*(word.format(**files) for word in line.split()))
    assert named in said
    assert "leave" in said or "does not exist" in said


COUNTS = [
    "compress",
    "compress --search --trials 3 --runtime openvino",
    "compress --max-params 1e6 --trials 3",
    "compress --method lowrank --exact-target --rank-criterion energy",
    "compress --method none --qat --epochs 3 --learning-rate 0.1",
    "compress --method none --epochs 0",
    "compress --alpha 0.1 --decay 0.5 --decay-every 2",
    "compress --baseline-groups 0 --distil paper --alpha 0.1",
    "compress --epochs 0 --baseline-groups 4 --rank 3",
    "compress --targets cpu,tensorrt --compute-capability 8.6 --tile-range 8:16:32",
    "train --blocks 2 --groups 1 --drop-path 0.1 --output n",
    "train --model dacn --variant published --output n",
    "train --extra b.npy --mix 0.2 --focus 0.2 --output n",
]


@pytest.mark.parametrize("line", COUNTS)
def test_an_option_that_counts_is_taken(line):
    options = build_parser().parse_args(line.split())
    kind = {"compress": CompressRecipe, "train": TrainRecipe}[line.split()[0]]
    known = {item.name for item in fields(kind)}
    recipe = kind.from_mapping({k: v for k, v in vars(options).items() if k in known})
    refuse_unused(recipe, options)


def test_a_recipe_file_may_say_everything():
    options = build_parser().parse_args(["compress", "--seed", "1"])
    refuse_unused(CompressRecipe(trials=3, qat=True, precisions=("fp32",)), options)


def test_every_rule_names_options_that_there_are():
    for kind, rules in RULES.items():
        known = {item.name for item in fields(kind)}
        assert {name for rule in rules for name in rule.names} <= known
