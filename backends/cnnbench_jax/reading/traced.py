"""Reads a JAX function: traces it, walks the jaxpr, and gives what each output is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import jax
import numpy as np
from jax._src import source_info_util
from jax.extend.core import Literal

from cnnbench.errors import CnnbenchError, SpecError
from cnnbench.spec.interchange.model_readers import Unread
from cnnbench_jax.reading.call import HANDLERS, JaxCall
from cnnbench_jax.reading.draft import BATCH, Draft, Drafted, FixedArray, Operand, UnreadFormError

for _family in ("elements", "choices", "shapes", "gathering", "windows", "products", "joining", "normalizations"):
    import_module(f"cnnbench_jax.reading.{_family}")

HELP = (
    "write such a part with jax.nn, jax.lax or jax.numpy functions that are read (docs/porting.md); export the model "
    "to ONNX; or compare activations: cnnbench port accepts a file .npz"
)
_INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_VIEWS = {"reshape", "squeeze", "expand_dims", "transpose", "convert_element_type", "broadcast_in_dim", "copy"}
_VIEWS |= {"stop_gradient", "copy_p"}


@dataclass(frozen=True)
class TracedFunction:
    """What a function makes of its inputs.

    Args:
        draft: The network.
        inputs: Its inputs.
        outputs: Its outputs, by their keys or numbers.
    """

    draft: Draft
    inputs: tuple[Drafted, ...]
    outputs: dict[str, Drafted]


def trace(
    function: Callable[..., Any], parameters: Any, shapes: Sequence[tuple[int, ...]], integers: Sequence[bool]
) -> TracedFunction:
    """A function of parameters and batches of images as a network.

    Args:
        function: (parameters, *batches) -> outputs.
        parameters: A tree of arrays.
        shapes: Of each batch's images.
        integers: Whether each batch holds integers.

    Raises:
        SpecError: The function fails on such inputs; parts of it are not read, all of them named.
    """
    kinds = [np.int64 if whole else np.float64 for whole in integers]
    batches = [jax.ShapeDtypeStruct((BATCH, *shape), kind) for shape, kind in zip(shapes, kinds, strict=True)]
    leaves, tree = jax.tree_util.tree_flatten_with_path(parameters)
    held = [_wide(leaf) for _, leaf in leaves]
    given = jax.tree_util.tree_unflatten(tree, [jax.ShapeDtypeStruct(item.shape, item.dtype) for item in held])
    try:
        closed, made = jax.make_jaxpr(function, return_shape=True)(given, *batches)
    except Exception as error:
        text = " ".join(str(error).split())[:400]
        raise SpecError(
            "JAX cannot trace the function",
            received=f"{type(error).__name__}: {text}",
            expected=f"apply(parameters, batch) with a batch of shape (N, {', '.join(map(str, shapes[0]))})",
            remedy="take branches that depend on values out of it; say the shape in the model's own layout",
        ) from error
    draft, unread = Draft(), Unread("JAX")
    inputs = tuple(Drafted((1, *shape)) for shape in shapes)
    draft.image = inputs[0]
    named = [FixedArray(array, _name(path)) for (path, _), array in zip(leaves, held, strict=True)]
    constants = [FixedArray(_host(item)) for item in closed.consts]
    found = _walk(closed.jaxpr, constants, [*named, *inputs], draft, unread)
    if unread.parts:
        raise unread.error(HELP)
    values = [item for item in found if isinstance(item, Drafted) and not item.compared]
    if len(values) != len(found) or not values:
        raise SpecError("an output of the model depends on no input", expected="values that come from the input")
    return TracedFunction(draft, inputs, dict(zip(_keys(made), values, strict=True)))


def _wide(leaf: Any) -> np.ndarray:
    array = _host(leaf)
    if jax.dtypes.issubdtype(array.dtype, jax.numpy.floating):
        return array.astype(np.float64)
    return array


def _name(path: Sequence[Any]) -> str:
    """A parameter's path in the tree, such as ``block1.conv.kernel``."""
    parts = [str(next(getattr(key, name) for name in ("key", "idx", "name") if hasattr(key, name))) for key in path]
    return ".".join("".join(c if c.isalnum() or c in "_.-" else "_" for c in part).strip(".") for part in parts)


def _keys(made: Any) -> list[str]:
    paths = [_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(made)[0]]
    if isinstance(made, dict):
        return paths
    return ["output"] if len(paths) == 1 else [f"output{i}" for i in range(len(paths))]


def _walk(
    jaxpr: Any,
    constants: Sequence[FixedArray],
    inputs: Sequence[Operand | None],
    draft: Draft,
    unread: Unread,
    caller: str = "",
) -> list[Operand | None]:
    """What the outputs of a jaxpr are; None for what could not be read."""
    known: dict[Any, Operand | None] = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *inputs), strict=True))

    def operand(item: Any) -> Operand | None:
        return FixedArray(np.asarray(item.val)) if isinstance(item, Literal) else known[item]

    for equation in jaxpr.eqns:
        operands, place = [operand(item) for item in equation.invars], _place(equation) or caller
        inner = next((equation.params[name] for name in _INNER if name in equation.params), None)
        if inner is not None and equation.primitive.name not in ("scan", "while", "cond"):
            plain = getattr(inner, "jaxpr", inner)
            consts = [FixedArray(_host(item)) for item in getattr(inner, "consts", ())]
            results = _walk(plain, consts, operands, draft, unread, place)
        elif any(item is None for item in operands):
            results = [None] * len(equation.outvars)
        else:
            results = _read(equation, operands, draft, unread, place)
        known.update(zip(equation.outvars, results, strict=True))
    return [operand(item) for item in jaxpr.outvars]


def _host(array: Any) -> Any:
    """A constant on the host; a key of random numbers as its words, which no operation that is read takes."""
    if jax.dtypes.issubdtype(getattr(array, "dtype", np.float32), jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    return np.asarray(array)


_RANDOM = {"random_seed", "random_wrap", "random_unwrap", "random_bits", "random_fold_in", "random_split"} | {
    "threefry2x32",
    "rng_bit_generator",
    "rng_uniform",
}


def _read(equation: Any, operands: Sequence[Any], draft: Draft, unread: Unread, place: str) -> list[Operand | None]:
    """What the results of one operation are, noted where it is not read."""
    name = equation.primitive.name
    nothing: list[Operand | None] = [None] * len(equation.outvars)
    try:
        if name in _RANDOM:
            raise UnreadFormError("it draws at random: no random numbers at inference")
        if all(isinstance(item, FixedArray) for item in operands):
            return _folded(equation, operands)
        if name not in HANDLERS:
            raise UnreadFormError("this operation is not known")
        result = equation.outvars[0].aval
        sources = tuple(tuple(item.aval.shape) for item in equation.invars)
        call = JaxCall(name, tuple(operands), equation.params, sources, tuple(result.shape), draft)
        made = HANDLERS[name](call)
        if isinstance(made, Drafted) and not made.compared and not _fits(made.shape, result.shape):
            raise UnreadFormError(f"it has the shape {tuple(result.shape)} and is read as {made.shape}")
        return [made]
    except UnreadFormError as error:
        unread.parts.append((place, f"{name}: {error}"))
    except CnnbenchError as error:
        unread.parts.append((place, f"{name}: {error.message}, received {error.received}"))
    return nothing


def _fits(one: Sequence[int], many: Sequence[int]) -> bool:
    return len(one) == len(many) and all(b in (a, a * BATCH) for a, b in zip(one, many, strict=True))


def _place(equation: Any) -> str:
    """The line of the user's code from which an operation comes; "" within a function of JAX that was traced before."""
    frame = source_info_util.user_frame(equation.source_info.traceback)
    return "" if frame is None else f"{frame.file_name.rpartition('/')[2]}:{frame.start_line} ({frame.function_name})"


def _folded(equation: Any, operands: Sequence[FixedArray]) -> list[Operand | None]:
    """What an operation on constants gives; a view of a parameter keeps its name."""
    name = equation.primitive.name
    if name == "broadcast_in_dim":
        results = [_broadcast(operands[0].array, equation.params)]
    else:
        made = equation.primitive.bind(*(item.array for item in operands), **equation.params)
        results = [np.asarray(item) for item in (made if equation.primitive.multiple_results else [made])]
    if name in _VIEWS:
        source = operands[0]
        return [FixedArray(results[0], source.name, source.made_by, source.operands)]
    return [FixedArray(item, "", name, tuple(operands)) for item in results]


def _broadcast(array: np.ndarray, parameters: Any) -> np.ndarray:
    shape, places = tuple(parameters["shape"]), tuple(parameters["broadcast_dimensions"])
    wide = np.asarray(array).reshape(
        tuple(array.shape[places.index(i)] if i in places else 1 for i in range(len(shape)))
    )
    return np.broadcast_to(wide, shape)
