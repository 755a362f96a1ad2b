"""Write ``student.py``: a short Python file that loads a student without edgesr.

It calls the user's factory, makes each structural change in plain PyTorch, and loads the state
dict strictly. Printed are the layers that the student has in the end, whatever passes made them; a
class that PyTorch has not comes along as text. Only edgesr's own networks need edgesr to load.
Names and values of the network reach the text through :mod:`edgesr.loading.python_source` alone.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from edgesr.errors import ModelError
from edgesr.files import atomic_path
from edgesr.loading import carried
from edgesr.loading.factory import factory_of
from edgesr.loading.python_source import docs, is_name, literal, name
from edgesr.loading.signature import BICUBIC, Call, call_of
from edgesr.models import is_own
from edgesr.surgery import hoist
from edgesr.surgery.passes.lowrank import FactorisedTransposed
from edgesr.surgery.passes.remove import Skip
from edgesr.surgery.structure import Factorised, changes_of

_DEFAULTS: Mapping[str, Any] = {
    "stride": 1,
    "padding": 0,
    "output_padding": 0,
    "dilation": 1,
    "groups": 1,
    "padding_mode": "zeros",
}
_SCALES = {
    "int": "{scale}",
    "float": "{scale}.0",
    "tensor": "x.new_full((1,), {scale})",
    BICUBIC: "larger",
}

_IN_ORDER = (Factorised.forward, FactorisedTransposed.forward)
"""What runs the factors one after the other, as nn.Sequential does."""

_TEMPLATE = '''"""Load the compressed network in {title}; needs torch and safetensors.

    from {module} import load
    network = load()

{source}
{fits}
"""

from __future__ import annotations

{imports}


{pieces}def load(weights: str | Path = Path(__file__).with_name({weights})) -> nn.Module:
    """The network [N, B, h, w] -> [N, B, h r, w r] in evaluation mode, with its weights."""
    model = {build}
{changes}    state = load_file(weights)
{state}    model.load_state_dict(state)
    return {result}
'''

_STRAIGHT = """\
The state dict also fits {whose}, without this file:
model.load_state_dict(load_file({weights}))"""

_STANDARD = {
    "from collections import OrderedDict": r"OrderedDict\(",
    "from functools import wraps": "@wraps",
    "from pathlib import Path": "",
    "from typing import Any": r"\bAny\b",
}
_TORCH = {
    "import torch": r"\btorch\.",
    "import torch.nn.functional as F": r"\bF\.",
    "from safetensors.torch import load_file": "",
    "from torch import nn": "",
    "from torch.overrides import TorchFunctionMode": "TorchFunctionMode",
}
"""Import statements, and the pattern of the code that needs them."""


def write_loader(model: nn.Module, path: Path, weights: str = "student.safetensors") -> None:
    """Write the file that loads the state dict of ``model`` from the file ``weights`` beside it.

    Args:
        model: what :func:`edgesr.loading.weights.save_network` takes, with its changes recorded.
        path: the Python file to write (or replace).
        weights: name of the safetensors file in the same folder.

    Raises:
        ModelError: the network was built neither by edgesr nor by a factory, or holds a
            replacement that cannot be printed.
    """
    changes = list(_changes(model))
    pieces = [text for text, needed in _pieces(model, changes) if needed]
    state = list(_state(model))
    text = _TEMPLATE.format(
        weights=literal(weights),
        title=docs(weights),
        module=docs(path.stem),
        source=docs(_source(model)),
        fits=_fits(weights, changes, state),
        imports=_imports(model, "\n".join((*pieces, *changes, *state))),
        pieces="".join(f"{piece}\n\n" for piece in pieces),
        build=_build(model),
        changes=_indented(changes),
        state=_indented(state),
        result="Called(model.eval()).eval()" if call_of(model) else "model.eval()",
    )
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _indented(lines: list[str]) -> str:
    return "".join(f"    {line}\n" for entry in lines for line in entry.splitlines())


def _factory(model: nn.Module) -> tuple[str, str]:
    factory = factory_of(model)
    if factory is None:
        raise ModelError(
            f"a {type(model).__name__} cannot be rebuilt by a file; build it with create_model or "
            "load_custom first"
        )
    module, _, function = factory.partition(":")
    return module, function


def _source(model: nn.Module) -> str:
    if is_own(model):
        return "The network itself comes from edgesr, which must be installed."
    module, function = _factory(model)
    return f"The network itself comes from {module}.{function}(); {module} must be importable."


def _build(model: nn.Module) -> str:
    if not is_own(model):
        return "factory().float()"
    config: dict[str, Any] = dict(model.config)  # type: ignore[arg-type]
    options = "".join(f", {name(key)}={literal(value)}" for key, value in config.items())
    return f"create_model({literal(model.name)}{options})"


def _fits(weights: str, changes: list[str], state: list[str]) -> str:
    whole = "\n".join(changes)
    if state or any(piece in whole for piece in ("hoist(", "Skip(", "SharedFactor(")):
        return "load() makes the changes to its layers without which the state dict does not fit."
    whose = "a class that builds the layers in load() itself" if changes else "the class as it is"
    return _STRAIGHT.format(whose=whose, weights=docs(literal(weights)))


def _imports(model: nn.Module, code: str) -> str:
    """Import statements for what ``code`` uses, one group after the other."""
    groups = [
        [line for line, sign in group.items() if re.search(sign, code)]
        for group in (_STANDARD, _TORCH)
    ]
    if is_own(model):
        groups.append(["from edgesr.models import create_model"])
    else:
        groups.append([_import_factory(*_factory(model))])
    text = "\n\n".join("\n".join(group) for group in groups)
    return text.replace("torch import nn", "torch import Tensor, nn") if "Tensor" in code else text


def _import_factory(module: str, function: str) -> str:
    if all(map(is_name, (*module.split("."), function))):
        return f"from {module} import {function} as factory"
    found = f"getattr(import_module({literal(module)}), {literal(function)})"  # any name of a file
    return f"from importlib import import_module\n\nfactory = {found}"


def _changes(model: nn.Module) -> Iterator[str]:
    """Statements that bring a fresh network to the student's structure."""
    modules = dict(model.named_modules(remove_duplicate=False))
    done: set[str] = set()
    for change in changes_of(model):
        if "child" in change:
            site = f"{change['layers'][1]}.{change['child']}".lstrip(".")
            if site in modules:
                yield _hoist(change, modules[site], modules[""])
                done.add(site)
            continue
        for path in change["layers"]:
            # what lies in a module that was replaced later has gone, or is printed with it
            if path not in modules or path in done:
                continue
            new = modules[path]
            yield _put(path, _expression(new, model))
            places = {_place(path, modules)}
            for alias, module in modules.items():
                if module is new and _place(alias, modules) not in places:
                    places.add(_place(alias, modules))
                    yield _put(alias, _at(path))
            done |= {alias for alias, module in modules.items() if module is new}


def _place(path: str, modules: Mapping[str, nn.Module]) -> tuple[int, str]:
    """Parent and name: one for all paths through a parent that has several itself."""
    parent, _, name = path.rpartition(".")
    return id(modules[parent]), name


def _put(path: str, expression: str) -> str:
    if not path:
        return f"model = {expression}"
    return f"model.set_submodule({literal(path)}, {expression})"


def _at(path: str) -> str:
    return f"model.get_submodule({literal(path)})" if path else "model"


def _hoist(change: Mapping[str, Any], layer: nn.Module, model: nn.Module) -> str:
    caller, holder = change["layers"]
    names = ", ".join(literal(change[key]) for key in ("weight", "bias", "child"))
    return f"hoist({_at(caller)}, {_at(holder)}, {names}, {_expression(layer, model)})"


def _expression(module: nn.Module, model: nn.Module) -> str:
    """Python that builds a replacement layer."""
    if isinstance(module, Skip):
        return "Skip()"
    if isinstance(module, FactorisedTransposed) and module._shared:
        owner = next(path for path, m in model.named_modules() if m is module.factor)
        return f"SharedFactor({_at(owner)}, {_expression(module.expand, model)})"
    if isinstance(module, Factorised) and type(module).forward in _IN_ORDER:
        parts = ",\n".join(
            f"    {name(key)}={_expression(part, model)}" for key, part in module.named_children()
        )
        return f"nn.Sequential(OrderedDict(\n{parts},\n))"
    if type(module) is nn.Sequential:
        return f"nn.Sequential({', '.join(_expression(part, model) for part in module)})"
    if isinstance(module, nn.Linear):
        bias = "" if module.bias is not None else ", bias=False"
        return f"nn.Linear({literal(module.in_features)}, {literal(module.out_features)}{bias})"
    if not isinstance(module, nn.modules.conv._ConvNd):
        raise ModelError(
            f"a file without edgesr cannot build a {type(module).__name__}, which its pass put into"
            " the network: load it with edgesr instead"
        )
    sides = (module.in_channels, module.out_channels, _short(module.kernel_size))
    options = [
        f"{key}={literal(_short(getattr(module, key)))}"
        for key, usual in _DEFAULTS.items()
        if _short(getattr(module, key)) != usual
    ]
    options += [] if module.bias is not None else ["bias=False"]
    return f"nn.{name(type(module).__name__)}({', '.join([*map(literal, sides), *options])})"


def _short(value: Any) -> Any:
    """One number for a tuple of equal ones."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


def _pieces(model: nn.Module, changes: list[str]) -> Iterator[tuple[str, bool]]:
    """Texts of classes and functions, and whether this file needs them."""
    body = "\n".join(changes)
    hoists = "hoist(" in body
    functionals = ", ".join(f"F.{function.__name__}" for function in hoist.FUNCTIONALS)
    yield f"FUNCTIONALS = ({functionals})\n", hoists
    for source in (hoist.Redirect, hoist.redirected, hoist.hoist):
        yield inspect.getsource(source), hoists
    yield inspect.getsource(Skip), "Skip(" in body
    yield inspect.getsource(carried.SharedFactor), "SharedFactor(" in body
    call = call_of(model)
    for function in (carried.tiles_along, carried.cut, carried.join, carried.faded):
        yield inspect.getsource(function), bool(call and call.side)
    yield _called(call) if call else "", call is not None


def _called(call: Call) -> str:
    """A module that calls a network as its author does; see :meth:`Call.run`."""
    scale, enlarges = literal(call.scale), call.enlarged or BICUBIC in dict(call.further).values()
    image = "larger" if call.enlarged else "x"
    arguments = [image, *(f"{name(n)}={_SCALES[k].format(scale=scale)}" for n, k in call.further)]
    lines = ["x = x.clone()"] if call.copy else []
    lines += ["height, width = x.shape[-2:]"] if call.multiple > 1 or call.side else []
    side = literal(call.side)
    lines += [f"x = cut(x, {side})"] if call.side else []
    if call.multiple > 1:
        multiple = literal(call.multiple)
        sides = f"(0, -width % {multiple}, 0, -height % {multiple})"
        lines.append(f'x = F.pad(x, {sides}, mode="replicate")')
    if enlarges:
        options = f'scale_factor={scale}, mode="bicubic", align_corners=False'
        lines.append(f"larger = F.interpolate(x, {options})")
    if call.volume:
        lines += [f"{one} = {one}.unsqueeze(1)" for one in ["x"] + ["larger"] * enlarges]
    lines.append(f"result = self.network({', '.join(arguments)})")
    lines += [] if call.output is None else [f"result = result[{literal(call.output)}]"]
    lines += ["result = result.squeeze(1)"] if call.squeeze else []
    lines += [f"result = join(result, height, width, {side}, {scale})"] if call.side else []
    crop = f"[..., : height * {scale}, : width * {scale}]" if call.multiple > 1 else ""
    lines.append(f"return result{crop}")
    body = "".join(f"        {line}\n" for line in lines)
    return f'''class Called(nn.Module):
    """The network, called as its author does: {docs(call.describe())}."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
{body}'''


def _state(model: nn.Module) -> Iterator[str]:
    """Statements that put together what a file of real tensors cannot hold."""
    for key, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            yield f"state[{literal(key)}] = {literal(value)}"
        elif value.is_complex():
            yield f"state[{literal(key)}] = torch.view_as_complex(state[{literal(key)}])"
