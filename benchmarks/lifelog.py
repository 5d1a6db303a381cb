"""How fast lifelog_predict.py scores 1024x768 JPEGs, beside the loop of the study, and in how much memory.

python -m benchmarks.lifelog --weights my_run --precisions auto float32 int8
ONEDNN_MAX_CPU_ISA=AVX2 OV_CPU_MAX_ISA=AVX2 python -m benchmarks.lifelog       as a processor without AVX-512 would

In one run, by both networks, on the same pictures, everything in turn. The peer is the study's loop, one picture a
`model.predict` and nearest neighbour: by the real kuti 0.9.8.1 where `make kuti` has been run, else stated here again.
What decoding alone and the engine alone reach on the same cores bounds what both together can: 1 / rate = 1 / decoding
+ 1 / engine. Beside it, by the first rules of decoding as it was before there were others; and of larger photographs
how many are decoded a second, with DCT scaling and without.
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from benchmarks import kuti_lifelog
from benchmarks.processes import measured
from koniq import engines
from koniq.commands import cli
from koniq.data.sample import SCENES, crop, scene
from koniq.engines import in_keras
from koniq.engines.engine import Engine
from koniq.ground import machine, tables
from koniq.ground.files import write_csv
from koniq.ground.paths import ROOT
from koniq.ground.text import markdown_table
from koniq.network import KONCEPT512, Network, finding, sidecar, weights
from koniq.network.spec import FIRST
from koniq.pictures.decoding import Opened, decode
from koniq.scoring.lifelog import with_content
from koniq.scoring.loop import predict
from koniq.scoring.score_file import ScoreFile
from koniq.training import in_kuti

if TYPE_CHECKING:
    import keras


ALONE, WHOLE = "engine alone", "JPEG to CSV"
BEFORE = ", rules 1"
ISA = ("ONEDNN_MAX_CPU_ISA", "OV_CPU_MAX_ISA")  # by these a processor does as an older one would
LIFELOG = 183_227  # pictures of the study's


@dataclass(frozen=True)
class Settings:
    weights: str = ""  # of KonCept512: a file, a training run, a name in trained_models; random weights if empty
    lite: str = "koncept_lite"  # those of koncept_lite; without, if empty
    precisions: tuple[engines.Precision, ...] = ("auto",)  # of OpenVINO; random weights are too wild for int8
    input_size: tuple[int, int] = KONCEPT512.input_size  # (height, width)
    count: int = 96  # pictures a round
    peer_count: int = 24  # pictures a round of the peer, which takes long
    rounds: int = 3  # of everything in turn
    batch_size: int | None = None  # of our engines; None: their own
    workers: int = 2  # threads that decode
    megapixels: tuple[int, ...] = (1, 12, 48, 200)  # of the larger photographs; none: without them
    memory: tuple[int, ...] = (1000, 20000)  # pictures of the runs whose peak memory is measured
    memory_size: tuple[int, int] = (76, 100)  # the network's input in those, for them to end within minutes
    out: Path | None = None  # a CSV such as results/speed.csv, that the rates are added to


def main(s: Settings) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = write_pictures(folder / "pictures", 240)
        path = finding.find(s.weights) if s.weights else write_weights(folder)
        network = sidecar.network_of(path, s.input_size)
        if in_kuti.PYTHON.is_file():
            print("The peer is kuti's")
            rates = {"peer": lambda: kuti_lifelog.lifelog_rate(path, pictures[: s.peer_count], None, s.input_size)}
        else:
            print("The peer is its loop, stated again, for kuti itself is not there (make kuti)")
            in_keras.prepare()
            model = network.build()
            weights.load(model, path)
            rates = {"peer": lambda: peer(model, network, pictures[: s.peer_count])}
        rates["decoding alone"] = lambda: decoding(network, pictures[: s.count], s.workers)
        rates[f"decoding alone{BEFORE}"] = lambda: decoding(network.at(rules=FIRST), pictures[: s.count], s.workers)
        for each, precision in product([path, *([finding.find(s.lite)] if s.lite else [])], s.precisions):
            plan = engines.decide(each, "openvino", precision, s.batch_size, s.input_size, None, pictures).settled()
            case, engine, facts = f"{plan.network.name}, {plan.precision}", plan.start(), plan.facts()
            rates[f"{case}: {ALONE}"] = lambda engine=engine: alone(engine, pictures[: s.count])
            rates[f"{case}: {WHOLE}"] = lambda engine=engine, facts=facts: whole(
                engine, facts, pictures[: s.count], folder / "scores.csv", s.workers
            )
            rates[f"{case}: {WHOLE}{BEFORE}"] = lambda engine=engine, facts=facts: whole(
                replace(engine, network=engine.network.at(rules=FIRST)),
                *(facts, pictures[: s.count], folder / "scores.csv", s.workers),
            )
        found = pd.DataFrame(
            [{name: rate() for name, rate in rates.items()} for _ in tqdm(range(s.rounds), desc="rounds", disable=None)]
        )
        print(f"\n{machine.machine()}; {machine.versions()}; commit {machine.commit()}")
        print(f"{s.input_size[0]}x{s.input_size[1]}, batch {plan.batch_size}, {s.rounds} rounds; pictures a second\n")
        rows = speeds(found)
        print(speed_table(rows))
        if s.out:
            add(rows, s.out)
        if s.megapixels:
            print(
                f"\nDecoded to {s.input_size[0]}x{s.input_size[1]} a second, {s.workers} threads, {s.rounds} rounds\n"
            )
            print(large_table({size: large(folder, size, network, s) for size in s.megapixels}, found))
        if s.memory:
            peaks = [peak(path, pictures, count, folder, s) for count in s.memory]
            print(f"\nPeak memory, network at {s.memory_size[0]}x{s.memory_size[1]}\n")
            print(memory_table(s.memory, peaks))


def write_pictures(folder: Path, count: int) -> list[Path]:
    """Photographs of 1024x768, quality 90, as scikit-image has them, each a crop of its own."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    photographs = [scene(name) for name in (*SCENES["training"], *SCENES["test"])]
    paths = [folder / f"{number:03}.jpg" for number in range(count)]
    for number, path in enumerate(tqdm(paths, desc="pictures", disable=None)):
        crop(photographs[number % len(photographs)], (768, 1024), rng).save(path, quality=90)
    return paths


def write_weights(folder: Path) -> Path:
    path = folder / "random.weights.h5"
    KONCEPT512.build().save_weights(path)
    return path


def peer(model: "keras.Model", network: Network, paths: Sequence[Path]) -> float:
    """Pictures a second of the study's loop."""
    from keras.utils import img_to_array, load_img

    began, scores = time.perf_counter(), []
    for path in paths:
        picture = img_to_array(load_img(path, target_size=network.input_size, interpolation="nearest"))
        scores.append(model.predict(picture[None], verbose=0)[0, 0])
    return len(scores) / (time.perf_counter() - began)


def decoding(network: Network, paths: Sequence[Path], workers: int) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        done = list(pool.map(lambda path: decode(path, network), paths))
    return len(done) / (time.perf_counter() - began)


def write_large(folder: Path, megapixels: int) -> Path:
    """A photograph of so many megapixels, 4:3, quality 90, with the detail of photographs: it is laid out of theirs."""
    rng, height = np.random.default_rng(0), round((megapixels * 1e6 * 3 / 4) ** 0.5)
    sheet, path = Image.new("RGB", (round(height * 4 / 3), height)), folder / f"{megapixels}.jpg"
    photographs = [crop(scene(name), (768, 1024), rng) for name in SCENES["training"]]
    places = product(range(0, sheet.height, 768), range(0, sheet.width, 1024))
    for number, (top, left) in enumerate(places):
        sheet.paste(photographs[number % len(photographs)], (left, top))
    sheet.save(path, quality=90)
    return path


def large(folder: Path, megapixels: int, network: Network, s: Settings) -> dict[str, float]:
    """Photographs of so many megapixels decoded a second, medians of rounds in turn; NaN: refused."""
    path, ways = write_large(folder, megapixels), {"as a whole": network, "DCT scaling": network.at(dct_scaling=True)}
    found = {way: [] for way in ways}
    for _, (way, by) in product(range(s.rounds), ways.items()):
        opens = decode(path, by).status == "ok"
        found[way].append(decoding(by, [path] * max(s.workers, 24 // megapixels), s.workers) if opens else np.nan)
    path.unlink()
    return {way: float(np.median(rates)) for way, rates in found.items()}


def large_table(rates: dict[int, dict[str, float]], found: pd.DataFrame) -> str:
    """Markdown of `large`, beside what each engine does alone."""
    engines_alone = {case: found[case].median() for case in found if case.endswith(ALONE)}
    heads = ("megapixels", "as a whole", "DCT scaling", *engines_alone)
    by_engine = tuple(f"{rate:.1f}" for rate in engines_alone.values())
    rows = [
        (str(size), *("refused" if np.isnan(rate) else f"{rate:.1f}" for rate in each.values()), *by_engine)
        for size, each in rates.items()
    ]
    return markdown_table(heads, rows)


def alone(engine: Engine, paths: Sequence[Path]) -> float:
    pixels = np.stack([decode(path, engine.network).pixels for path in paths[: engine.batch_size]])
    calls = -(-len(paths) // engine.batch_size)
    with ThreadPoolExecutor(engine.parallel) as pool:
        list(pool.map(engine.score, [pixels] * engine.parallel))  # its requests are made
        began = time.perf_counter()
        list(pool.map(engine.score, [pixels] * calls))
        return calls * engine.batch_size / (time.perf_counter() - began)


def whole(engine: Engine, facts: dict, paths: Sequence[Path], out: Path, workers: int) -> float:
    """Pictures a second of what lifelog_predict.py does once its engine has started."""
    began = time.perf_counter()

    def decoded(path: Path) -> Opened:
        return with_content(path, lambda path: decode(path, engine.network))

    with ScoreFile(out, facts, overwrite=True) as file:
        scores = predict(engine, paths, workers, decoded=decoded)
        for score in scores:
            file.append(replace(score, name=Path(score.name).name))
    return len(paths) / (time.perf_counter() - began)


def speeds(found: pd.DataFrame) -> pd.DataFrame:
    """Of each rate, a column of `found` with a value a round: what the benchmark shows of it; NaN is nothing.

    median, low and high are pictures a second; ratio is to the peer, and share that of what decoding and engine allow
    together, both the medians of ratios within a round; hours are those of the study's lifelog.
    """
    rows = []
    for case in found:
        share = hours = np.nan
        if case.removesuffix(BEFORE).endswith(WHOLE):
            decoded = found[f"decoding alone{BEFORE if case.endswith(BEFORE) else ''}"]
            engine = found[case.removesuffix(BEFORE).replace(WHOLE, ALONE)]
            share = (found[case] * (1 / engine + 1 / decoded)).median()
        if case.removesuffix(BEFORE).endswith(WHOLE) or case == "peer":
            hours = LIFELOG / found[case].median() / 3600
        rates = found[case].median(), found[case].min(), found[case].max()
        rows.append((case, *rates, (found[case] / found.peer).median(), share, hours))
    return pd.DataFrame(rows, columns=["case", "median", "low", "high", "ratio", "share", "hours"])


def speed_table(rows: pd.DataFrame) -> str:
    """Markdown of `speeds`."""
    shown = [
        (
            *(row.case, f"{row.median:.2f}", f"{row.low:.2f} to {row.high:.2f}", f"{row.ratio:.2f}"),
            *("" if np.isnan(row.share) else f"{row.share:.0%}", "" if np.isnan(row.hours) else f"{row.hours:.1f}"),
        )
        for row in rows.itertuples()
    ]
    bound = "share of 1/(1/decoding + 1/engine)"
    return markdown_table(("", "median", "rounds", "ratio to the peer", bound, f"hours for {LIFELOG:,}"), shown)


def add(rows: pd.DataFrame, path: Path) -> None:
    """Add rates to a CSV, with the machine, what limits its processors' instructions, versions and commit."""
    limits = " ".join(f"{name}={os.environ[name]}" for name in ISA if name in os.environ)
    versions = machine.in_words(machine.versions())
    about = {"machine": machine.machine(), "limits": limits, "versions": versions, "commit": machine.commit()}
    old = [tables.read_typed(path, ("limits",))] if path.is_file() else []
    write_csv(pd.concat([*old, rows.assign(**about)], ignore_index=True), path)


def peak(path: Path, pictures: Sequence[Path], count: int, folder: Path, s: Settings) -> int:
    """The most bytes of memory that lifelog_predict.py has in a run over `count` pictures, each file several times."""
    table = folder / f"{count}.csv"
    pd.DataFrame({"image_path": [str(pictures[number % len(pictures)]) for number in range(count)]}).to_csv(table)
    size = [str(side) for side in s.memory_size]
    command = [ROOT / "lifelog_predict.py", table, "--weights", path, "--input-size", *size, "--engine", "openvino"]
    command += ["--out", folder / f"{count}-scores.csv", "--workers", s.workers]
    return measured([sys.executable, *command])[1]


def memory_table(counts: Sequence[int], peaks: Sequence[int]) -> str:
    rows = [
        (f"{count:,}", f"{most / 2**20:.0f}", f"{most / peaks[0]:.3f}")
        for count, most in zip(counts, peaks, strict=True)
    ]
    return markdown_table(("pictures", "MiB", "ratio"), rows)


if __name__ == "__main__":
    cli.run(main, Settings)
