"""What was measured: rows of results/metrics.csv, one a measurement.

A row has the data set, what its labels are, set, metric, value, interval, number of pictures, and what it took: the
run's name and settings, epochs, seconds of training, device, versions and commit. Of a difference (srcc_difference,
plcc_difference) also the run that it is a difference to, and p. A run recorded before is replaced.
"""

from pathlib import Path

import pandas as pd

from koniq import training
from koniq.ground import InputError, machine, tables
from koniq.ground.files import write_csv
from koniq.ground.paths import MODELS
from koniq.measure.metrics import difference
from koniq.training.run import LATER, About

SETTINGS = ("loss", "batch_size", "input_size", "epochs", "learning_rates", "weights", "seed")
KEY = ["dataset", "set", "model"]
COMPARED = ("srcc", "plcc")
REFERENCE = 16  # the batch size, of the original network, that all others are compared with


def read(path: Path) -> pd.DataFrame:
    """The measurements at `path`, settings as text; what the first of them do not say is filled in."""
    texts = (*SETTINGS, *LATER, "framework", "trained_on", "compared_to")
    table = tables.read_typed(path, texts)
    unsaid = {name: str(value) for name, value in LATER.items()}
    unsaid |= {"framework": "tensorflow", "trained_on": table.dataset, "compared_to": ""}
    table = table.reindex(columns=list(dict.fromkeys((*table, *unsaid, "p"))))
    return table.assign(**{name: table[name].astype(object).fillna(value) for name, value in unsaid.items()})


def record(new: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Put measurements into the table at `path`, in place of those of the same runs, and return it."""
    if path.is_file():
        old = read(path)
        kept = ~pd.MultiIndex.from_frame(old[KEY]).isin(pd.MultiIndex.from_frame(new[KEY]))
        new = pd.concat([old[kept], new], ignore_index=True)
    write_csv(new.sort_values(KEY, kind="stable"), path)
    return read(path)


def measurements(run: Path, name: str = "", reference: Path | None = None) -> pd.DataFrame:
    """The rows of a finished run: of its own test and of those across data sets (cross-*).

    reference: a run to give the differences to, on the pictures that both scored. Raises InputError if the run is not
    finished and tested.
    """
    folder = run if run.is_dir() else MODELS / run
    try:
        about, own = training.about(folder), tables.read_typed(training.tested(folder).metrics)
    except FileNotFoundError as error:
        raise InputError(f"{folder} should hold a finished training run. Received: no {error}") from error
    if about.finished is None:
        raise InputError(f"{folder} should hold a finished training run. Received: no 'finished'")
    tests = [training.tested(folder).folder, *(path.parent for path in sorted(folder.glob("cross-*/metrics.csv")))]
    rows = []
    for test in tests:
        found = tables.read_typed(test / "metrics.csv")
        rows.append(found)
        if reference and (reference / test.name / "predictions.csv").is_file():
            rows.append(_differences(test, reference / test.name).assign(**found.loc[0, ["dataset", "label", "set"]]))
    chosen = {key: str(about.setting(key)) for key in (*SETTINGS, *LATER)}
    return pd.concat(rows, ignore_index=True).assign(
        model=name or folder.name,
        framework=framework(about),
        trained_on=own.dataset[0],
        **chosen,
        epochs_run=about.finished["epochs"],
        seconds=about.finished["seconds"],
        device=about.device,
        versions=machine.in_words(about.versions),
        commit=about.commit,
    )


def of_test(folder: Path, name: str, part: str, trained_on: str, network: str) -> pd.DataFrame:
    """The rows of a test by itself, such as of weights that are released: the metrics.csv of its folder, as `name`.

    part: what to call its set; what reports give apart of it is called "PART, subset 1" and the like.
    """
    rows = tables.read_typed(folder / "metrics.csv")
    own = rows.set.iloc[0]
    rows["set"] = [(part or own) + text.removeprefix(own) for text in rows.set]
    about = {"model": name or folder.name, "trained_on": trained_on or rows.dataset.iloc[0], "network": network}
    return rows.assign(**about, **machine.here())


def framework(run: About) -> str:
    """What trained a run: pytorch, kuti or tensorflow, by its device."""
    return next((name for name in ("PyTorch", "kuti") if f"{name} " in run.device), "tensorflow").lower()


def _differences(test: Path, reference: Path) -> pd.DataFrame:
    sides = [tables.read_typed(folder / "predictions.csv") for folder in (test, reference)]
    both = pd.merge(*(table[table.status == "ok"] for table in sides), on="image_name", suffixes=("", "_reference"))
    columns = [both[column].to_numpy() for column in ("MOS", "predicted", "predicted_reference")]
    rows = [(f"{metric}_difference", *difference(*columns, metric)) for metric in COMPARED]
    table = pd.DataFrame(rows, columns=["metric", "value", "low", "high", "p"])
    return table.assign(n=len(both), compared_to=reference.parent.name)
