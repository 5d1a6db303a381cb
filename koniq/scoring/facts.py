"""What the facts beside scores say of the scale that these are on, and so of what may be read from them."""

from collections.abc import Mapping
from dataclasses import dataclass

from koniq.data.datasets import origin
from koniq.data.scale import FREE, Scale

OWN = "my ratings"  # the label of what one person gave, see koniq.training.taste


@dataclass(frozen=True)
class Facts:
    """What is known of scores: the JSON beside them (`koniq.ground.facts.facts`), or the facts of a plan."""

    about: Mapping[str, object]

    @property
    def record(self) -> Mapping[str, object]:
        """Of the weights; {} if nothing says so."""
        return self.about.get("record", {})

    @property
    def label(self) -> str:
        """What the scores are, for axes and tables: "MOS", or "synthetic MOS", "scores of ..."."""
        return str(self.record.get("label") or "MOS")

    @property
    def synthetic(self) -> str:
        """The label, if no person gave it, else ""."""
        return "" if self.label in ("MOS", OWN) else self.label

    @property
    def is_own(self) -> bool:
        """Whether the model learnt the ratings of one person."""
        return self.label == OWN

    @property
    def on_mos_scale(self) -> bool:
        """Whether the record says that the scores are calibrated to the MOS scale."""
        return bool(self.record.get("calibrated")) and self.label == "MOS"

    @property
    def free_loss(self) -> str:
        """What the loss is called that the model was trained with, if it leaves scores on no scale, else ""."""
        return FREE.get(self.record.get("loss"), "")

    def scale(self) -> str:
        """What can be said of the scores and the MOS scale: a sentence or two."""
        if self.synthetic:
            return (
                f"The scores are {self.label}: the model learnt labels that {origin(self.label)}, and that no person "
                "gave. Their order counts; shares below a score, and KonIQ-10k's distribution beside them, do not."
            )
        if self.is_own:
            return (
                f"The scores are on the scale of the ratings of one person, {Scale.of(self.record)}, which the model "
                "learnt. They are no MOS: KonIQ-10k's distribution beside them is of other people's opinions."
            )
        if self.on_mos_scale:
            on = Scale.of(self.record)
            return f"The scores are calibrated to the MOS scale{'' if on.is_usual else f', here from {on}'}."
        if self.free_loss:
            return (
                f"The model was trained with the {self.free_loss} and is not calibrated: its scores are not on the MOS "
                "scale. Their order counts; shares below a MOS, and KonIQ-10k's distribution beside them, do not."
            )
        return (
            "Nothing says that the scores are calibrated to the MOS scale. Until they are, shares below a MOS cannot "
            "be compared with those of another model or of KonIQ-10k."
        )
