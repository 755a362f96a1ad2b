"""Command lines that must be refused, each with one thing wrong in it.

``{shelf}`` is the folder of :mod:`bad_shelf`; ``{cube}``, ``{weights}`` and ``{bilinear}`` are good
files. Of options that are given twice, the last counts: so a row is a good command and what spoils
it. Words are parted by blanks.
"""

from __future__ import annotations

from collections.abc import Iterator

from bad_shelf import FIELDS, HEADERS, NO_JSON, NO_TOML, RAW_HEADERS, SUFFIXES

COMPRESS = "compress --data {cube} --weights {weights} --patch 16 --threads 1 --output run "
TRAIN = (
    "train --data {cube} --model small_networks:bilinear --bands 0-7 --patch 16 --epochs 1"
    " --threads 1 --output net.safetensors "
)
EVALUATE = "evaluate --data {cube} --weights {weights} --patch 16 --threads 1 "
ANALYZE = "analyze --data {cube} --weights {weights} --patch 16 --threads 1 "
UPSCALE = "upscale {cube} high.npy --weights {weights} "
ARCHIVE = "archive {cube} out --model {weights} "
EXPORT = "export {onnx} --target cpu --output out.onnx "
ENGINE = "engine {onnx} --sm 86 --output out.engine "
BENCH, ESTIMATE = "bench {run} ", "estimate {run} --board nano-10w "
BUNDLE, REPORT = "bundle {run} ", "report {run} --output page.html "
REPRODUCE = "reproduce real --quick --data a={cube} --threads 1 --output results.json "
GOOD = {
    name.split()[0]: name
    for name in (
        *(COMPRESS, TRAIN, EVALUATE, ANALYZE, UPSCALE, ARCHIVE, EXPORT, ENGINE, BENCH, ESTIMATE),
        *(BUNDLE, REPORT, REPRODUCE, "info {cube} "),
    )
}

SCENE = (COMPRESS, TRAIN, EVALUATE, ANALYZE)
"""Commands whose options are a recipe's."""

BIG = ("0", "-1", "1e3", "two", str(2**31), str(2**63), str(2**64), "9" * 4_999, "", "nan")


def command_lines() -> Iterator[str]:
    """All of them."""
    for group in (
        *(_own_json, _own_toml, _weights, _cubes, _files, _names, _numbers, _devices, _choices),
    ):
        yield from group()


def _own_json() -> Iterator[str]:
    for name in (*NO_JSON, "half", "no_teacher", "text_for_sites"):
        run, file = f"{{shelf}}/runs/{name}", f"{{shelf}}/json/{name}.json"
        yield f"bench {run}"
        yield f"bench {run} --no-measure"
        yield f"bundle {run}"
        yield f"report {run} --output page.html"
        yield f"estimate {run} --board nano-10w"
        yield f"{REPORT}--import {file}"
        yield f"{BENCH}--no-measure --import {file}"
        yield f"{REPRODUCE}--output {file}"
        yield f"archive {file} out --model {{weights}}"
    for name in ("report_is_a_pipe", "report_is_a_folder"):
        yield f"bench {{shelf}}/runs/{name}"
        yield f"bundle {{shelf}}/runs/{name}"
        yield f"report {{shelf}}/runs/{name} --output page.html"
        yield f"estimate {{shelf}}/runs/{name} --board nano-10w"
    for name in ("models_lost", "models_empty", "models_truncated"):
        yield f"estimate {{shelf}}/runs/{name} --board nano-10w"
        yield f"bundle {{shelf}}/runs/{name}"
        yield f"bench {{shelf}}/runs/{name}"


def _own_toml() -> Iterator[str]:
    for name in NO_TOML.keys() - {"null_path", "null_weights", "list_of_tables"}:
        yield f"{COMPRESS}--recipe {{shelf}}/toml/{name}.toml"
        yield f"{TRAIN}--recipe {{shelf}}/toml/{name}.toml"
    for name in NO_TOML:
        yield f"compress --output run --recipe {{shelf}}/toml/{name}.toml"
        yield f"train --output net.safetensors --recipe {{shelf}}/toml/{name}.toml"
    for name in NO_TOML.keys() - {"null_path", "null_weights"}:
        yield f"bench {{shelf}}/runs/recipe_{name}"
        yield f"bundle {{shelf}}/runs/recipe_{name}"


def _weights() -> Iterator[str]:
    ours = [*HEADERS, *RAW_HEADERS, "raw_within", "missing", "unexpected", "reshaped", "not_finite",
            "no_tensors", "plain", "empty", "truncated", "head_alone", "zeros", "text", "endless",
            "no_json", "pickle", "old"]  # fmt: skip
    for number, name in enumerate(ours):
        path = f"{{shelf}}/weights/{name}.safetensors"
        yield f"{UPSCALE}--weights {path}"
        yield (COMPRESS, EVALUATE, ANALYZE)[number % 3] + f"--weights {path}"
        yield f"{COMPRESS}--teacher {path}"
        yield f"train --data {{cube}} --patch 16 --output a.safetensors --initial {path}"
    for name in ("code", "meta", "script", "list", "nothing", "number", "no_state", "numbered",
                 "empty", "truncated", "zeros", "text", "endless", "no_json"):  # fmt: skip
        path = f"{{shelf}}/weights/{name}.pt"
        yield f"{COMPRESS}--model small_networks:bilinear --weights {path}"
        yield f"{TRAIN}--initial {path}"
        yield f"{UPSCALE}--model small_networks:bilinear --weights {path}"
    for name in ("pipe.safetensors", "pipe", "folder.safetensors", "folder", "pipe.onnx"):
        yield f"{UPSCALE}--weights {{shelf}}/{name}"
        yield f"{EVALUATE}--weights {{shelf}}/{name}"
        yield f"{TRAIN}--initial {{shelf}}/{name}"
    for name in ("pickle", "endless", "raw_nested", "limits", "empty"):
        yield f"info {{shelf}}/weights/{name}.safetensors"


def _cubes() -> Iterator[str]:
    for number, name in enumerate(FIELDS):
        path = f"{{shelf}}/cubes/{name}.npz"
        yield f"info {path}"
        yield f"upscale {path} high.npy --weights {{weights}}"
        yield SCENE[number % 4] + f"--data {path}"
    for name in ("flat.npy", "complex.npy", "text.npy", "none.npy", "objects.npy", "half.npy",
                 "huge.npy", "enormous.npy"):  # fmt: skip
        yield f"info {{shelf}}/cubes/{name}"
        yield f"{COMPRESS}--data {{shelf}}/cubes/{name}"
        yield f"{TRAIN}--extra {{shelf}}/cubes/{name}"
    for suffix in SUFFIXES:
        for name in ("empty", "zeros", "text"):
            yield f"info {{shelf}}/cubes/{name}.{suffix}"
        yield f"{EVALUATE}--data {{shelf}}/cubes/zeros.{suffix}"
    yield f"{COMPRESS}--data {{shelf}}/cubes/nan.npy"


def _files() -> Iterator[str]:
    """Pipes and folders where a file is read, and lists of scenes that are none."""
    for name in ("pipe", "pipe.npy", "pipe.npz", "pipe.tif", "pipe.hdr", "pipe.mat", "pipe.h5"):
        yield f"info {{shelf}}/{name}"
        yield f"{COMPRESS}--data {{shelf}}/{name}"
        yield f"upscale {{shelf}}/{name} high.npy --weights {{weights}}"
    for place in ("pipe.toml", "folder", "nowhere.toml"):
        yield f"{COMPRESS}--recipe {{shelf}}/{place}"
        yield f"{TRAIN}--recipe {{shelf}}/{place}"
    for place in ("pipe.json", "folder", "nowhere.json"):
        yield f"{REPORT}--import {{shelf}}/{place}"
        yield f"{BENCH}--no-measure --import {{shelf}}/{place}"
    for place in ("pipe.onnx", "folder", "nowhere.onnx", "held.txt", "cubes/zeros.npy"):
        yield f"export {{shelf}}/{place} --target cpu --output out.onnx"
        yield f"upscale {{cube}} high.npy --model {{shelf}}/{place}"
    yield "info {shelf}/pipe.onnx"
    for place in ("pipe.npz", "folder", "nowhere.npz", "cubes/zeros.npz", "cubes/crs.npz"):
        yield f"{EXPORT}--precision int8 --tiles {{shelf}}/{place}"
    for place in ("pipe.txt", "pipe.json", "folder", "nowhere.txt", "lists/empty.txt",
                  "lists/binary.txt", "lists/empty.csv", "lists/no_column.csv",
                  "lists/one_item.json", "lists/nested.json", "lists/long.json",
                  "lists/list.json"):  # fmt: skip
        yield f"archive {{shelf}}/{place} out --model {{weights}}"
    for place in ("pipe.json", "held.txt/a.json", "pipe/a.json"):
        yield f"{REPRODUCE}--output {{shelf}}/{place}"


def _names() -> Iterator[str]:
    """Names that no file can have, of what is read and of what is written."""
    long = "x" * 300
    for name in ("a\0b", long, f"{long}/a", "held.txt/a", "nowhere/a", "a/", ".", "..", "/", ""):
        for suffix, command in (
            (".safetensors", "train --data {cube} --patch 16 --threads 1 --output OUT"),
            (".onnx", EXPORT + "--output OUT"),
            (".html", REPORT + "--output OUT"),
            (".npy", "upscale {cube} OUT --weights {weights}"),
        ):
            full = f"{{shelf}}/{name}" if name.startswith("held") else name
            full = full + suffix if full[-1:] not in ("", "/", ".") else full
            if command.startswith("report") and name == "nowhere/a":
                continue  # the folder is made
            yield command.replace("OUT", full or "''")
    for name in ("a\0b", long, "{shelf}/held.txt", "{shelf}/held.txt/run", "/proc/run"):
        yield COMPRESS + f"--output {name}"
        yield ANALYZE + f"--output {name}"
        yield f"archive {{cube}} {name} --model {{weights}}"
    for name in ("a\0b", long, f"{long}/a", "{shelf}/held.txt/a", "a\0b:cube", "''", "a\nb"):
        yield f"info {name}"
        yield f"{COMPRESS}--data {name}"
        yield f"{COMPRESS}--weights {name}"
        yield f"{COMPRESS}--recipe {name}"
        if name != "''":
            yield f"{TRAIN}--extra {name}"
        yield f"upscale {name} high.npy --weights {{weights}}"
        yield f"upscale {{cube}} high.npy --model {name}"
        yield f"archive {name} out --model {{weights}}"
        yield f"archive {{cube}} out --model {name}"
        yield f"export {name} --target cpu --output out.onnx"
        yield f"bench {name}"
        yield f"bundle {name}"
        yield f"report {name}"
        yield f"estimate {name} --board nano-10w"
        yield f"{REPORT}--import {name}"
        yield f"{EXPORT}--precision int8 --tiles {name}"


def _numbers() -> Iterator[str]:
    """Numbers beyond what their option takes; what else a row has is right."""
    for number, value in enumerate(BIG):
        for name in ("patch", "threads", "seed", "scale"):
            if not (name == "seed" and value in ("0", str(2**31))):
                yield SCENE[number % 4] + f"--{name} {value}"
        for name in ("latency-tile", "trials", "steps-per-epoch", "batch", "decay-every", "rank",
                     "groups", "patience", "epochs", "baseline-groups"):  # fmt: skip
            if not (name in ("epochs", "baseline-groups") and value == "0"):
                yield f"{COMPRESS}--{name} {value}"
        for name in ("batch", "epochs", "blocks", "groups", "steps-per-epoch", "warmup-steps",
                     "patience"):  # fmt: skip
            if not (name == "warmup-steps" and value == "0"):
                yield f"{TRAIN}--{name} {value}"
        for name in ("tile", "threads"):
            yield f"{BENCH}--{name} {value}"
            yield f"{ESTIMATE}--{name} {value}"
        for name in ("min", "opt", "max", "batch", "memory-mib"):
            yield f"{ENGINE}--{name} {value}"
        for name in ("epochs", "seeds", "threads"):
            yield f"{REPRODUCE}--{name} {value}"
        for name in ("workers", "retries", "threads"):
            if not (name in ("workers", "retries") and value == "0"):
                yield f"{ARCHIVE}--{name} {value}"
        yield f"{UPSCALE}--threads {value}"
        yield f"{EXPORT}--opset {value}"
    for value in ("1e300", "inf", "-1", "nan", "0", "rate"):
        yield f"{COMPRESS}--learning-rate {value}"
        yield f"{TRAIN}--learning-rate {value}"
        yield f"{TRAIN}--final-learning-rate {value}"
        yield f"{ARCHIVE}--workers 1 --timeout {value}"
        if value != "0":
            yield f"{COMPRESS}--alpha {value}"
        if value not in ("0", "1e300"):
            yield f"{TRAIN}--clip {value}"
    for value in ("inf", "-1", "nan", "drop"):
        yield f"{COMPRESS}--max-psnr-drop {value}"
        yield f"{COMPRESS}--max-sam-drop {value}"
        yield f"{EXPORT}--max-psnr-drop {value}"
        yield f"{EXPORT}--max-sam-drop {value}"
    for value in ("0", "1.01", "nan", "part"):
        yield f"{ANALYZE}--rank-target {value}"
        yield f"{TRAIN}--focus {value}"
        yield f"{COMPRESS}--decay {value}"
    for value in ("1", "-0.1", "nan"):
        for name in ("mix", "ema", "drop-path"):
            yield f"{TRAIN}--{name} {value}"
    for value in ("4096", "1000000000"):
        yield f"{COMPRESS}--latency-tile {value}"
    yield f"{ENGINE}--memory-mib 100000000000000000"
    yield f"{BENCH}--tile 1000000000"
    yield f"{COMPRESS}--batch 1000000000"
    yield f"{TRAIN}--batch 1000000000"
    for value in ("0", "1", "1e20GB", "lots", "nan", "-1GB", "9" * 100 + "GB"):
        yield f"{UPSCALE}--memory {value}"
    for value in ("0,0,0,0", "1,2,3", "a,b,c,d", "9999,0,8,8", "-1,0,8,8", "9" * 50 + ",0,1,1"):
        yield f"{UPSCALE}--window {value}"
    for value in ("0", "nan", "1,2,3", "inf", "1,inf"):
        yield f"{UPSCALE}--rescale {value}"
    for value in ("0", "x", "8.6.1", "-8.6", "''", "9999"):
        yield f"{ENGINE}--sm {value}"
        yield f"{COMPRESS}--compute-capability {value}"
    for value in ("0:1:2", "3:2:1", "1:2", "1:2:3:4", "1:2:1e9", "a:b:c", f"1:2:{2**31}"):
        yield f"{COMPRESS}--tile-range {value}"
        yield f"{BUNDLE}--tile-range {value}"
        yield f"{ENGINE}--tile-range {value}"
    for value in ("64", "0x8", "8x0", "4097x8", "8x8x8", "axb", "8x1e3", "9" * 40 + "x8"):
        yield f"{COMPRESS}--export-size {value}"
        yield f"{EXPORT}--export-size {value}"
    yield f"{COMPRESS}--export-size 8x8 --tile-range 8:8:8"


def _devices() -> Iterator[str]:
    for device in ("hpu", "privateuseone", "meta", "cuda:99", "cuda:-1", "xla", "abacus",
                   "mps", "''", "vulkan", "xpu"):  # fmt: skip
        for command in (*SCENE, REPRODUCE):
            yield f"{command}--device {device}"


def _choices() -> Iterator[str]:
    for option in ("method fold", "rank-criterion mean", "init zeros", "runtime nothing",
                   "precisions int4", "precisions ''", "targets nowhere", "io both", "groups 3",
                   "rank 1000", "bands 90-99", "bands some", "bands 3-1", "bands 0-99999999999",
                   "normalisation none", "degradation nearest", "protocol washington",
                   "scale 3", "model nothing", "model nowhere:nothing", "max-latency-ms 0",
                   "max-params -1", "max-macs nan", "teacher nowhere", "qat=1"):  # fmt: skip
        yield f"{COMPRESS}--{option}"
    for option in ("loss l3", "amp fp16", "amp int8", "variant own", "extra nowhere.npy",
                   "initial nowhere", "model nothing", "model small_networks:nowhere",
                   "model small_networks:BANDS", "resume", "output net.pt", "half=1"):  # fmt: skip
        yield f"{TRAIN}--{option}"
    for option in ("dtype text", "dtype float128", "axes hhh", "axes bands", "nodata none",
                   "bands some", "wavelength-unit m", "runtime nothing", "runtime tensorrt",
                   "weights nowhere"):  # fmt: skip
        yield f"{UPSCALE}--{option}"
    for option in ("target nowhere", "precision int4", "precision int8", "io own", "opset 3",
                   "profile --io native"):  # fmt: skip
        yield f"{EXPORT}--{option}"
    for option in ("format jpg", "asset name", "scheduler nowhere", "resume", "model nowhere"):
        yield f"{ARCHIVE}--{option}"
    for option in ("precision int4", "output out.onnx", "tile-range 1:2:3 --min 1"):
        yield f"{ENGINE}--{option}"
    yield f"{BENCH}--no-measure --profile"
    yield from ("estimate {run}", "estimate {run} --board nothing", "estimate --board nano-10w")
    yield from ("reproduce", "reproduce lkca:5", "reproduce lkca:99", "reproduce nothing")
    yield f"{REPRODUCE}--data a={{cube}} --data a={{cube}}"
    yield f"{REPRODUCE}--data ="
    yield "evaluate --split train"
    for command in GOOD:
        yield command if command not in ("compress", "analyze", "evaluate") else f"{command} more"
        yield f"{command} --nonsense"
