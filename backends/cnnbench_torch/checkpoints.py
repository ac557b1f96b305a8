"""Reads PyTorch checkpoints: tensors only, never code; alone, in a tar archive, or in shards with an index."""

from __future__ import annotations

import io
import pickle
import re
import tarfile
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch

from cnnbench.errors import DataError
from cnnbench.spec.interchange.fitting import FileArrays
from cnnbench_torch.stand_ins import STAND_INS, Array
from cnnbench_torch.tensors import array_of

# Under which training scripts keep the weights, those that were trained before their averages.
_WRAPPERS = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "weights"),
    *("params", "generator", "params_ema", "state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema"),
    *("model_ema_state_dict", "averaged_model", "teacher", "backbone", "encoder"),
)
# Which hold tensors that are no weights.
_OTHERS = re.compile(
    r"optim|sched|scaler|rng|callback|loops|criterion|loss|metric|history|momentum|grad", re.IGNORECASE
)
_NAMES = (".pth", ".pt", ".bin", ".ckpt")
_LEGACY = {"pickle", "storages", "tensors"}  # the members of what torch.save wrote before 0.1.10
LARGEST_BYTES = 64 << 30  # of a checkpoint in a tar archive


def read_checkpoint(path: Path) -> FileArrays:
    """The tensors of a state dict by name, in the file's order, as NumPy arrays on the host.

    Floating-point types narrower than float32 are widened exactly, sparse tensors are made dense and quantised ones
    floats, as PyTorch does; other types stay as they are. The file is read with ``weights_only=True``, which refuses
    everything but tensors and plain containers; options of a training script beside them are left unread.

    Raises:
        DataError: The file is missing, is not a checkpoint, holds code, or holds no tensors by name.
    """
    content = _content(path)
    notes: list[str] = []
    tensors = _state_dict(content, notes, str(path))
    return FileArrays(
        {name: array_of(tensor, f"{path}: {name}", name, notes) for name, tensor in tensors.items()}, notes
    )


def _content(path: Path) -> object:
    try:
        _refuse_others(path)
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                members = [member for member in archive.getmembers() if member.isfile()]
                if not _LEGACY.issubset(Path(member.name).name for member in members):
                    return _of_archive(archive, members, str(path))
            return _load(path, str(path))
        with path.open("rb") as file:
            _refuse_damaged(file, str(path))
        return _load(path, str(path))
    except FileNotFoundError:
        raise DataError("the weights file does not exist", where=str(path)) from None
    except (tarfile.TarError, zipfile.BadZipFile, OSError) as error:
        raise _unreadable(str(path), error) from None


def _refuse_others(path: Path) -> None:
    """Raises DataError for files of other formats, which say by their first bytes what they are."""
    with path.open("rb") as file:
        first = file.read(9)
    known = {b"\x89HDF": ("HDF5, as Keras writes", ".h5"), b"{": ("safetensors", ".safetensors")}
    for start, (name, suffix) in known.items():
        if first.startswith(start) if len(start) > 1 else first[8:9] == start:
            raise DataError(
                "the file is not PyTorch's", where=str(path), received=name, remedy=f"rename it to end with {suffix}"
            )


def _of_archive(archive: tarfile.TarFile, members: list[tarfile.TarInfo], where: str) -> object:
    """The one checkpoint in a tar archive, which is not extracted."""
    found = [item for item in members if item.name.lower().endswith((*_NAMES, ".pth.tar", ".pt.tar"))]
    if len(found) != 1:
        names = ", ".join(item.name for item in (found or members)[:8])
        raise DataError(
            "the archive does not hold one checkpoint",
            where=where,
            received=names or "no files",
            expected=f"one file that ends with {', '.join(_NAMES)}",
            remedy="extract it (tar -xf) and import the file that is meant",
        )
    if found[0].size > LARGEST_BYTES:
        raise DataError("the checkpoint in the archive is too large", where=where, received=f"{found[0].size} bytes")
    member = archive.extractfile(found[0])
    content = io.BytesIO(member.read() if member else b"")
    _refuse_damaged(content, f"{where}: {found[0].name}")
    content.seek(0)
    return _load(content, f"{where}: {found[0].name}")


def _refuse_damaged(file: IO[bytes], where: str) -> None:
    """Raises DataError for what is no checkpoint, is cut short, or has other bytes than were written.

    PyTorch writes a checksum of every tensor, and does not look at it when it reads.
    """
    first = file.read(8)
    expected = "a state dict saved with torch.save"
    if not first.startswith((b"PK", b"\x80")):
        received = f"a file that begins with {first!r}" if first else "an empty file"
        raise DataError("the file is not PyTorch's", where=where, received=received, expected=expected)
    if not first.startswith(b"PK"):
        return
    if not zipfile.is_zipfile(file):
        raise DataError("the file is cut short", where=where, received="an archive without its end", expected=expected)
    with zipfile.ZipFile(file) as archive:
        if not archive.namelist():
            raise DataError("the file is not PyTorch's", where=where, received="an empty archive", expected=expected)
        damaged = archive.testzip()
    if damaged is not None:
        raise DataError(
            "the file is damaged",
            where=where,
            received=f"another checksum of {damaged}",
            expected="the checksum that the file states",
            remedy="fetch it or save it again; torch.save(torch.load(FILE), FILE) writes checksums anew",
        )


def _load(file: Any, where: str) -> object:
    try:
        with torch.serialization.safe_globals(list(STAND_INS)), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layouts in beta and of TorchScript, which is refused below
            return torch.load(file, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        raise _unreadable(where, error) from None


def _unreadable(where: str, error: Exception) -> DataError:
    """What is wrong in one line, without PyTorch's advice to run what the file holds."""
    text = str(error)
    expected = "a state dict saved with torch.save: tensors and plain containers only"
    remedy = "where the model can be loaded: torch.save(model.state_dict(), 'weights.pth'), and import that"
    if found := re.search(r"GLOBAL ([\w.<>]+)|Unsupported class ([\w.]+)", text):
        received = f"an object of {found[1] or found[2]}, whose code is not run"
    elif "TorchScript" in text or "torch.jit" in text:
        received = "a TorchScript archive"
        remedy = f"torch.save(torch.jit.load({Path(where).name!r}).state_dict(), 'weights.pth'), and import that"
    else:
        received = re.sub(r"\x1b\[[0-9;]*m", "", text).strip().rpartition("WeightsUnpickler error:")[2].strip()
        received = received.partition("\n")[0] or type(error).__name__
    return DataError(
        "the file is not a checkpoint that can be read safely",
        where=where,
        received=received,
        expected=expected,
        remedy=remedy,
    )


def _state_dict(content: object, notes: list[str], where: str) -> Mapping[str, torch.Tensor]:
    """The weights of a checkpoint; says which, where it holds several."""
    found = list(_candidates(content, ""))
    if not found:
        raise DataError(
            "the file holds no state dict",
            where=where,
            received=f"{type(content).__name__} of {', '.join(map(str, list(content)[:8]))}"
            if isinstance(content, Mapping)
            else type(content).__name__,
            expected=f"tensors by name, or such a mapping under {', '.join(_WRAPPERS[:8])} …",
            remedy="save model.state_dict() of the model itself",
        )
    known = [(place, tensors) for place, tensors in found if all(part in _WRAPPERS for part in place)]
    known.sort(key=lambda item: [_WRAPPERS.index(part) for part in item[0]])
    if not known and len(found) > 1:
        raise DataError(
            "the file holds several state dicts",
            where=where,
            received=", ".join(".".join(place) for place, _ in found[:8]),
            expected=f"one, or one under {', '.join(_WRAPPERS[:8])} …",
            remedy="save the one that is meant alone: torch.save(torch.load(FILE)[NAME], 'weights.pth')",
        )
    place, tensors = (known or found)[0]
    aside = [".".join(other) for other, _ in found if other != place]
    if aside:
        notes.append(f"weights of {'.'.join(place) or 'the file itself'}; left aside: {', '.join(aside)}")
    return tensors


def _candidates(content: object, name: str, place: tuple[str, ...] = ()) -> Any:
    """(keys that lead to it, tensors by name) of each mapping to the depth of 3 that holds tensors by name."""
    if not isinstance(content, Mapping) or _OTHERS.search(name):
        return
    inner = [(str(key), value) for key, value in content.items() if isinstance(value, Mapping)]
    below = [item for key, value in inner if len(place) < 3 for item in _candidates(value, key, (*place, key))]
    tensors = {str(key): _tensor(value) for key, value in content.items()}
    own = {key: value for key, value in tensors.items() if value is not None}
    # beside wrapped weights, tensors such as a best accuracy are none
    if own and (not below or any(value.dim() > 1 for value in own.values())):
        yield place, own
    yield from below


def _tensor(value: object) -> torch.Tensor | None:
    """A tensor, or an array of NumPy as one; None for other values."""
    if isinstance(value, Array):
        value = value.value
        return None if value is None else torch.from_numpy(value.copy())
    return value if isinstance(value, torch.Tensor) else None
