"""PyTorch modules as graphs: the outputs are the module's own, and what training needs is kept."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cnnbench_torch.models import ModuleRunner, read  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from cnnbench.errors import SpecError  # noqa: E402
from cnnbench.execution.backends import load_backend  # noqa: E402
from cnnbench.execution.contract import ProgramOptions  # noqa: E402
from cnnbench.execution.own_forward import own_outputs  # noqa: E402
from cnnbench.execution.precision import precision  # noqa: E402
from cnnbench.numerics.subject import InProcessSubject  # noqa: E402
from cnnbench.spec.draws import draw_inputs  # noqa: E402
from cnnbench.spec.interchange.model_readers import GivenInputs  # noqa: E402

pytestmark = pytest.mark.torch
EXACT = ProgramOptions("reference", precision("float64"), "channels_first")


def read_and_compared(module: nn.Module, *shapes: tuple[int, ...], integers: bool = False):
    """The read model, after the reference has computed of its graph what the module computes."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
    found = read(module, GivenInputs(shapes, (integers,) * len(shapes)))
    batch = draw_inputs(found.graph, 0, 3)  # another batch than that of the export
    theirs = own_outputs(ModuleRunner(module, "eager", "float64", "cpu"), found, batch)
    ours = InProcessSubject(load_backend("numpy")).forward(found.graph, found.arrays, batch, EXACT).outputs
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=1e-10, atol=1e-10 * np.abs(array).max())
    return found


class Lambda(nn.Module):
    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, *inputs):
        return self.function(self, *inputs)


def masked(x):
    """A mask that is written part by part, as shifted windows have it."""
    mask = x.new_zeros((4, 4))
    mask[:2, 1:] = 3
    mask[2:, :1] = -1
    return x + mask.masked_fill(mask != 0, -100.0)


def uncast(x):
    with torch.autocast("cpu", enabled=False):
        one, other = x * 2, x + 1
    return one / other


def written_whole(x):
    y = x + 1
    y[:, 0:] += x
    y[:, :4].copy_(y * x)
    return y.transpose(1, 2) * 2


MEAN = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
MODULES = {
    "conv_same": (nn.Conv2d(3, 4, 4, padding="same"), (3, 7, 8)),
    "conv_reflect": (nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), (3, 7, 8)),
    "conv_grouped": (nn.Conv2d(4, 8, (3, 1), (2, 1), (1, 0), (2, 1), 2, False), (4, 9, 8)),
    "conv1d": (nn.Conv1d(3, 4, 3), (3, 9)),
    "conv3d": (nn.Conv3d(2, 3, 2), (2, 4, 4, 4)),
    "conv_transpose": (nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2), (4, 5, 5)),
    "batch_norm": (nn.BatchNorm2d(3, 1e-4), (3, 4, 4)),
    "batch_norm_no_affine": (nn.BatchNorm1d(3, affine=False), (3, 4)),
    "group_norm": (nn.GroupNorm(2, 4), (4, 3, 3)),
    "layer_norm": (nn.LayerNorm([3, 4]), (2, 3, 4)),
    "instance_norm": (nn.InstanceNorm2d(3, affine=True), (3, 4, 4)),
    "max_pool": (nn.MaxPool2d(3, 2, 1, ceil_mode=True), (2, 8, 8)),
    "avg_pool": (nn.AvgPool2d(3, 2, 1, True, False), (2, 8, 8)),
    "adaptive": (nn.AdaptiveAvgPool2d((3, 2)), (2, 7, 7)),
    "activations": (
        nn.Sequential(nn.ReLU6(), nn.LeakyReLU(0.2), nn.ELU(), nn.SiLU(), nn.Hardswish(), nn.Hardsigmoid(), nn.Mish()),
        (3, 4),
    ),
    "gelu": (nn.Sequential(nn.GELU(), nn.GELU("tanh"), nn.Softplus(), nn.PReLU(3), nn.Tanh()), (3, 4)),
    "weight_norm": (nn.utils.parametrizations.weight_norm(nn.Linear(4, 5)), (4,)),
    "lstm": (Lambda(lambda m, x: m.rnn(x)[0], rnn=nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True)), (5, 3)),
    "gru_last": (Lambda(lambda m, x: m.rnn(x)[1], rnn=nn.GRU(3, 4, batch_first=True)), (5, 3)),
    "attention": (
        Lambda(lambda m, x: m.mha(x, x, x, need_weights=False)[0], mha=nn.MultiheadAttention(8, 2, batch_first=True)),
        (5, 8),
    ),
    "upsample": (Lambda(lambda m, x: F.interpolate(x, scale_factor=2.0, mode="bicubic")), (2, 5, 5)),
    "nearest": (Lambda(lambda m, x: F.interpolate(x, size=(7, 9))), (2, 5, 5)),
    "pixel_shuffle": (nn.PixelShuffle(2), (8, 3, 3)),
    "slices": (Lambda(lambda m, x: torch.cat([x[:, :2, ::2], x[:, 1:, 1::2]], 1)), (3, 4, 4)),
    "shuffle": (Lambda(lambda m, x: x.view(x.size(0), 2, 3, 4, 4).transpose(1, 2).reshape(-1, 6, 4, 4)), (6, 4, 4)),
    "windows": (Lambda(lambda m, x: x.view(-1, 2, 2, 2, 2, 3).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, 3)), (4, 4, 3)),
    "arithmetic": (Lambda(lambda m, x: (1 - x) * 2 / (x.abs() + 1) - x.mean((2, 3), keepdim=True) ** 2), (3, 4, 4)),
    "in_place": (Lambda(lambda m, x: F.relu_(y := x + 0.5).mul_(2).add_(y)), (3, 4)),
    "einsum": (Lambda(lambda m, x: torch.einsum("n h i d, n h j d -> n j i h", x, x + 1)), (2, 3, 4)),
    "einsum_joined": (
        Lambda(lambda m, x: torch.einsum("byhwc,hkc->byhwk", x, torch.arange(24.0).view(3, 4, 2).to(x.dtype))),
        (2, 3, 5, 2),
    ),
    "einsum_over_two": (Lambda(lambda m, x: torch.einsum("nijk,nljk->nil", x, x + 1)), (2, 3, 4)),
    "einsum_outer": (Lambda(lambda m, x: torch.einsum("ni,nj->nij", x, x + 1)), (3,)),
    "fold": (nn.Fold((5, 6), (3, 2), (1, 1), (1, 0), (2, 1)), (12, 15)),
    "written_whole": (Lambda(lambda m, x: written_whole(x * 2)), (4, 3)),
    "images_inside": (
        Lambda(lambda m, x: (x.transpose(0, 1).reshape(-1, 6) * 2).view(4, -1, 6).add(1).transpose(0, 1)),
        (4, 6),
    ),
    "images_inside_halves": (
        Lambda(
            lambda m, x: x.transpose(0, 1).reshape(-1, 6).exp().view(2, -1, 6).view(2, 2, -1, 6).permute(2, 0, 1, 3)
        ),
        (4, 6),
    ),
    "extreme_along": (Lambda(lambda m, x: x.max(-1)[0] - x.min(1, keepdim=True).values.squeeze(1)), (4, 4)),
    "mask": (Lambda(lambda m, x: masked(x)), (4, 4)),
    "crop": (Lambda(lambda m, x: F.pad(x, (-1, 2, 1, -2))), (2, 5, 5)),
    "pad_infinite": (Lambda(lambda m, x: F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 2)), (2, 5, 5)),
    "im2col": (nn.Unfold((3, 2), dilation=(2, 1), padding=(1, 0), stride=(1, 2)), (2, 7, 6)),
    "sliding": (Lambda(lambda m, x: x.unfold(2, 3, 2).unfold(3, 2, 1).flatten(1)), (2, 8, 4)),
    "sliding_last": (Lambda(lambda m, x: x.unfold(-1, 3, 1)), (2, 8)),
    "interleaved": (Lambda(lambda m, x: x.repeat_interleave(3, 1)), (2, 3)),
    "interleaved_images": (Lambda(lambda m, x: x.repeat_interleave(3, 0).view(-1, 3, 2)), (2,)),
    "addcmul": (Lambda(lambda m, x: torch.addcmul(x, x.relu(), x[:, :1], value=0.5)), (2, 3)),
    "view_as": (Lambda(lambda m, x: x.flatten(1).exp().view_as(x) + x.flatten(1).reshape_as(x)), (2, 3)),
    "stack_first": (Lambda(lambda m, x: torch.stack([x, x.relu()]).mean(0)), (2, 3)),
    "scale_alone": (nn.GroupNorm(2, 4, bias=False), (4, 3, 3)),
    "shift_alone": (Lambda(lambda m, x: F.batch_norm(x, MEAN, MEAN + 2, None, MEAN)), (3, 4)),
    "constants": (
        Lambda(lambda m, x: x * m.c(torch.arange(4.0).view(1, 1, 4).sin().to(x.dtype)), c=nn.Conv1d(1, 2, 1)),
        (2, 4),
    ),
    "autocast": (Lambda(lambda m, x: x + uncast(x.relu())), (2, 4)),
    "heads": (Lambda(lambda m, x: {"a": x + 1, "b": x.flatten(1)}), (2, 3)),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_read_as_what_it_computes(name):
    module, shape = MODULES[name]
    read_and_compared(module, shape)


def test_tokens_are_integers():
    found = read_and_compared(nn.Embedding(7, 4), (5,), integers=True)
    assert found.graph.inputs[0].dtype == "int"


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, 1e-3, 0.03), nn.ReLU(inplace=True))
        self.shared = nn.Conv2d(4, 4, 3, padding=1)
        self.drop = nn.Dropout(0.3)
        self.off = nn.Dropout(0.0)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        x = self.stem(x)
        x = self.shared(self.shared(x)).contiguous().view(x.shape)
        return self.fc(self.drop(self.off(F.adaptive_avg_pool2d(x, 1).view(x.size(0), -1))))


def test_paths_are_names_and_what_training_needs_is_kept():
    found = read_and_compared(Net(), (3, 6, 6))
    nodes = {node.name: node for node in found.graph.nodes}
    assert [*nodes] == [
        "stem.0",
        "stem.1",
        "stem.2",
        "shared",
        "shared_1",
        "adaptive_avg_pool2d",
        "view",
        "drop",
        "fc",
    ]
    assert nodes["stem.1"].layer.momentum == 0.03
    assert nodes["stem.1"].layer.running_variance == "unbiased"
    assert nodes["drop"].layer.p == 0.3
    assert nodes["shared_1"].weights_of == "shared"
    assert {"stem.0.weight", "stem.1.running_var", "shared.weight", "fc.bias"} <= found.arrays.keys()


def halved(x):
    y = x.relu()
    y[:, :1].mul_(0.5)
    return y


def in_turn(x):
    y = x * 2
    first = y.relu_()
    first.add_(1)
    return y.flatten(1).tanh() + first.flatten(1)


def attended(x, **how):
    return F.scaled_dot_product_attention(x, x, x, **how)


LOWER = torch.ones(5, 5).tril().bool()


def in_heads(x):
    """Queries, keys and values of one product, each of two heads, before the batch: (3, N, heads, length, width)."""
    return x.reshape(x.shape[0], 4, 3, 2, 3).permute(2, 0, 3, 1, 4)


def fused(x):
    """Attention as vision transformers write it."""
    q, k, v = in_heads(x).unbind(0)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape[0], 4, 6)


def apart(x):
    """The same parts by other calls, one of them with its first axis kept."""
    (q,), rest = in_heads(x)[:1], in_heads(x)[1:]
    k, v = rest.chunk(2)
    return q * k.squeeze(0) - v[0] + in_heads(x).split(2)[1][0]


def written_part(x):
    x[:, 1:] += 1
    return x * 2


OTHER_FUNCTIONS = {
    "parts_of_the_batch": (Lambda(lambda self, x: torch.cat(x.chunk(2), 1)), (3, 4)),
    "images_one_by_one": (Lambda(lambda self, x: torch.stack([item * 2 for item in x.unbind()])), (3, 4)),
    "images_after_an_axis": (Lambda(lambda self, x: torch.stack(x.transpose(0, 1).unbind(1))), (3, 4)),
    "softplus_threshold": (nn.Softplus(threshold=1), (3, 4)),
    "integers": (Lambda(lambda self, x: x.to(torch.int32).to(x.dtype)), (3, 4)),
    "booleans": (Lambda(lambda self, x: x.bool().to(x.dtype)), (3, 4)),
    "dropout_at_inference": (Lambda(lambda self, x: F.dropout(x, 0.5, True)), (3, 4)),
    "channel_dropout_at_inference": (Lambda(lambda self, x: F.dropout2d(x, 0.5, True)), (3, 4, 4)),
    "attention_dropout": (Lambda(lambda self, x: attended(x, dropout_p=0.5)), (2, 5, 8)),
    "deviation_of_all": (Lambda(lambda self, x: x / x.std()), (3, 4)),
    "variance_of_all": (Lambda(lambda self, x: x / x.var()), (3, 4)),
    "mean_over_moved_images": (Lambda(lambda self, x: x.transpose(0, 1).mean(1)), (3, 4)),
    "windows_over_images": (Lambda(lambda self, x: x.unfold(0, 2, 1).mean(-1)), (3, 4)),
    "crop_of_a_mirror": (Lambda(lambda self, x: F.pad(x, (-1, 2), mode="reflect")), (3, 4)),
    "norm_of_all": (Lambda(lambda self, x: x / x.norm()), (3, 4)),
    "written_part": (Lambda(lambda self, x: written_part(x + 1)), (3, 4)),
    "written_constant": (Lambda(lambda self, x: x + (x * 1).copy_(torch.ones(3, 4))), (3, 4)),
    "einsum_summed_alone": (Lambda(lambda self, x: torch.einsum("nij,nkj->nk", x, x)), (3, 4)),
    "einsum_diagonal": (Lambda(lambda self, x: torch.einsum("nii,nij->nij", x, x)), (3, 3)),
    "place_of_the_extreme": (Lambda(lambda self, x: x.max(1)[1].to(x.dtype)), (3, 4)),
    "written_view": (Lambda(lambda self, x: halved(x)), (3, 4)),
    "drawn_numbers": (Lambda(lambda self, x: x + torch.rand(1)), (3, 4)),
    "projected_lstm": (Lambda(lambda self, x: self.rnn(x)[0], rnn=nn.LSTM(8, 4, proj_size=2)), (3, 8)),
}


@pytest.mark.parametrize("name", OTHER_FUNCTIONS)
def test_what_would_be_read_as_another_function_is_refused(name):
    module, shape = OTHER_FUNCTIONS[name]
    with pytest.raises(SpecError, match=r"are not read|cannot follow the module"):
        read(module, GivenInputs((shape,)))


RIGHT = {
    "fused_attention": (Lambda(lambda self, x: fused(x)), (4, 18)),
    "parts_of_the_first_axis": (Lambda(lambda self, x: apart(x)), (4, 18)),
    "boolean_mask": (Lambda(lambda self, x: attended(x, attn_mask=LOWER)), (2, 5, 8)),
    "alpha_of_0": (Lambda(lambda self, x: torch.add(x, x.relu(), alpha=0)), (3, 4)),
    "in_place_in_turn": (Lambda(lambda self, x: in_turn(x)), (3, 4)),
    "limits_as_tensors": (Lambda(lambda self, x: x.clamp(torch.tensor(0.1), torch.tensor(0.5))), (3, 4)),
    "repeated": (Lambda(lambda self, x: x.repeat(1, 2, 1)), (3, 4)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_forms_that_are_easily_misread_are_read_as_what_they_compute(name):
    module, shape = RIGHT[name]
    read_and_compared(module, shape)


def test_roundings_inside_a_module_are_noted():
    found = read(Lambda(lambda self, x: x.half().to(x.dtype)), GivenInputs(((3, 4),)))
    assert "rounded to torch.float16" in " ".join(found.notes)


def test_a_part_under_autocast_is_noted():
    class Cast(nn.Module):
        def forward(self, x):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return x * 2

    assert "autocast to torch.bfloat16" in " ".join(read(Cast(), GivenInputs(((3, 4),))).notes)


def test_what_is_not_read_is_named_by_its_module():
    class Odd(nn.Module):
        def forward(self, x):
            return torch.cumsum(x, 1)

    model = nn.Sequential(nn.Conv2d(3, 4, 3), Odd(), nn.ReLU(), Odd())
    with pytest.raises(SpecError) as error:
        read(model, GivenInputs(((3, 5, 5),)))
    assert "1: aten.cumsum.default" in str(error.value.received)
    assert "3: aten.cumsum.default" in str(error.value.received)


def test_a_branch_that_depends_on_values_is_refused_with_the_reason():
    with pytest.raises(SpecError, match=r"torch\.export cannot follow the module"):
        read(Lambda(lambda m, x: x + 1 if x.sum() > 0 else x), GivenInputs(((3,),)))


def test_an_exported_file_is_read_as_the_module(tmp_path):
    from cnnbench_torch.models import load

    module = Net().eval()
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(module, (torch.zeros(2, 3, 6, 6),)), path)
    saved, live = read(load(path), GivenInputs()), read(module, GivenInputs(((3, 6, 6),)))
    assert saved.graph.digest == live.graph.digest
    assert all(np.array_equal(saved.arrays[name], array) for name, array in live.arrays.items())


@pytest.mark.parametrize("name", ["images_inside", "images_inside_halves", "windows", "shuffle", "interleaved_images"])
def test_the_images_of_an_exported_file_are_found_among_axes_of_even_sizes(tmp_path, name):
    from cnnbench_torch.models import load

    module, shape = MODULES[name]
    torch.export.save(torch.export.export(module, (torch.zeros(2, *shape),)), tmp_path / "net.pt2")
    saved = read(load(tmp_path / "net.pt2"), GivenInputs())
    assert saved.graph.digest == read(module, GivenInputs((shape,))).graph.digest
