"""Entry of a bundle: ``python3 run.py``. Works beside ``board/`` and inside it.

Of the bundle, this file runs and what ``manifest.json`` lists in ``board/``, nothing else: those
sources are read once, held against their hashes, and these very bytes are compiled. No module
beside this file, no ``__pycache__`` and no program in the bundle is ever found.
"""
# Python has loaded os before this file runs; pathlib, or a newer syntax, might not be had.
# ruff: noqa: PTH110, PTH118, PTH119, PTH120, PTH117, PTH123

import sys

AGAIN = "copy the bundle to the board again"
LARGEST = 16 << 20  # bytes of a manifest or a source


class Program:
    """Importer of the package ``board``: from verified sources (bytes by file), or not at all."""

    def __init__(self, folder: str, sources: dict) -> None:
        self.folder, self.sources = folder, sources

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        """Say where a module of ``board`` comes from; None for any other module."""
        if name.split(".")[0] != "board":
            return None
        from importlib.machinery import ModuleSpec

        file = name.replace(".", "/") + ("/__init__.py" if name == "board" else ".py")
        if file not in self.sources:
            raise ImportError(file + " is not listed in manifest.json")
        origin = self.folder + "/" + file
        spec = ModuleSpec(
            name,
            self,  # type: ignore[arg-type]
            origin=origin,
            loader_state=file,
            is_package=name == "board",
        )
        spec.has_location = True
        return spec

    def create_module(self, spec: object) -> None:
        """Leave it to Python."""

    def exec_module(self, module: object) -> None:
        """Run the bytes that were hashed."""
        spec = module.__spec__  # type: ignore[attr-defined]
        code = compile(self.sources[spec.loader_state], spec.origin, "exec", dont_inherit=True)
        exec(code, module.__dict__)


def read_program(folder: str) -> tuple:
    """Manifest (bytes) and verified sources of ``board`` (bytes by file).

    Raises:
        OSError, ValueError: the manifest or a source is missing, damaged or changed.
        ImportError: Python's own modules are not found outside the bundle.
    """
    import hashlib
    import json
    import os
    import stat

    def read(name: str) -> bytes:
        path = os.path.join(folder, name)
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            raise ValueError(name + " is no file, or has more than 16 MiB")
        with open(path, "rb") as stream:
            return stream.read()

    manifest = read("manifest.json")
    try:
        listed = json.loads(manifest.decode("utf-8"), parse_int=str, parse_float=str)["files"]
        hashes = {str(name): entry["sha256"] for name, entry in listed.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = "manifest.json is not JSON with the hashes of files: " + repr(error)
        raise ValueError(reason) from None
    sources = {}
    for name in sorted(hashes):
        if name.startswith("board/") and name.endswith(".py") and name.count("/") == 1:
            sources[name] = read(name)
            found = hashlib.sha256(sources[name]).hexdigest()
            if found != hashes[name]:
                raise ValueError(name + " has SHA-256 " + found + ", not that of the manifest")
    for name in ("board/__init__.py", "board/main.py"):
        if name not in sources:
            raise ValueError(name + " is not listed in manifest.json")
    return manifest, sources


def fail(reason: str) -> int:
    """Say one line on stderr; returns the exit code."""
    line = " ".join("".join(c if c.isprintable() else " " for c in reason).split())
    sys.stderr.write("run.py: error: " + line + "\n")
    return 2


def main() -> int:
    """Verify the program and hand over; an older Python is told what is needed."""
    if sys.version_info < (3, 8):  # noqa: UP036 - this file alone is read by older ones
        return fail("Python 3.8 or newer is needed, this is " + sys.version)
    sys.dont_write_bytecode = True  # a run leaves nothing behind but what it is asked to write
    places, sys.path[:] = sys.path[:], []  # nothing is imported before the bundle is off the path
    try:
        import os  # there since Python started
    except ImportError:
        return fail("Python was started without its own modules; leave -S out")

    here = os.path.dirname(os.path.realpath(__file__))
    above = os.path.dirname(here)
    in_board = os.path.basename(here) == "board" and os.path.exists(above + "/manifest.json")
    folder = above if in_board else here

    def is_outside(place: str) -> bool:
        return os.path.commonpath([os.path.realpath(place), folder]) != folder

    sys.path[:] = [place for place in places if is_outside(place)]
    os.environ["PATH"] = os.pathsep.join(
        place for place in os.get_exec_path() if os.path.isabs(place) and is_outside(place)
    )
    try:
        manifest, sources = read_program(folder)
    except (OSError, ValueError, MemoryError) as error:
        return fail("the bundle is damaged or was changed: " + str(error) + "; " + AGAIN)
    except ImportError as error:
        return fail(str(error) + "; unpack the bundle into a folder of its own")
    sys.meta_path.insert(0, Program(folder, sources))  # type: ignore[arg-type]
    from importlib import import_module

    return int(import_module("board.main").main(folder, sys.argv[1:], manifest))


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:  # before there was anything to report
        sys.stderr.write("run.py: interrupted\n")
        code = 130
    sys.exit(code)
