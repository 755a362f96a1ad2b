"""The tables, each of one run's records; every figure in them stands in the JSON file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from benchmarks.fit import growth
from benchmarks.names import FORMS, IN_FULL, NETWORKS, ON_ONNX_RUNTIME, SIDES
from benchmarks.results import Record, Results
from benchmarks.roofline import distances, peaks, worst
from edgesr.report.wording import quantity

SIDE = 64
REASONS = {
    "pixels": "in proportion over the whole range; from LR 96 to 128 a little faster, where a slab"
    " of 128 channels (2 MB at LR 64, 8 MB at LR 128) no longer fits the second-level cache",
    "pixels, DACN": "attention compares every pixel with every other: its arithmetic is quadratic,"
    " its memory is not (torch never holds the map of weights), and edgesr cuts tiles where"
    " attention would cost more than the rest",
    "pixels, DACN in ONNX Runtime": "the same arithmetic, and ONNX Runtime holds the map of"
    " weights, so that memory is quadratic too: keep tiles at LR 64 or below there",
}
"""Why an axis grows faster than in proportion; one without a reason is reported as unexplained."""


def latency(results: Results) -> str:
    """Cost, and latency in ONNX Runtime at LR 64, as exported and rewritten, by precision."""
    group = f"latency, LR {SIDE}"
    found = {(r.facts["network"], r.facts["form"]): r for r in results.records(group)}
    naive = found[("dense", "plain")]
    rows = []
    for network, title in NETWORKS.items():
        records = {form: found.get((network, form)) for form in ON_ONNX_RUNTIME}
        measured = [record for record in records.values() if record]
        if measured:
            fastest = min(record.median_ms for record in measured)
            facts = measured[0].facts
            rows.append(
                [
                    title,
                    quantity(facts["params"]),
                    quantity(facts["upsampler_params"]),
                    quantity(facts["macs_at_16"]),
                    *(_cell(records[form]) for form in ON_ONNX_RUNTIME),
                    f"{naive.median_ms / fastest:.1f}x",
                ]
            )
    heads = ["Network", "Params", "Upsampler", "MACs", *(FORMS[form] for form in ON_ONNX_RUNTIME)]
    note = f"{_conditions(results, found.values())}. MACs at LR 16 x 16; last column: the fastest"
    return _join(
        _table([*heads, "against LKCA-Net plain"], rows),
        f"{note} against LKCA-Net as torch exports it.",
        *_absent(results, group),
    )


def runtimes(results: Results) -> str:
    """The same networks in other runtimes, in the same rounds."""
    group = f"latency, LR {SIDE}"
    found = {(r.facts["network"], r.facts["form"]): r for r in results.records(group)}
    rows = [
        [FORMS[form], *(_cell(found.get((network, form))) for network in IN_FULL)]
        for form in FORMS
        if any((network, form) in found for network in IN_FULL)
    ]
    return _join(
        _table(["Runtime", *(NETWORKS[network] for network in IN_FULL)], rows),
        f"{_conditions(results, found.values())}; without a name: ONNX Runtime.",
    )


def sizes(results: Results) -> str:
    """As exported and as deployed, for every size of tile."""
    found = {
        (r.facts["network"], r.facts["form"], r.facts["input_shape"][-1]): r
        for r in results.records("latency, LR")
    }

    def cell(network: str, side: int) -> str:
        plain, slabs = (found.get((network, form, side)) for form in ("plain", "slabs"))
        if plain and slabs:
            ratio = plain.median_ms / slabs.median_ms
            return f"{_ms(plain.median_ms)} → {_ms(slabs.median_ms)} ({ratio:.1f}x)"
        return _ms(plain.median_ms) if plain else "–"

    sides = [side for side in SIDES if any(key[2] == side for key in found)]
    measured = {key[0] for key in found}
    rows = [
        [title, *(cell(name, side) for side in sides)]
        for name, title in NETWORKS.items()
        if name in measured
    ]
    return _join(
        _table(["Network", *(f"LR {side}" for side in sides)], rows),
        f"{_conditions(results, found.values(), size=False)}: plain → slabs, ONNX Runtime. Compare"
        " within a column: its networks were measured in turn, those of another column were not.",
    )


def steps(results: Results) -> str:
    """What a run waits for: surgery, making files, tiles, the start of a process."""
    groups = ("surgery", "making a file", "start of a process")
    rows = [
        [record.group, record.facts["step"], _cell(record), str(record.rounds)]
        for group in groups
        for record in results.records(group)
    ]
    for record in results.records("an image in tiles"):
        tile, seconds = record.facts["tile"], record.median_ms / 1e3
        rows.append(
            [
                record.group,
                f"{'tile chosen by memory' if tile is None else f'tiles of LR {tile}'}:"
                f" {record.facts['output_pixels'] / seconds / 1e6:.2f} MP/s out,"
                f" {record.facts['input_lines'] / seconds:.1f} lines/s in",
                _cell(record),
                str(record.rounds),
            ]
        )
    return _join(
        _table(["What", "Step", "ms", "Rounds"], rows, words=2),
        f"The whole suite took {results.minutes:.0f} minutes. {_machine(results)};"
        " network: LKCA-Net, 128 bands, x4; the image in tiles: its student of rank 32 in torch.",
    )


def scaling(results: Results) -> str:
    """Exponents of growth, and why some exceed 1."""
    rows, unexplained = [], []
    records = results.records("growth with ")
    for _, points in groupby(records, key=lambda record: record.facts["axis"]):
        axis = list(points)
        facts, x = axis[0].facts, [record.facts["x"] for record in axis]
        time = growth(x, [record.median_ms for record in axis])
        memory = growth(x, [record.facts["peak_bytes"] for record in axis])
        rows.append(
            [
                facts["axis"],
                f"{x[0]} to {x[-1]} {facts['unit']}",
                f"{_ms(axis[0].median_ms)} to {_ms(axis[-1].median_ms)}",
                f"{time.exponent:.2f} ({time.last:.2f})",
                f"{_megabytes(axis[0])} to {_megabytes(axis[-1])}",
                f"{memory.exponent:.2f} ({memory.last:.2f})",
            ]
        )
        if time.superlinear or memory.superlinear:
            reason = REASONS.get(facts["axis"], "unexplained; it may be noise, measure again")
            unexplained.append(f"**{facts['axis']}**: {reason}.")
    name = results.path.stem
    return _join(
        _table(["Axis", "From, to", "ms", "Exponent", "Peak MB", "Exponent "], rows, words=2),
        "Exponents of a power law through all points (between the two largest)."
        f" {_machine(results)}; rank 32 with slabs in ONNX Runtime, LR 32, 128 bands, x4, 16"
        " blocks where nothing else is said; DACN on its 32 bands, in torch where nothing else is"
        " said. Memory: what one pass adds to a new process.",
        "\n".join(f"- {line}" for line in unexplained),
        f"![Growth of latency and memory](results/{name}-scaling.png)",
    )


def roofline(results: Results) -> str:
    """Distance of each network from the machine's measured peaks; the largest is named."""
    found = distances(results)
    rows = [
        [
            f"{NETWORKS[one.network]}, {FORMS[one.form]}",
            str(one.side),
            _ms(one.median_ms),
            _ms(one.floor_ms),
            one.bound,
            f"{one.gflops:.0f}",
            f"{one.gap:.1f}x",
        ]
        for one in found
    ]
    top = peaks(results)
    rates = ", ".join(f"{rate / 1e9:.0f} G{unit} {kind}" for kind, (rate, unit) in top.items())
    far = worst(found)
    slow = ", ".join(f"{name} {_ms(ms)} ms" for name, ms in far.slowest.items())
    return _join(
        _table(["Network", "LR", "ms", "Floor ms", "Bound by", "GFLOP/s", "Gap"], rows),
        f"{_machine(results)}. Measured peaks of the same run: {rates}. The floor is the longer of"
        " all MACs at the peak of their precision (2 FLOP each) and of reading input and weights"
        " and writing the output once.",
        f"**Largest gap of what is deployed:** {NETWORKS[far.network]}, {FORMS[far.form]}:"
        f" {far.gap:.1f} times its floor. Its slowest operators: {slow}.",
    )


def gpu(results: Results) -> str:
    """Forms of the GPU suite, one column for each network and size."""
    records = list(results.records("GPU"))
    forms = list(dict.fromkeys(record.facts["form"] for record in records))
    groups = {record.group: record.facts for record in records}
    found = {(record.group, record.facts["form"]): record for record in records}
    rows = [[form, *(_cell(found.get((group, form))) for group in groups)] for form in forms]
    heads = [
        f"{NETWORKS[facts['network']]}, LR {facts['input_shape'][-1]}" for facts in groups.values()
    ]
    reasons = dict.fromkeys(line for group in groups for line in _absent(results, group))
    return _join(
        _table(["Form", *heads], rows),
        f"{_conditions(results, records, size=False)}. Input and output on the device; compare"
        " within a column.",
        *reasons,
    )


SECTIONS: dict[str, Callable[[Results], str]] = {
    "latency": latency,
    "runtimes": runtimes,
    "sizes": sizes,
    "roofline": roofline,
    "scaling": scaling,
    "steps": steps,
    "gpu": gpu,
}


def _cell(record: Record | None) -> str:
    """Median and interquartile range; the median alone of what was done once."""
    if record is None:
        return "–"
    spread = "" if record.rounds == 1 else f" ({_ms(record.iqr_ms)})"
    return f"{_ms(record.median_ms)}{spread}"


def _ms(milliseconds: float) -> str:
    if milliseconds >= 99.95:
        return f"{milliseconds:.0f}"
    return f"{milliseconds:.1f}" if milliseconds >= 9.995 else f"{milliseconds:.2f}"


def _megabytes(record: Record) -> str:
    return f"{record.facts['peak_bytes'] / 2**20:.0f}"


def _machine(results: Results) -> str:
    facts = results.machine
    device = facts["cpu"] if facts["device"] == "cpu" else facts["device"]
    plural = "thread" if facts["threads"] == 1 else "threads"
    return (
        f"{results.date}, {device}, {facts['threads']} {plural}, torch {facts['torch']},"
        f" ONNX Runtime {facts['onnxruntime']}"
        + (f", OpenVINO {facts['openvino']}" if "openvino" in facts else "")
    )


def _conditions(results: Results, records: Iterable[Record], *, size: bool = True) -> str:
    records = list(records)
    rounds = sorted({record.rounds for record in records})
    shape = records[0].facts["input_shape"]
    what = " x ".join(map(str, shape if size else shape[:2]))
    times = f"{rounds[0]}" if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}"
    return (
        f"Milliseconds, median (interquartile range) of {times} rounds in turn in one process;"
        f" input {what}, x4, float32 unless a precision is named; {_machine(results)}"
    )


def _absent(results: Results, group: str) -> list[str]:
    return [
        f"Not measured: {', '.join(names)}: {reason}."
        for reason, names in results.absent(group).items()
    ]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Markdown; the first ``words`` columns are text, the others numbers."""
    dashes = [*["---"] * words, *["---:"] * (len(heads) - words)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, dashes, *rows))


def _join(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
