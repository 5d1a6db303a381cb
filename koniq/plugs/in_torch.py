"""Scores of tensors, as PyTorch's programs have pictures: (batch, 3, height, width) in [0, 1], with gradients."""

from os import PathLike, fspath
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from koniq.data.scale import FREE, Scale
from koniq.ground import InputError
from koniq.measure.calibration import Affine, Calibration, Identity, Isotonic, Logistic
from koniq.network import Network, find_or_default, sidecar
from koniq.network.spec import Fit, Resize
from koniq.network.weights import load_module
from koniq.pictures.decoding import GREY, centred, decode
from koniq.plugs.resizing import matrix
from koniq.scoring import load

NEAR = 1e-6  # how far beyond [0, 1] a pixel may be by rounding
Weights = str | PathLike[str]
Reduction = Literal["mean", "sum", "none"]


class Scores(nn.Module):
    """A network from pictures to their scores: float (batch, 3, height, width) in [0, 1], RGB, to float32 (batch, 1).

    Pictures of one channel are grey. They are of any size, and are resized by the filter that the network was trained
    with, as Pillow does it. Scores are in MOS by the calibration that is kept beside the
    weights, if there is one. Gradients go to the pictures; the weights have none, and the network stays in evaluation
    mode, and in float32, whatever is around it.

    weights, calibrate, input_size, resize, fit: as `koniq.load` takes them. Raises InputError as that does.
    """

    def __init__(
        self,
        weights: Weights = "",
        *,
        calibrate: bool = True,
        input_size: tuple[int, int] | None = None,
        resize: Resize | None = None,
        fit: Fit | None = None,
    ):
        super().__init__()
        self.weights = find_or_default(fspath(weights))
        how = {"calibrate": calibrate, "input_size": input_size, "resize": resize, "fit": fit}
        # Of the engine nothing is used: it would take no gradients.
        scorer = load(self.weights, engine="torch", precision="float32", device="cpu", **how)
        self.seen_by: Network = scorer.network
        self.to_mos: Calibration | None = scorer.to_mos
        module = self.seen_by.build_torch()
        load_module(module, self.weights, self.seen_by)
        self.rating = module.requires_grad_(False).eval()

    @property
    def scale(self) -> Scale | None:
        """The scale of the scores; None of a network that was trained by a loss that knows none, uncalibrated."""
        record = sidecar.record(self.weights)
        if self.to_mos:
            return self.to_mos.scale
        return None if record.get("loss") in FREE else Scale.of(record)

    def train(self, mode: bool = True) -> "Scores":
        """It stays as it is: statistics and dropout are of training."""
        return super().train(False)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """The scores (batch, 1). Raises InputError unless `pictures` has the shape and the type; see `check_range`."""
        check(pictures)
        with torch.autocast(pictures.device.type, enabled=False):
            seen = as_seen(pictures.float().expand(-1, 3, -1, -1), self.seen_by)
            return self.rated(255 * seen.permute(0, 2, 3, 1))

    def rated(self, pixels: torch.Tensor) -> torch.Tensor:
        """The scores (batch, 1) of pictures as the network takes them: (batch, height, width, 3), 0 to 255."""
        scores = self.rating(pixels)
        return in_mos(scores, self.to_mos.map) if self.to_mos else scores


class QualityMetric(nn.Module):
    """A metric of the shape of pyiqa's: of a picture's path, or of pictures (batch, 3, height, width) in [0, 1].

    A path is decoded and resized as for the CSV, and has its score there. There are no gradients unless `as_loss`; then
    scores come reduced, times `loss_weight`, and pixels may leave [0, 1]. The more the better, so a loss to minimise is
    the negative of it. Everything else is as in `Scores`.
    """

    metric_mode = "NR"
    lower_better = False

    def __init__(
        self,
        weights: Weights = "",
        as_loss: bool = False,
        device: str | torch.device | None = None,
        *,
        loss_weight: float = 1.0,
        loss_reduction: Reduction = "mean",
        check_input_range: bool = True,
        **how: object,
    ):
        super().__init__()
        if loss_reduction not in ("mean", "sum", "none"):
            raise InputError(f"loss_reduction should be mean, sum or none. Received: loss_reduction={loss_reduction}")
        self.as_loss, self.loss_weight, self.loss_reduction = as_loss, loss_weight, loss_reduction
        self.check_input_range = check_input_range and not as_loss
        self._how = how
        self.net = Scores(weights, **how)
        self.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))

    @property
    def metric_name(self) -> str:
        """What reports call the weights."""
        return sidecar.title(self.net.weights)

    @property
    def score_range(self) -> str | None:
        """Such as "~0, ~100": scores of single pictures may be beyond it. None where nothing tells."""
        scale = self.net.scale
        return scale and f"~{scale.low:g}, ~{scale.high:g}"

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.parameters()).device

    def load_weights(self, weights_path: Weights, weight_keys: str = "params") -> None:
        """Go on with other weights, entirely or not at all. weight_keys: of pyiqa's files; ours have none."""
        self.net = Scores(weights_path, **self._how).to(self.device)

    def forward(self, target: Weights | torch.Tensor, ref: object = None) -> torch.Tensor:
        """The scores, float32 (batch, 1), or of a loss one number, unless it is not to be reduced.

        ref: not looked at, as of every metric without a reference. Raises InputError if the picture does not open, if
        the tensor has another shape or type, or if it is not in [0, 1].
        """
        with torch.set_grad_enabled(self.as_loss and torch.is_grad_enabled()):
            scores = self._of_tensor(target) if isinstance(target, torch.Tensor) else self._of_file(target)
            if not self.as_loss:
                return scores
            scores = self.loss_weight * scores
            return scores if self.loss_reduction == "none" else getattr(scores, self.loss_reduction)()

    def _of_tensor(self, pictures: torch.Tensor) -> torch.Tensor:
        if self.check_input_range:
            check_range(pictures)
        return self.net(pictures.to(self.device))

    def _of_file(self, picture: Weights) -> torch.Tensor:
        if not isinstance(picture, str | PathLike):
            raise InputError(
                f"target should be a path, or a tensor of 4 axes in [0, 1]. Received: {type(picture).__name__}"
            )
        opened = decode(picture, self.net.seen_by)
        if opened.pixels is None:
            raise InputError(f"{fspath(picture)} should be a picture that opens. Received: {opened.error}")
        return self.net.rated(torch.from_numpy(opened.pixels.copy()).to(self.device)[None])


def check(pictures: torch.Tensor) -> None:
    """Raise InputError unless these are floating-point pictures (batch, 3 or 1, height, width)."""
    shape = tuple(getattr(pictures, "shape", ()))
    if not isinstance(pictures, torch.Tensor) or not pictures.is_floating_point():
        kind = getattr(pictures, "dtype", type(pictures).__name__)
        raise InputError(f"pictures should be a tensor of floating-point numbers in [0, 1]. Received: {kind}")
    if len(shape) != 4 or shape[1] not in (1, 3) or not all(shape[2:]):
        raise InputError(f"pictures should be (batch, 3 or 1, height, width). Received: {shape}")


def check_range(pictures: torch.Tensor) -> None:
    """Raise InputError unless pictures are as `check` has them and in [0, 1]; what is no number is not."""
    check(pictures)
    if pictures.numel():
        low, high = (float(each) for each in pictures.detach().aminmax())
        if not (low >= -NEAR and high <= 1 + NEAR):
            raise InputError(f"pictures should be in [0, 1]. Received: {low:g} to {high:g}")


def as_seen(pictures: torch.Tensor, network: Network) -> torch.Tensor:
    """Pictures (batch, 3, height, width) in [0, 1] at the network's size, as `pictures.decoding.as_seen` has it."""
    height, width = network.input_size
    size = pictures.shape[3], pictures.shape[2]
    if network.fit == "crop":
        left, top, right, bottom = centred(size, (width, height))
        pictures = pictures[:, :, top:bottom, left:right]
    if network.fit != "pad":
        return resized(pictures, (height, width), network.resize)
    share = min(width / size[0], height / size[1])
    inner = [max(1, round(share * side)) for side in size]
    small = resized(pictures, (inner[1], inner[0]), network.resize)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    return F.pad(small, (left, width - inner[0] - left, top, height - inner[1] - top), value=GREY / 255)


def resized(pictures: torch.Tensor, size: tuple[int, int], resize: Resize) -> torch.Tensor:
    """Pictures (batch, channels, height, width) in [0, 1] at `size`, (height, width), by one of Pillow's filters.

    After each side values are cut off and rounded to 8 bits, as Pillow's are, for a network sees the difference where a
    picture is plain; gradients pass as if they were not rounded. A side that has its size is left as it is.
    """
    before = tuple(pictures.shape[2:])
    # In the order of Pillow, which is seen where the first has something cut off: the width first, but for this.
    shrinks_in_height_alone = size[0] < before[0] and size[1] > before[1]
    for axis in (0, 1) if shrinks_in_height_alone else (1, 0):
        if size[axis] != before[axis]:
            by = torch.from_numpy(matrix(before[axis], size[axis], resize)).to(pictures)
            pictures = (by @ pictures if axis == 0 else pictures @ by.T).clamp(0, 1)
            pictures = pictures + ((255 * pictures + 0.5).floor() / 255 - pictures).detach()
    return pictures


def in_mos(scores: torch.Tensor, to_mos: Identity | Affine | Logistic | Isotonic) -> torch.Tensor:
    """Scores of a network, of any shape, by a map of koniq.measure.calibration, with gradients."""
    if isinstance(to_mos, Affine):
        return to_mos.slope * scores + to_mos.offset
    if isinstance(to_mos, Logistic):
        inside = scores.clamp(to_mos.low, to_mos.high)
        share, span = torch.sigmoid((inside - to_mos.middle) / to_mos.scale), to_mos.top - to_mos.bottom
        return to_mos.bottom + span * share + span / to_mos.scale * share * (1 - share) * (scores - inside)
    if isinstance(to_mos, Isotonic):
        knots, mos = (torch.tensor(each).to(scores) for each in (to_mos.scores, to_mos.mos))
        inside = scores.clamp(to_mos.scores[0], to_mos.scores[-1])
        right = torch.searchsorted(knots, inside.detach().contiguous()).clamp(1, len(knots) - 1)
        rise = (mos[right] - mos[right - 1]) / (knots[right] - knots[right - 1])
        beyond = (mos[-1] - mos[0]) / (knots[-1] - knots[0])
        return mos[right - 1] + rise * (inside - knots[right - 1]) + beyond * (scores - inside)
    return scores
