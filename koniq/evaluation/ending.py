"""What a run of training ends with: its network calibrated and tested."""

from pathlib import Path

from koniq.data.datasets import DataSet
from koniq.engines.engine import Engine
from koniq.evaluation.calibrating import calibrate
from koniq.evaluation.testing import test_report
from koniq.ground import InputError, files
from koniq.ground.log import LOG
from koniq.measure import calibration, conformal
from koniq.network import finding
from koniq.scoring.loop import Reading, predict


def conclude(run: Path, engine: Engine, data: DataSet, workers: int) -> None:
    """What a run of training ends with: calibrated on the validation set, tested on the test set, if there is one.

    run: its folder. engine: of its best weights. A calibration that is kept for these weights stays as it is. Where
    none can be made, or none is better than chance, that is printed, and the network's own scores are tested.
    """
    path = finding.find(str(run))
    digest = files.file_hash(path)
    try:
        to_mos = calibration.kept(path, engine.network, digest)
        to_mos = to_mos or calibrate(path, engine, data, "validation", workers)
    except InputError as error:
        LOG.info(f"Not calibrated: {error}")
        to_mos = None
    if data.has("test"):
        intervals = conformal.kept(path, engine.network, digest, to_mos)
        paths, reading = data.part("test").image_path, Reading(to_mos, intervals)
        scores = predict(engine, paths, workers, "testing", reading=reading)
        test_report(run / "test", data, "test", scores, run.name, intervals)
