"""What is said of scores and the MOS scale follows from the record of the weights, and from nothing else."""

import pytest

from koniq.scoring.facts import Facts


@pytest.mark.parametrize(
    ("record", "on_mos_scale", "said"),
    [
        ({"calibrated": "by 40 pictures", "loss": "plcc"}, True, "The scores are calibrated to the MOS scale."),
        ({"calibrated": "x", "scale": [1, 5]}, True, "The scores are calibrated to the MOS scale, here from 1 to 5."),
        ({"loss": "plcc"}, False, "The model was trained with the PLCC loss and is not calibrated"),
        ({"loss": "nin"}, False, "The model was trained with the norm-in-norm loss and is not calibrated"),
        ({"calibrated": "x", "label": "synthetic MOS"}, False, "The scores are synthetic MOS: the model learnt labels"),
        ({"loss": "mse", "label": "MOS"}, False, "Nothing says that the scores are calibrated"),
        (
            {"label": "my ratings", "scale": [1, 5]},
            False,
            "The scores are on the scale of the ratings of one person, 1 to 5",
        ),
        (None, False, "Nothing says that the scores are calibrated"),
    ],
)
def test_what_a_record_says_of_the_mos_scale(record, on_mos_scale, said):
    known = Facts({} if record is None else {"record": record})
    assert known.on_mos_scale is on_mos_scale
    assert known.scale().startswith(said)


def test_what_scores_are_called():
    assert (Facts({}).label, Facts({}).synthetic) == ("MOS", "")
    own = Facts({"record": {"label": "my ratings"}})
    assert (own.label, own.synthetic, own.is_own) == ("my ratings", "", True)
    unrated = Facts({"record": {"label": "scores of wise"}})
    assert (unrated.label, unrated.synthetic) == ("scores of wise", "scores of wise")
    assert (Facts({"record": {"loss": "nin"}}).free_loss, Facts({"record": {"loss": "mse"}}).free_loss) == (
        "norm-in-norm loss",
        "",
    )
