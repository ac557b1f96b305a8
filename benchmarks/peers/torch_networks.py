"""The benchmark's networks in PyTorch's own idiom; parameters have the names of cnnbench's weights, which load so."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def unit(inputs: int, outputs: int, size: int, activation: Any, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution, its norm and an activation."""
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), *([activation(inplace=True)] if activation else []))


class Basic(nn.Module):
    """ResNet's block of two 3x3 convolutions."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, padded: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.missing = stride, width - inputs
        self.downsample = None if padded else shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        if self.downsample is not None:
            x = self.downsample(x)
        elif self.stride > 1:
            x = functional.pad(x[..., :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.missing))
        return functional.relu(y.add_(x), inplace=True)


class Bottleneck(nn.Module):
    """ResNet's block of 1x1, 3x3 and 1x1."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = shortcut(inputs, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = functional.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return functional.relu(y.add_(x if self.downsample is None else self.downsample(x)), inplace=True)


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """The projection of a shortcut whose shape changes."""
    if inputs == outputs and stride == 1:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """For ImageNet: 18 layers of ``Basic``, 50 of ``Bottleneck``."""

    def __init__(self, block: Any, depths: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        channels, stages = 64, []
        for number, depth in enumerate(depths):
            width, blocks = 64 * 2**number, []
            for i in range(depth):
                blocks.append(block(channels, width, 2 if number and not i else 1))
                channels = block.expansion * width
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(channels, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x)), inplace=True), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class ResNet20(nn.Module):
    """For 32x32 images, with padded shortcuts."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        channels, stages = 16, []
        for width in (16, 32, 64):
            blocks = []
            for i in range(3):
                blocks.append(Basic(channels, width, 2 if width > 16 and not i else 1, padded=True))
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3 = stages
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class VGG16(nn.Module):
    """Configuration D, without batch norms."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(depth):
                layers += [nn.Conv2d(channels, width, 3, 1, 1), nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        linear = [nn.Linear(25088, 4096), nn.ReLU(True), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(True)]
        self.classifier = nn.Sequential(*linear, nn.Dropout(), nn.Linear(4096, 1000))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class Inverted(nn.Module):
    """MobileNetV2's block."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = expansion * inputs
        layers: list[nn.Module] = [unit(inputs, width, 1, nn.ReLU6)] if expansion > 1 else []
        layers.append(unit(width, width, 3, nn.ReLU6, stride, width))
        self.conv = nn.Sequential(*layers, nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.same = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.same else self.conv(x)


class MobileNetV2(nn.Module):
    """Table 2 of its paper."""

    ROWS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [unit(3, 32, 3, nn.ReLU6, 2)]
        channels = 32
        for expansion, width, depth, stride in self.ROWS:
            for i in range(depth):
                layers.append(Inverted(channels, width, stride if not i else 1, expansion))
                channels = width
        self.features = nn.Sequential(*layers, unit(320, 1280, 1, nn.ReLU6))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class Squeeze(nn.Module):
    """Squeeze and excitation with SiLU."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(
            self.fc2(functional.silu(self.fc1(functional.adaptive_avg_pool2d(x, 1)), inplace=True))
        )


class MBConv(nn.Module):
    """EfficientNet's block; its stochastic depth does nothing at inference."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = expansion * inputs
        layers: list[nn.Module] = [unit(inputs, width, 1, nn.SiLU)] if expansion > 1 else []
        layers += [unit(width, width, size, nn.SiLU, stride, width), Squeeze(width, max(1, inputs // 4))]
        self.block = nn.Sequential(*layers, unit(width, outputs, 1, None))
        self.same = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x).add_(x) if self.same else self.block(x)


class EfficientNetB0(nn.Module):
    """Table 1 of its paper."""

    ROWS = (
        (1, 3, 1, 16, 1),
        (6, 3, 2, 24, 2),
        (6, 5, 2, 40, 2),
        (6, 3, 2, 80, 3),
        (6, 5, 1, 112, 3),
        (6, 5, 2, 192, 4),
        (6, 3, 1, 320, 1),
    )

    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = [unit(3, 32, 3, nn.SiLU, 2)]
        channels = 32
        for expansion, size, stride, width, depth in self.ROWS:
            blocks = []
            for i in range(depth):
                blocks.append(MBConv(channels, width, size, stride if not i else 1, expansion))
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.features = nn.Sequential(*stages, unit(320, 1280, 1, nn.SiLU))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def named(**parts: nn.Module) -> nn.Sequential:
    """Modules under names, to meet the names of weights."""
    return nn.Sequential(OrderedDict(parts))


class Value(nn.Module):
    """A learned tensor."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(shape))


class Encoder(nn.Module):
    """A transformer block with the framework's fused attention."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.self_attention = named(in_proj=nn.Linear(width, 3 * width), out_proj=nn.Linear(width, width))
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(0.0), nn.Linear(hidden, width))
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        parts = self.self_attention.in_proj(self.ln_1(x)).view(batch, tokens, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(batch, tokens, width)
        x = x + self.self_attention.out_proj(y)
        return x + self.mlp(self.ln_2(x))


class ViTB16(nn.Module):
    """The base model on patches of 16x16."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = named(proj=nn.Conv2d(3, 768, 16, 16))
        self.class_token, self.pos_embedding = named(token=Value(1, 1, 768)), named(positions=Value(1, 197, 768))
        for i in range(12):
            self.add_module(f"encoder_layer_{i}", Encoder(768, 12, 3072))
        self.ln, self.head = nn.LayerNorm(768, 1e-6), nn.Linear(768, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.token.value.expand(len(x), -1, -1), x], 1) + self.pos_embedding.positions.value
        for i in range(12):
            x = getattr(self, f"encoder_layer_{i}")(x)
        return self.head(self.ln(x)[:, 0])


class LeNet5(nn.Module):
    """For 28x28 or 32x32 digits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2).flatten(1)
        return self.fc3(functional.relu(self.fc2(functional.relu(self.fc1(x)))))


NETWORKS = {
    "resnet18": lambda: ResNet(Basic, (2, 2, 2, 2)),
    "resnet50": lambda: ResNet(Bottleneck, (3, 4, 6, 3)),
    "vgg16": VGG16,
    "mobilenet_v2": MobileNetV2,
    "efficientnet_b0": EfficientNetB0,
    "vit_b_16": ViTB16,
    "lenet5": LeNet5,
    "resnet20": ResNet20,
}


def load(name: str, arrays: dict[str, Any]) -> nn.Module:
    """The network with these weights and running statistics; every one of them is used."""
    with torch.device("meta"):
        network = NETWORKS[name]()
    network = network.to_empty(device="cpu")
    found = network.load_state_dict({key: torch.as_tensor(value) for key, value in arrays.items()}, strict=False)
    missing = [key for key in found.missing_keys if not key.endswith("num_batches_tracked")]
    if missing or found.unexpected_keys:
        raise ValueError(f"{name}: missing {missing}, left over {found.unexpected_keys}")
    return network
