"""Tables of the experiments on cubes that can be had: means and spreads over the seeds."""

from __future__ import annotations

from edgesr.reproduce.claims import SECTIONS, claims_grid
from edgesr.reproduce.figures import Content, figure, find_row, quantity, results
from edgesr.reproduce.grid import Grid
from edgesr.reproduce.real import BLOCKS


def cubes_of(content: Content, name: str) -> list[str]:
    """Return the cubes of an experiment, in the order of its rows."""
    rows = content["experiments"][name]["rows"]
    return list(dict.fromkeys(row["cube"] for row in rows))


def real_grid(content: Content, name: str) -> Grid:
    """Return an experiment: a line for each row, MPSNR and SAM of each cube as mean (spread).

    Where the experiment has a baseline, its own line has the figures and the others the change.
    """
    table = content["experiments"][name]
    cubes = cubes_of(content, name)
    labels = list(dict.fromkeys(row["label"] for row in table["rows"]))
    header = ["", "params", "of the upsampler"]
    header += [f"{cube} {unit}" for cube in cubes for unit in ("dB", "deg")]
    lines = []
    for label in labels:
        cells = [label, *_sizes(content, name, label, cubes[0])]
        for cube in cubes:
            for metric in ("mpsnr", "sam"):
                cells.append(_cell(content, name, label, cube, metric))
        lines.append(tuple(cells))
    return Grid(tuple(header), tuple(lines), table["title"])


def spectrum_grid(content: Content) -> Grid:
    """Return how many singular values hold 90 % in the upsampler, before and after training."""
    lines = []
    for cube in cubes_of(content, "blocks"):
        done = results(content, find_row(content, "blocks", f"{BLOCKS} blocks", cube))
        if not done:
            continue
        cells = [cube, str(done[0]["rank"]["full"])]
        for kind in ("sum", "energy"):
            for when in ("rank_before", "rank"):
                cells.append(_range([result[when][kind] for result in done]))
        lines.append(tuple(cells))
    header = ("", "all", "sum, untrained", "sum, trained", "energy, untrained", "energy, trained")
    return Grid(header, tuple(lines), "Singular values that hold 90 % (LKCA-Net, Figure 4)")


def facts_grid(content: Content) -> Grid:
    """Return what the figures were measured on, with what settings, where and when."""
    used = {key for t in content["experiments"].values() for r in t["rows"] for key in r["trials"]}
    done = [content["trials"][key] for key in used if key in content["trials"]]
    days = sorted({result["date"] for result in done})
    seeds = sorted({result["trial"]["seed"] for result in done})
    machine = content["environment"]
    facts = {
        "cubes": ", ".join(
            f"{name} ({' x '.join(map(str, cube['shape']))})"
            for name, cube in content["cubes"].items()
        ),
        "seeds": ", ".join(map(str, seeds)),
        **{name.replace("_", " "): _plain(value) for name, value in content["settings"].items()},
        "results": f"{len(done)}, about {content['cpu_minutes']:.0f} minutes of processor time",
        "machine": f"{machine['cpu']}, {machine['device']}, {machine['threads']} thread(s),"
        f" float32, torch {machine['torch']}",
        "date": days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}",
    }
    return Grid(("what", "value"), tuple(facts.items()), "Settings", prose=True)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return str(value)


def all_grids(content: Content) -> dict[str, Grid]:
    """Return every table of a results file by the name that documents use."""
    done = {
        name: real_grid(content, name)
        for name, table in content["experiments"].items()
        if not any(row["published"] for row in table["rows"])
    }
    if "blocks" in done:
        done["facts"] = facts_grid(content)
        done["spectrum"] = spectrum_grid(content)
        cubes = cubes_of(content, "blocks")
        for section in SECTIONS:
            done[f"claims {section}"] = claims_grid(content, section, cubes)
    return done


def _sizes(content: Content, name: str, label: str, cube: str) -> list[str]:
    done = results(content, find_row(content, name, label, cube))
    if not done or "params" not in done[0]:
        return ["-", "-"]
    return [f"{done[0]['params']:,}", f"{done[0]['upsampler_params']:,}"]


def _cell(content: Content, name: str, label: str, cube: str, metric: str) -> str:
    """Mean (spread); the baseline's own figures where the others are changes against it."""
    baseline = content["experiments"][name]["baseline"]
    relative = bool(baseline) and label != baseline
    row = find_row(content, name, label, cube)
    if relative:
        found = quantity(content, name, label, cube, metric)
    else:
        found = figure(content, row, metric) if row else None
    if found is None:
        return "-"
    sign = "+" if relative else ""
    spread = f" ({found.spread:.3f})" if len(found.values) > 1 else ""
    return f"{found.mean:{sign}.3f}{spread}"


def _range(values: list[int]) -> str:
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"
