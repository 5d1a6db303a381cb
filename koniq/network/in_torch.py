"""The networks in PyTorch; the same weights give the same scores as in Keras, but for rounding.

KonCept512 has the module order and the names of its public port: `base.<i>...`, the children of InceptionResNetV2 in
order, and `fc.<i>...`. koncept_lite has names of its own, those of `koniq.network.koncept_lite`.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from koniq.network import koncept_lite as lite
from koniq.network.koncept512 import AS_KERAS, EPSILON, SIDE, Topology


class ConvNorm(nn.Module):
    """Convolution without bias, batch normalisation, ReLU. (1, 7) is the kernel's (height, width)."""

    def __init__(self, channels: int, filters: int, kernel: int | tuple[int, int], stride: int = 1, same: bool = True):
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, width // 2) if same else 0
        self.conv = nn.Conv2d(channels, filters, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(filters, EPSILON)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.bn(self.conv(x)))


class Branches(nn.Module):
    """Branches side by side, their channels put one after another: `branch0`, `branch1`, ..."""

    def __init__(self, *branches: nn.Module):
        super().__init__()
        for number, branch in enumerate(branches):
            self.add_module(f"branch{number}", branch)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.children()], 1)


class Residual(nn.Module):
    """x + scale * conv2d(its branches), then, unless it is the last, ReLU."""

    def __init__(self, channels: int, scale: float, branches: Sequence[nn.Module], width: int, last: bool = False):
        super().__init__()
        for number, branch in enumerate(branches):
            self.add_module(f"branch{number}", branch)
        self.scale, self.count, self.last = scale, len(branches), last
        self.conv2d = nn.Conv2d(width, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed = torch.cat([self.get_submodule(f"branch{number}")(x) for number in range(self.count)], 1)
        x = x + self.scale * self.conv2d(mixed)
        return x if self.last else x.relu()


def block35(channels: int = 320) -> Residual:
    """Inception-ResNet-A: 35 x 35 x 320 of a picture of 299 x 299."""
    branches = (
        ConvNorm(channels, 32, 1),
        nn.Sequential(ConvNorm(channels, 32, 1), ConvNorm(32, 32, 3)),
        nn.Sequential(ConvNorm(channels, 32, 1), ConvNorm(32, 48, 3), ConvNorm(48, 64, 3)),
    )
    return Residual(channels, 0.17, branches, 128)


def block17(channels: int = 1088) -> Residual:
    """Inception-ResNet-B: 17 x 17 x 1088."""
    long = nn.Sequential(ConvNorm(channels, 128, 1), ConvNorm(128, 160, (1, 7)), ConvNorm(160, 192, (7, 1)))
    return Residual(channels, 0.10, (ConvNorm(channels, 192, 1), long), 384)


def block8(channels: int = 2080, scale: float = 0.20, last: bool = False) -> Residual:
    """Inception-ResNet-C: 8 x 8 x 2080."""
    long = nn.Sequential(ConvNorm(channels, 192, 1), ConvNorm(192, 224, (1, 3)), ConvNorm(224, 256, (3, 1)))
    return Residual(channels, scale, (ConvNorm(channels, 192, 1), long), 448, last)


def mixed_5b() -> Branches:
    """Inception-A: 35 x 35 x 320."""
    pooled = nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), ConvNorm(192, 64, 1))
    return Branches(
        ConvNorm(192, 96, 1),
        nn.Sequential(ConvNorm(192, 48, 1), ConvNorm(48, 64, 5)),
        nn.Sequential(ConvNorm(192, 64, 1), ConvNorm(64, 96, 3), ConvNorm(96, 96, 3)),
        pooled,
    )


def mixed_6a() -> Branches:
    """Reduction-A: 17 x 17 x 1088."""
    return Branches(
        ConvNorm(320, 384, 3, 2, same=False),
        nn.Sequential(ConvNorm(320, 256, 1), ConvNorm(256, 256, 3), ConvNorm(256, 384, 3, 2, same=False)),
        nn.MaxPool2d(3, 2),
    )


def mixed_7a() -> Branches:
    """Reduction-B: 8 x 8 x 2080."""
    return Branches(
        nn.Sequential(ConvNorm(1088, 256, 1), ConvNorm(256, 384, 3, 2, same=False)),
        nn.Sequential(ConvNorm(1088, 256, 1), ConvNorm(256, 288, 3, 2, same=False)),
        nn.Sequential(ConvNorm(1088, 256, 1), ConvNorm(256, 288, 3), ConvNorm(288, 320, 3, 2, same=False)),
        nn.MaxPool2d(3, 2),
    )


class Body(nn.Sequential):
    """Parts one after another. torch.compile takes it for one graph, and PyTorch's own Sequential for many."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self:
            x = part(x)
        return x


class Rating(nn.Module):
    """A rating network: `base`, from pictures to (batch, features) or more axes, and `fc`, from features to one score.

    Takes uint8 pictures (batch, height, width, 3), RGB, and gives float32 scores (batch, 1) in MOS, whatever the
    precision of its body: a score out of 100 needs more digits than a number of half precision has.

    divisor, offset: the body sees pictures / divisor - offset.
    """

    def __init__(
        self,
        base: nn.Module,
        fc: nn.Sequential,
        output_bias: float = 0.0,
        *,
        divisor: float = 127.5,
        offset: float = 1.0,
    ):
        super().__init__()
        self.base, self.fc, self.divisor, self.offset = base, fc, divisor, offset
        for module in self.modules():
            if isinstance(module, nn.Linear):  # as Keras starts them
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.constant_(self.fc[-1].bias, output_bias)

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """What the body sees in pictures: float32 (batch, features)."""
        return self.base(self.scaled(pictures)).flatten(1).float()

    def scaled(self, pictures: torch.Tensor) -> torch.Tensor:
        """The pictures as the body takes them, (batch, 3, height, width): channels last in memory, as they come."""
        return pictures.permute(0, 3, 1, 2).float() / self.divisor - self.offset

    def rate(self, features: torch.Tensor) -> torch.Tensor:
        """The scores (batch, 1) of features, in float32."""
        with torch.autocast(features.device.type, enabled=False):
            return self.fc(features)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.rate(self.features(pictures))


def head(sizes: Sequence[int], dropout_rates: Sequence[float], epsilon: float = EPSILON) -> nn.Sequential:
    """Linear layers from sizes[0] features to one score; ReLU, batch normalisation, dropout after all but the last."""
    layers = []
    for before, size, rate in zip(sizes, sizes[1:], dropout_rates, strict=False):
        layers += [nn.Linear(before, size), nn.ReLU(), nn.BatchNorm1d(size, epsilon), nn.Dropout(rate)]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 1))


def koncept512(output_bias: float = 0.0, topology: Topology = AS_KERAS) -> Rating:
    """KonCept512 (Hosu et al., arXiv 1910.06180, section V) from random weights, for pictures of any size from 75 x 75.

    59,858,657 numbers in all, those of Keras, besides the scales of the body that Keras does not have.
    """
    base = Body(
        ConvNorm(3, 32, 3, 2, same=False),  # conv2d_1a
        ConvNorm(32, 32, 3, same=False),  # conv2d_2a
        ConvNorm(32, 64, 3),  # conv2d_2b
        nn.MaxPool2d(3, 2),
        ConvNorm(64, 80, 1),  # conv2d_3b
        ConvNorm(80, 192, 3, same=False),  # conv2d_4a
        nn.MaxPool2d(3, 2),
        mixed_5b(),
        nn.Sequential(*(block35() for _ in range(10))),
        mixed_6a(),
        nn.Sequential(*(block17() for _ in range(20))),
        mixed_7a(),
        nn.Sequential(*(block8() for _ in range(9))),
        block8(scale=1.0, last=True),
        ConvNorm(2080, 1536, 1),  # conv2d_7b
        nn.AvgPool2d(SIDE) if topology.pooling == "8x8" else nn.AdaptiveAvgPool2d(1),
    )
    for norm in base.modules():
        if isinstance(norm, nn.BatchNorm2d):  # a scale that Keras does not have stays as it is: then both train alike
            norm.weight.requires_grad_(topology.body_scale)
    return Rating(base, head((1536, 2048, 1024, 256), (0.25, 0.25, 0.5), topology.head_epsilon), output_bias)


class SameConvNorm(nn.Module):
    """Convolution without bias, padded as TensorFlow's "same"; batch normalisation; ReLU6 unless `linear`."""

    def __init__(
        self, channels: int, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1, linear: bool = False
    ):
        super().__init__()
        # With a stride the zeros depend on the size of what comes, and may differ before and after it.
        padding = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(channels, filters, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(filters, lite.EPSILON)
        self.kernel, self.stride, self.linear = kernel, stride, linear

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # On processors the gradient of a depthwise convolution takes longer in bfloat16.
        if self.conv.groups > 1 and x.device.type == "cpu" and torch.is_grad_enabled():
            with torch.autocast("cpu", enabled=False):
                x = self._normalised(x.float())
        else:
            x = self._normalised(x)
        return x if self.linear else F.relu6(x)

    def _normalised(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride > 1:
            height, width = (lite.padding(size, self.kernel, self.stride) for size in x.shape[2:])
            x = F.pad(x, (*width, *height))
        norm = self.bn
        if norm.training or norm._forward_pre_hooks:  # by the batch, or somebody wants to see what it is given
            return norm(self.conv(x))
        # Statistics that are given make one convolution of the two: a third less time, and the same gradients.
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weight = self.conv.weight * scale[:, None, None, None]
        shift = norm.bias - norm.running_mean * scale
        return F.conv2d(x, weight, shift, self.stride, self.conv.padding, groups=self.conv.groups)


class InvertedResidual(nn.Module):
    """A block of EfficientNet-lite0."""

    def __init__(self, block: lite.Block):
        super().__init__()
        if block.expands:
            self.expand = SameConvNorm(block.inputs, block.width)
        self.depth = SameConvNorm(block.width, block.width, block.kernel, block.stride, groups=block.width)
        self.project = SameConvNorm(block.width, block.filters, linear=True)
        self.expands, self.skips = block.expands, block.skips

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = self.expand(x) if self.expands else x
        y = self.project(self.depth(wide))
        return x + y if self.skips else y


class LiteBody(nn.Module):
    """EfficientNet-lite0, of several of whose levels the mean and the spread are the features: (batch, 4096).

    It is cut after any number of its parts: `before` and `after`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConvNorm(3, lite.STEM, 3, 2)
        self.blocks = nn.Sequential(*map(InvertedResidual, lite.BLOCKS))
        self.top = SameConvNorm(lite.BLOCKS[-1].filters, lite.TOP)

    def before(self, x: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The map after the first `count` parts (blocks, then the top), and the features of the levels on the way."""
        x = self.stem(x)
        return self._through(x, x.new_zeros((x.shape[0], 0), dtype=torch.float32), range(count))

    def after(self, x: torch.Tensor, pooled: torch.Tensor, count: int) -> torch.Tensor:
        """The features of pictures from what `before` gave of them."""
        return self._through(x, pooled, range(count, len(self.parts)))[1]

    @property
    def parts(self) -> list[nn.Module]:
        """What follows the stem."""
        return [*self.blocks, self.top]

    def _through(self, x: torch.Tensor, pooled: torch.Tensor, numbers: range) -> tuple[torch.Tensor, torch.Tensor]:
        parts = self.parts
        for number in numbers:
            x = parts[number](x)
            if number in lite.LEVELS or number == len(self.blocks):
                pooled = torch.cat([pooled, *mean_and_spread(x)], 1)
        return x, pooled

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(*self.before(x, 0), 0)


def mean_and_spread(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean and the standard deviation of each channel over height and width, in float32: two of (batch, channels).

    The deviation is the population's, and kept from 0, where its gradient would be infinite.
    """
    x = x.float()
    mean = x.mean((2, 3), keepdim=True)
    variance = (x - mean).square().mean((2, 3))
    return mean.flatten(1), (variance + lite.VARIANCE).sqrt()


def koncept_lite(output_bias: float = 0.0) -> Rating:
    """koncept_lite from random weights, for pictures of any size from 32 x 32."""
    fc = nn.Sequential(
        nn.BatchNorm1d(lite.FEATURES, lite.EPSILON),
        nn.Dropout(lite.DROPOUT),
        nn.Linear(lite.FEATURES, lite.HEAD),
        nn.ReLU(),
        nn.Dropout(lite.DROPOUT),
        nn.Linear(lite.HEAD, 1),
    )
    return Rating(LiteBody(), fc, output_bias, divisor=lite.DIVISOR, offset=lite.OFFSET / lite.DIVISOR)
