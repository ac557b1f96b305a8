"""Reads a module: exports it, walks what was exported, and gives the graph with its arrays."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from torch.export.graph_signature import InputKind

from cnnbench.errors import CnnbenchError, SpecError
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.interchange.model_readers import ReadModel, Unread
from cnnbench_torch.reading.aliases import shared_memory
from cnnbench_torch.reading.call import HANDLERS, AtenCall, FixedTensor, NotReadError, ReadProgram
from cnnbench_torch.reading.regions import without_regions

for _family in ("contractions", "elements", "normalizations", "patches", "products", "reductions", "shapes", "windows"):
    import_module(f"cnnbench_torch.reading.{_family}")

HELP = (
    "put what such a part computes into PyTorch's own layers; export the model to ONNX, which other operators are "
    "read from; or compare activations: cnnbench port accepts a file .npz"
)
_KEEP_NAME = {"t", "permute", "transpose", "view", "reshape", "detach", "alias", "contiguous", "expand", "to"}
_NO_FORM = (NotReadError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
_IGNORED = {"_assert_tensor_metadata", "sym_constrain_range_for_size", "_assert_scalar"}


def read_program(program: Any, name: str, shapes: Sequence[tuple[int, ...]], batch: int) -> ReadModel:
    """An exported program as a graph.

    Args:
        program: A ``torch.export.ExportedProgram``.
        name: What the graph is called.
        shapes: Of the inputs, without the batch.
        batch: How many images it was exported for.

    Raises:
        SpecError: Parts that are not read, all of them named.
    """
    reading = ReadProgram(Builder(name), batch=batch)
    reading.notes += without_regions(program)
    environment = _inputs(program, reading, shapes)
    unread = Unread("PyTorch")
    failed: set[Any] = set()
    memory = shared_memory(program.graph.nodes)
    for node in program.graph.nodes:
        computed = any(isinstance(environment.get(item), Value) for item in node.all_input_nodes)
        if node in memory.lost and computed:  # views of constants are tensors, which see what is written
            unread.parts.append((_path(node)[0], f"{node.target}: it writes into a tensor whose view is used later"))
            failed.add(node)
        elif node.op == "call_function":
            _walk(node, environment, reading, unread, failed)
            for name in memory.names.get(node, ()):
                environment[name] = environment.get(node)
    if unread.parts:
        raise unread.error(HELP)
    found = next(node for node in program.graph.nodes if node.op == "output").args[0]
    return _finished(program, reading, [environment.get(item) for item in found])


def _inputs(program: Any, reading: ReadProgram, shapes: Sequence[tuple[int, ...]]) -> dict[Any, Any]:
    """What the program's placeholders stand for."""
    kinds = {item.arg.name: item for item in program.graph_signature.input_specs}
    state = {**program.state_dict, **program.constants}
    given = iter(shapes)
    environment: dict[Any, Any] = {}
    for node in program.graph.nodes:
        if node.op != "placeholder":
            continue
        item = kinds[node.name]
        if item.kind == InputKind.USER_INPUT:
            integers = not node.meta["val"].dtype.is_floating_point
            value = reading.builder.input(node.name, next(given), dtype="int" if integers else "float")
            reading.used[node.name] = 1
            reading.batched = reading.batched or value
            environment[node] = value
        else:
            tensor = state[item.target].detach()  # constants are folded in float64
            environment[node] = FixedTensor(tensor.double() if tensor.is_floating_point() else tensor, item.target)
            if item.kind == InputKind.PARAMETER:
                reading.with_parameters.add(item.target.rpartition(".")[0])
                reading.trainable.add(item.target)
    return environment


def _walk(node: Any, environment: dict[Any, Any], reading: ReadProgram, unread: Unread, failed: set[Any]) -> None:
    """Reads one operation, or notes that it is not read."""
    if node.target is operator.getitem:
        source = environment.get(node.args[0])
        environment[node] = dict(enumerate(source)).get(node.args[1]) if isinstance(source, tuple | list) else None
        if node.args[0] in failed:
            failed.add(node)
        return
    op = str(node.target).removeprefix("aten.").partition(".")[0]
    if op in _IGNORED or any(item in failed for item in node.all_input_nodes):
        if op not in _IGNORED:
            failed.add(node)
        if op not in _IGNORED and op not in HANDLERS:
            unread.parts.append((_path(node)[0], str(node.target)))
        return
    arguments = _arguments(node, environment)
    try:
        environment[node] = _result(node, op, arguments, reading)
    except (CnnbenchError, *_NO_FORM) as error:
        said = f"{error.message}, received {error.received}" if isinstance(error, CnnbenchError) else str(error)
        said = said if isinstance(error, CnnbenchError | NotReadError) else f"a form that is not known ({said})"
        unread.parts.append((_path(node)[0], f"{node.target}: {said}"))
        failed.add(node)


def _result(node: Any, op: str, arguments: dict[str, Any], reading: ReadProgram) -> Any:
    if _is_constant(arguments):
        return _folded(node, op, arguments)
    if op not in HANDLERS:
        raise NotReadError("this operation is not known")
    path, plain = _path(node)
    shape = getattr(node.meta.get("val"), "shape", ())
    first = next(iter(node.all_input_nodes), None)
    source = first.meta.get("val") if first is not None else None
    arguments["source_shape"] = tuple(getattr(source, "shape", ()))
    arguments["source_type"] = getattr(source, "dtype", None)
    arguments["type"] = getattr(node.meta.get("val"), "dtype", None)
    arguments["states_are_read"] = any(
        user.target is operator.getitem and user.args[1] > 0 and user.users for user in node.users
    )
    call = AtenCall(op, arguments, path, plain, tuple(shape), reading)
    made = HANDLERS[op](call)
    if isinstance(made, Value) and not _fits(made.shape, shape, reading.batch):
        raise NotReadError(f"it has the shape {tuple(shape)} and is read as {made.shape}")
    if isinstance(made, Value) and made.dtype == "float" and not arguments["type"].is_floating_point:
        raise NotReadError(f"its values are of {arguments['type']}, and would be read as floats")
    return made


def _fits(one: Sequence[int], many: Sequence[int], batch: int) -> bool:
    """Whether a shape for one image is that for all, the images along one axis at most."""
    if len(one) != len(many):
        return False
    apart = [(a, b) for a, b in zip(one, many, strict=True) if a != b]
    return not apart or (len(apart) == 1 and apart[0][1] == batch * apart[0][0])


def _arguments(node: Any, environment: dict[Any, Any]) -> dict[str, Any]:
    """By name, with the schema's defaults."""

    def known(item: Any) -> Any:
        if isinstance(item, torch.fx.Node):
            return environment.get(item)
        if isinstance(item, list | tuple):
            return [known(part) for part in item]
        return item

    names = node.target._schema.arguments
    found = {item.name: item.default_value for item in names}
    found |= {item.name: known(value) for item, value in zip(names, node.args, strict=False)}
    return found | {name: known(value) for name, value in node.kwargs.items()}


def _is_constant(arguments: dict[str, Any]) -> bool:
    flat: list[Any] = []
    for item in arguments.values():
        flat += item if isinstance(item, list) else [item]
    return not any(isinstance(item, Value) for item in flat)


def _folded(node: Any, op: str, arguments: dict[str, Any]) -> Any:
    """What an operation on constants gives; a view of a parameter keeps its name."""
    if torch.Tag.nondeterministic_seeded in node.target.tags and arguments.get("train", True):
        raise NotReadError("it draws at random each time")
    sources = [item for item in arguments.values() if isinstance(item, FixedTensor)]

    def plain(item: Any) -> Any:
        if isinstance(item, FixedTensor):
            return item.tensor.clone() if op.endswith("_") and item.name else item.tensor  # views see the change
        return [plain(part) for part in item] if isinstance(item, list) else item

    kinds = {item.tensor.dtype for item in sources if item.tensor.is_floating_point()}
    if len(kinds) > 1:  # parameters are held in float64; what the program makes of nothing has the type that it says
        arguments = {name: _widened(item) for name, item in arguments.items()}
    positional, keywords = [], {}
    for item in node.target._schema.arguments:
        if item.kwarg_only:
            keywords[item.name] = plain(arguments[item.name])
        else:
            positional.append(plain(arguments[item.name]))
    with torch.no_grad():
        made = node.target(*positional, **keywords)
    name = sources[0].name if len(sources) == 1 and op in _KEEP_NAME else ""
    if isinstance(made, torch.Tensor):
        return FixedTensor(made, name)
    return tuple(FixedTensor(item, "") for item in made) if isinstance(made, list | tuple) else made


def _widened(item: Any) -> Any:
    """Constants in float64."""
    if isinstance(item, FixedTensor) and item.tensor.is_floating_point():
        return FixedTensor(item.tensor.double(), item.name)
    return [_widened(part) for part in item] if isinstance(item, list) else item


def _path(node: Any) -> tuple[str, bool]:
    """The path of the module that a node belongs to, and whether that is one of PyTorch's own layers."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return "", False
    path, kind = stack[-1]
    kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    own = kind.startswith("torch.nn.modules.") and "container" not in kind
    return path.partition("@")[0], own


def _finished(program: Any, reading: ReadProgram, found: list[Any]) -> ReadModel:
    names = [item.arg.name for item in program.graph_signature.output_specs]
    kinds = [item.kind.name for item in program.graph_signature.output_specs]
    values = [item for item, kind, _ in zip(found, kinds, names, strict=True) if kind == "USER_OUTPUT"]
    kept = [item for item in values if isinstance(item, Value)]
    if len(kept) != len(values) or not kept:
        raise SpecError("an output of the model depends on no input", expected="values that come from the input")
    keys = _keys(program, len(kept))
    graph = reading.builder.build(dict(zip(keys, kept, strict=True)))
    specs = {item.name for item in (*graph.named_weights(), *graph.named_state())}
    arrays = {name: array for name, array in reading.arrays.items() if name in specs}
    return ReadModel(graph, arrays, tuple(dict.fromkeys(reading.notes)), noises=tuple(reading.noises))


def _keys(program: Any, count: int) -> list[str]:
    """The names of outputs: the keys of a dictionary, or numbers."""
    spec = program.call_spec.out_spec
    keys = [str(key) for key in spec.context] if spec is not None and spec.type is dict else []
    if len(keys) == count:
        return keys
    return ["output"] if count == 1 else [f"output{i}" for i in range(count)]
