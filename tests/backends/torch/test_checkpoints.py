"""PyTorch checkpoints as people have them: wrapped, in archives, in shards, with tensors that are no plain arrays."""

from __future__ import annotations

import argparse
import io
import json
import pathlib
import tarfile
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

from cnnbench.errors import DataError
from cnnbench.registry import read_weights
from cnnbench.spec import layers as L
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.interchange.weight_files import fit, match

torch = pytest.importorskip("torch", reason="needs torch")
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:.*(beta|deprecated|prototype).*")]


def small() -> Graph:
    b = Builder("small")
    x = b.add("conv1", L.Conv(out_channels=4, kernel_size=3, padding=1), b.input("image", (4, 6, 6)))
    x = b.add("conv2", L.Conv(out_channels=4, kernel_size=3, padding=1), b.add("relu", L.ReLU(), x))
    x = b.add("pool", L.GlobalAvgPool(), b.add("bn", L.BatchNorm(), x))
    return b.build(b.add("fc", L.Linear(out_features=5), x))


class Module(torch.nn.Module):
    """The same network; its convolutions are made in another order than they are used."""

    def __init__(self) -> None:
        super().__init__()
        self.conv2 = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.conv1 = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.bn = torch.nn.BatchNorm2d(4)
        self.fc = torch.nn.Linear(4, 5)
        generator = torch.Generator().manual_seed(0)
        for name, value in self.state_dict().items():
            if value.is_floating_point():
                drawn = torch.randn(value.shape, generator=generator)
                value.copy_(drawn.abs() + 0.5 if name.endswith("var") else drawn)

    def forward(self, x: Any) -> Any:
        x = self.bn(self.conv2(torch.relu(self.conv1(x))))
        return self.fc(x.mean((2, 3)))


@pytest.fixture(scope="module")
def module() -> Any:
    return Module().eval()


def predicts_as(module: Any, arrays: Any) -> None:
    import cnnbench

    image = np.random.default_rng(0).normal(size=(2, 4, 6, 6)).astype(np.float32)
    found = cnnbench.predict(cnnbench.Model(small(), arrays), image, backend="numpy").output
    with torch.no_grad():
        expected = module(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def prefixed(module: Any, prefix: str) -> Any:
    return OrderedDict((prefix + name, value) for name, value in module.state_dict().items())


def infixed(module: Any, infix: str) -> Any:
    return OrderedDict((name.replace(".", f".{infix}", 1), value) for name, value in module.state_dict().items())


def averaged(module: Any) -> Any:
    return torch.optim.swa_utils.AveragedModel(module).state_dict()


WRAPPED = {
    "plain": lambda m: m.state_dict(),
    **{f"prefix {p}": lambda m, p=p: prefixed(m, p) for p in ("module.", "net.", "model.", "_orig_mod.", "encoder.")},
    "prefixes": lambda m: prefixed(m, "module._orig_mod.model.backbone."),
    "infix of torch.compile": lambda m: infixed(m, "_orig_mod."),
    "infix of DataParallel": lambda m: infixed(m, "module."),
    "averaged model": averaged,
    "ImageNet example": lambda m: {
        "epoch": 3,
        "arch": "small",
        "state_dict": prefixed(m, "module."),
        "best_acc1": torch.tensor(70.0),
        "optimizer": torch.optim.Adam(m.parameters()).state_dict(),
    },
    "pytorch-cifar": lambda m: {"net": prefixed(m, "module."), "acc": 93.1, "epoch": 3},
    "timm's average": lambda m: {"epoch": 1, "arch": "x", "state_dict_ema": m.state_dict(), "version": 2},
    "basicsr": lambda m: {"params_ema": m.state_dict()},
    "Lightning": lambda m: {
        "epoch": 1,
        "pytorch-lightning_version": "2.0.0",
        "state_dict": {**prefixed(m, "model."), "criterion.weight": torch.ones(5)},
        "hyper_parameters": {"lr": 0.1},
        "callbacks": {},
        "optimizer_states": [],
    },
    "several levels": lambda m: {"checkpoint": {"model": prefixed(m, "module.")}},
    "options and NumPy's scalars": lambda m: {
        "model": m.state_dict(),
        "args": argparse.Namespace(lr=0.1, data=pathlib.Path("data")),
        "best": np.float64(0.7),
        "steps": np.int64(7),
        "curve": np.arange(3.0),
    },
    "NumPy's arrays": lambda m: {"state_dict": {name: value.numpy() for name, value in m.state_dict().items()}},
    "parameters": lambda m: {name: torch.nn.Parameter(v) for name, v in m.state_dict().items() if v.dim()},
    "beside numbers": lambda m: {**m.state_dict(), "epoch": 4},
    "integer buffers": lambda m: {**m.state_dict(), "anchors": torch.arange(4), "mask": torch.ones(2).bool()},
}


@pytest.mark.parametrize("how", WRAPPED)
@pytest.mark.parametrize("suffix", [".pth", ".bin"])
def test_the_weights_are_found_by_name_under_every_wrapper(how, suffix, module, tmp_path):
    path = tmp_path / f"model{suffix}"
    torch.save(WRAPPED[how](module), path)
    predicts_as(module, match(small(), read_weights(path), where=str(path)))


@pytest.mark.parametrize("name", ["model.pth.tar", "model.ckpt", "model.PT", "model.bin"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_under_another_name(name, zipped, module, tmp_path):
    torch.save(module.state_dict(), tmp_path / name, _use_new_zipfile_serialization=zipped)
    predicts_as(module, match(small(), read_weights(tmp_path / name)))


def archive(path: pathlib.Path, members: dict[str, Any]) -> None:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as file:
        for name, content in members.items():
            held = io.BytesIO()
            torch.save(content, held)
            info = tarfile.TarInfo(name)
            info.size = held.tell()
            held.seek(0)
            file.addfile(info, held)


@pytest.mark.parametrize("name", ["model.pth.tar", "model.tar", "model.tar.gz", "model.tgz"])
def test_a_checkpoint_in_a_tar_archive(name, module, tmp_path):
    archive(tmp_path / name, {"run/model_best.pth": {"state_dict": module.state_dict()}, "run/log.txt": 1})
    predicts_as(module, match(small(), read_weights(tmp_path / name)))


def test_an_archive_of_several_checkpoints_names_them(module, tmp_path):
    archive(tmp_path / "both.tar", {"a.pth": {}, "b.pth": {}})
    with pytest.raises(DataError, match="does not hold one checkpoint") as raised:
        read_weights(tmp_path / "both.tar")
    assert raised.value.received == "a.pth, b.pth"
    archive(tmp_path / "none.tar", {"notes.txt": 1})
    with pytest.raises(DataError, match=r"notes\.txt"):
        read_weights(tmp_path / "none.tar")


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_weights_in_shards_are_read_through_their_index(suffix, module, tmp_path):
    state = list(module.state_dict().items())
    places = {}
    for number, part in enumerate((state[:4], state[4:]), start=1):
        file = f"model-{number:05}-of-00002{suffix}"
        if suffix == ".bin":
            torch.save(dict(part), tmp_path / file)
        else:
            from safetensors.torch import save_file

            save_file(dict(part), tmp_path / file)
        places |= {name: file for name, _ in part}
    index = tmp_path / f"model{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    predicts_as(module, match(small(), read_weights(index)))
    with pytest.raises(DataError, match=r"import their index") as raised:
        match(small(), read_weights(tmp_path / file), where=str(tmp_path / file))
    assert "missing conv2.weight" in str(raised.value)
    index.write_text(json.dumps({"weight_map": {**places, "fc.scale": file}}))
    with pytest.raises(DataError, match=rf"fc\.scale in {file}"):
        read_weights(index)
    (tmp_path / file).unlink()
    with pytest.raises(DataError, match=rf"{file}: the weights file does not exist"):
        read_weights(index)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": "../b.bin"}}'])
def test_an_index_that_is_none_is_refused(content, tmp_path):
    (tmp_path / "model.bin.index.json").write_text(content)
    with pytest.raises(DataError, match="index"):
        read_weights(tmp_path / "model.bin.index.json")


def saved(tensor: Any, path: pathlib.Path) -> pathlib.Path:
    torch.save({"fc.weight": tensor}, path)
    return path


VALUES = torch.tensor([[0.0, 1.5, -2.0], [0.25, 0.0, 448.0]])
EXACT = {
    "sparse": lambda: (VALUES.to_sparse(), VALUES),
    "csr": lambda: (VALUES.to_sparse_csr(), VALUES),
    "csc": lambda: (VALUES.to_sparse_csc(), VALUES),
    "half, sparse": lambda: (VALUES.half().to_sparse(), VALUES),
    "transposed view": lambda: (VALUES.T, VALUES.T),
    **{
        kind: lambda kind=kind: (VALUES.to(getattr(torch, kind)), VALUES.to(getattr(torch, kind)).float())
        for kind in ("bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
    },
}
QUANTISED = {
    "per tensor": lambda: torch.quantize_per_tensor(VALUES, 0.25, 3, torch.qint8),
    "per channel": lambda: torch.quantize_per_channel(
        VALUES, torch.tensor([0.5, 4.0]), torch.tensor([0, 1]), 0, torch.qint8
    ),
    "unsigned": lambda: torch.quantize_per_tensor(VALUES, 2.0, 3, torch.quint8),
}


@pytest.mark.parametrize("kind", EXACT)
def test_other_layouts_and_types_keep_every_value(kind, tmp_path):
    tensor, expected = EXACT[kind]()
    found = read_weights(saved(tensor, tmp_path / "w.pth"))["fc.weight"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected.numpy())


@pytest.mark.parametrize("kind", QUANTISED)
def test_quantised_tensors_are_dequantised_and_said(kind, tmp_path):
    tensor = QUANTISED[kind]()
    arrays = read_weights(saved(tensor, tmp_path / "w.pth"))
    np.testing.assert_array_equal(arrays["fc.weight"], tensor.dequantize().numpy())
    assert "fc.weight is quantised" in arrays.notes[0]


NO_ARRAYS = {
    "complex": (lambda: torch.ones(2, 2, dtype=torch.complex64), "complex"),
    "meta": (lambda: torch.empty(2, 2, device="meta"), "without values"),
    "nested": (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "nested"),
}


@pytest.mark.parametrize("kind", NO_ARRAYS)
def test_what_is_no_array_is_refused_by_its_name(kind, tmp_path):
    make, reason = NO_ARRAYS[kind]
    with pytest.raises(DataError, match=rf"w\.pth: fc\.weight: .*\n.*{reason}") as raised:
        read_weights(saved(make(), tmp_path / "w.pth"))
    assert raised.value.remedy


def test_eight_bits_in_safetensors_are_as_pytorch_widens_them(tmp_path):
    from safetensors.torch import save_file

    every = torch.arange(256, dtype=torch.int32).to(torch.uint8)
    for kind in ("float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "bfloat16"):
        tensor = every.view(getattr(torch, kind))
        save_file({"w": tensor}, tmp_path / "w.safetensors")
        np.testing.assert_array_equal(read_weights(tmp_path / "w.safetensors")["w"], tensor.float().numpy(), kind)


def test_a_whole_model_is_refused_with_its_class_and_the_remedy(module, tmp_path):
    torch.save(module, tmp_path / "model.pt")
    with pytest.raises(DataError, match="Module, whose code is not run") as raised:
        read_weights(tmp_path / "model.pt")
    assert "state_dict()" in raised.value.remedy
    assert "\x1b" not in str(raised.value)


def test_other_files_by_the_name_of_a_checkpoint_say_what_they_are(module, tmp_path):
    from safetensors.torch import save_file

    torch.jit.save(torch.jit.trace(module, torch.zeros(1, 4, 6, 6)), str(tmp_path / "script.pt"))
    save_file(dict(module.state_dict()), tmp_path / "tensors.bin")
    (tmp_path / "keras.ckpt").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    for name, reason, remedy in (
        ("script.pt", "TorchScript", "torch.jit.load"),
        ("tensors.bin", "safetensors", "rename"),
        ("keras.ckpt", "HDF5", "rename"),
    ):
        with pytest.raises(DataError, match=reason) as raised:
            read_weights(tmp_path / name)
        assert remedy in raised.value.remedy


def test_a_tensor_with_other_bytes_than_were_written_is_refused(module, tmp_path):
    """PyTorch reads such a file without a word."""
    torch.save(module.state_dict(), tmp_path / "w.pth")
    content = bytearray((tmp_path / "w.pth").read_bytes())
    at = content.index(module.conv2.weight.detach().numpy().tobytes())
    content[at + 3] ^= 1
    (tmp_path / "w.pth").write_bytes(content)
    assert not torch.equal(torch.load(tmp_path / "w.pth")["conv2.weight"], module.conv2.weight)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "w.pth", "w.pth")
    for name in ("w.pth", "a.tar"):
        with pytest.raises(DataError, match="the file is damaged") as raised:
            read_weights(tmp_path / name)
        assert "checksum of w/data/" in str(raised.value.received)
        assert "w.pth" in raised.value.where


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda whole: b"", "an empty file"),
        (lambda whole: b"version https://git-lfs.github.com", "begins with b'version '"),
        (lambda whole: whole[:-10], "an archive without its end"),
        (lambda whole: whole[: len(whole) // 2], "an archive without its end"),
        (lambda whole: b"PK\x05\x06" + bytes(18), "an empty archive"),
    ],
    ids=["empty", "text", "cut", "half", "nothing"],
)
def test_a_file_that_is_cut_short_or_none_is_named(module, tmp_path, content, said):
    torch.save(module.state_dict(), tmp_path / "whole.pth")
    (tmp_path / "w.pth").write_bytes(content((tmp_path / "whole.pth").read_bytes()))
    with pytest.raises(DataError) as raised:
        read_weights(tmp_path / "w.pth")
    assert said in str(raised.value.received)


def _weight_norm(name, dim):
    return lambda module: torch.nn.utils.weight_norm(getattr(module, name), dim=dim)


def _weight_norm_of_today(module):
    torch.nn.utils.parametrizations.weight_norm(module.conv2)


def _pruned(module):
    import torch.nn.utils.prune  # which torch does not import by itself

    torch.nn.utils.prune.random_unstructured(module.conv1, "weight", 0.5)
    torch.nn.utils.prune.l1_unstructured(module.fc, "bias", 2)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize(
    ("store", "names"),
    [
        (_weight_norm("conv1", 0), "conv1.weight"),
        (_weight_norm("conv1", 1), "conv1.weight"),
        (_weight_norm("fc", None), "fc.weight"),
        (_weight_norm_of_today, "conv2.weight"),
        (_pruned, "conv1.weight, fc.bias"),
    ],
    ids=["weight_norm", "of_columns", "of_the_whole", "of_today", "pruned"],
)
def test_a_weight_that_is_stored_in_parts_is_put_together(store, names, prefix, tmp_path):
    module = Module().eval()
    store(module)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if name.endswith(("_g", "original0")):
                value.mul_(1.75)
    torch.save({prefix + name: value for name, value in module.state_dict().items()}, tmp_path / "w.pth")
    fitted = fit(small(), read_weights(tmp_path / "w.pth"))
    predicts_as(module, fitted.arrays)
    stored = ", ".join(prefix + name for name in names.split(", "))
    assert f"put together from a direction and its length, or a weight and its mask: {stored}" in fitted.notes


@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
@pytest.mark.parametrize("store", [torch.nn.utils.spectral_norm, torch.nn.utils.parametrizations.spectral_norm])
def test_a_spectral_norm_is_refused_with_the_remedy(store, tmp_path):
    module = Module().eval()
    store(module.conv1)
    torch.save(module.state_dict(), tmp_path / "w.pth")
    with pytest.raises(DataError, match="a parametrization that is not read") as raised:
        fit(small(), read_weights(tmp_path / "w.pth"))
    assert "remove_spectral_norm" in raised.value.remedy
    assert "conv1.weight_orig" in str(raised.value.received)


def test_a_file_of_the_first_format_is_read(module, tmp_path):
    torch.save(module.state_dict(), tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    predicts_as(module, fit(small(), read_weights(tmp_path / "w.pth")).arrays)


def test_of_several_state_dicts_one_is_taken_aloud_or_none(module, tmp_path):
    other = {name: value + 1 for name, value in module.state_dict().items()}
    torch.save({"state_dict": module.state_dict(), "state_dict_ema": other}, tmp_path / "both.pth")
    fitted = fit(small(), read_weights(tmp_path / "both.pth"))
    predicts_as(module, fitted.arrays)
    assert fitted.notes == ("weights of state_dict; left aside: state_dict_ema",)
    torch.save({"netG": module.state_dict(), "netD": other}, tmp_path / "two.pth")
    with pytest.raises(DataError, match="netG, netD"):
        read_weights(tmp_path / "two.pth")
