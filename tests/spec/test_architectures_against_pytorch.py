"""The networks' structure, against the same networks written as plain PyTorch modules by their sources."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.registry import build
from cnnbench.spec.architectures.lenet import C3_CONNECTIONS
from cnnbench.spec.weights import initialize, split_state

torch = pytest.importorskip("torch", reason="PyTorch's modules are the oracle here")
pytestmark = pytest.mark.torch

nn = torch.nn
functional = torch.nn.functional


class Block(nn.Module):
    """torchvision's BasicBlock and Bottleneck in one; ``v1`` puts the stride into the first 1x1."""

    def __init__(self, channels: int, width: int, stride: int, *, bottleneck: bool, v1: bool) -> None:
        super().__init__()
        out = width * 4 if bottleneck else width
        if bottleneck:
            first, second = (stride, 1) if v1 else (1, stride)
            self.conv1 = nn.Conv2d(channels, width, 1, first, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, second, 1, bias=False)
            self.conv3 = nn.Conv2d(width, out, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(out)
        else:
            self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.bottleneck = bottleneck
        self.downsample = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.bottleneck:
            y = self.bn3(self.conv3(torch.relu(y)))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, blocks: tuple[int, ...], *, bottleneck: bool, v1: bool = False) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        channels = 64
        for number, (count, width) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), start=1):
            stage = []
            for index in range(count):
                stride = 2 if number > 1 and index == 0 else 1
                stage.append(Block(channels, width, stride, bottleneck=bottleneck, v1=v1))
                channels = width * 4 if bottleneck else width
            setattr(self, f"layer{number}", nn.Sequential(*stage))
        self.fc = nn.Linear(channels, 1000)

    def forward(self, x):
        x = functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class SmallBlock(nn.Module):
    """A block for 32x32 images; its shortcut has no weights (option A) or does not exist."""

    def __init__(self, channels: int, width: int, stride: int, *, residual: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.residual, self.stride, self.added = residual, stride, width - channels

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.residual:
            y = y + functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))
        return torch.relu(y)


class SmallResNet(nn.Module):
    def __init__(self, n: int, *, residual: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, n, 1, residual)
        self.layer2 = self._stage(16, 32, n, 2, residual)
        self.layer3 = self._stage(32, 64, n, 2, residual)
        self.fc = nn.Linear(64, 10)

    @staticmethod
    def _stage(channels, width, n, stride, residual):
        first = SmallBlock(channels, width, stride, residual=residual)
        return nn.Sequential(first, *(SmallBlock(width, width, 1, residual=residual) for _ in range(n - 1)))

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class LeNet5(nn.Module):
    """The network of PyTorch's tutorial on neural networks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = functional.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x.flatten(1))))))


class CaffeLeNet(nn.Module):
    """lenet.prototxt of Caffe's MNIST example."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 20, 5), nn.Conv2d(20, 50, 5)
        self.ip1, self.ip2 = nn.Linear(800, 500), nn.Linear(500, 10)

    def forward(self, x):
        x = functional.max_pool2d(self.conv1(x), 2, ceil_mode=True)
        x = functional.max_pool2d(self.conv2(x), 2, ceil_mode=True)
        return self.ip2(torch.relu(self.ip1(x.flatten(1))))


NETWORKS = {
    "resnet18": (lambda: ResNet((2, 2, 2, 2), bottleneck=False), (3, 64, 64)),
    "resnet50": (lambda: ResNet((3, 4, 6, 3), bottleneck=True), (3, 64, 64)),
    "resnet50_v1": (lambda: ResNet((3, 4, 6, 3), bottleneck=True, v1=True), (3, 64, 64)),
    "resnet20": (lambda: SmallResNet(3, residual=True), (3, 32, 32)),
    "plain20": (lambda: SmallResNet(3, residual=False), (3, 32, 32)),
    "lenet5": (LeNet5, (1, 32, 32)),
    "lenet_20_50_500": (CaffeLeNet, (1, 28, 28)),
}


def material(name: str, image: tuple[int, ...]):
    """The graph, arrays in float64 with statistics that are not those of a fresh network, and two images."""
    graph = build(name, image=image)
    random = np.random.default_rng(0)
    arrays = {key: array.astype(np.float64) for key, array in initialize(graph, 0).items()}
    for key in arrays:
        if key.endswith("running_mean"):
            arrays[key] = random.normal(0.0, 0.1, arrays[key].shape)
        if key.endswith("running_var"):
            arrays[key] = random.uniform(0.5, 1.5, arrays[key].shape)
    return graph, arrays, random.normal(size=(2, *image))


def logits(graph, arrays, images):
    backend = load_backend("numpy")
    backend.configure(ProcessSettings(None, "cpu"))
    program = backend.compile_forward(graph, ProgramOptions(mode="fast", precision=precision("float64")))
    program.load(*split_state(graph, arrays))
    return program.download(program.run(program.upload({"image": images}))).outputs["logits"]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_the_one_that_its_source_describes(name):
    make, image = NETWORKS[name]
    graph, arrays, images = material(name, image)
    module = make().double().eval()
    state = {key: torch.from_numpy(array) for key, array in arrays.items()}
    missing, unexpected = module.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(key.endswith("num_batches_tracked") for key in missing)
    with torch.no_grad():
        expected = module(torch.from_numpy(images)).numpy()
    found = logits(graph, arrays, images)
    assert np.abs(found - expected).max() <= 1e-12 * np.abs(expected).max()


def test_lenet5_1998_is_the_one_of_section_ii_b():
    """Table I as a mask on a full convolution, sums of 2x2 times a coefficient, 1.7159 tanh(2/3 a), distances."""
    graph, arrays, images = material("lenet5_1998", (1, 32, 32))
    weight = {key: torch.from_numpy(array) for key, array in arrays.items()}

    def squash(x):
        return 1.7159 * torch.tanh(2 / 3 * x)

    def subsample(x, name):
        scale, bias = (weight[f"{name}.affine.{part}"].reshape(1, -1, 1, 1) for part in ("weight", "bias"))
        return squash(4 * functional.avg_pool2d(x, 2) * scale + bias)

    dense, used = torch.zeros(16, 6, 5, 5, dtype=torch.float64), 0
    for output in range(16):
        for seen in range(6):
            if C3_CONNECTIONS[seen].split()[output] == "X":
                dense[output, seen] = weight["c3.weight"][used]
                used += 1
    x = subsample(squash(functional.conv2d(torch.from_numpy(images), weight["c1.weight"], weight["c1.bias"])), "s2")
    x = subsample(squash(functional.conv2d(x, dense, weight["c3.bias"])), "s4")
    x = squash(functional.conv2d(x, weight["c5.weight"], weight["c5.bias"])).flatten(1)
    x = squash(functional.linear(x, weight["f6.weight"], weight["f6.bias"]))
    distances = torch.cdist(x, weight["output.weight"]) ** 2
    found = logits(graph, arrays, images)
    assert used == 60
    assert math.isclose(found.max(), -distances.min().item(), rel_tol=1e-12)
    assert np.abs(found + distances.numpy()).max() <= 1e-12 * distances.max().item()
