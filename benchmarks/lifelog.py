"""How fast lifelog_predict.py scores 1024x768 JPEGs, beside the loop of the study, and in how much memory.

python -m benchmarks.lifelog --weights my_run --precisions auto float32 int8
ONEDNN_MAX_CPU_ISA=AVX2 OV_CPU_MAX_ISA=AVX2 python -m benchmarks.lifelog       as a processor without AVX-512 would
python -m benchmarks.lifelog --batch-size 8 16 64 --count 2048 --peer-count 0 --workers 16 --megapixels --memory  # GPU

In one run, by both networks, on the same pictures, everything in turn. The peer is the study's loop, one picture a
`model.predict` and nearest neighbour: by the real kuti 0.9.8.1 where `make kuti` has been run, else stated here again.
What decoding alone and the engine alone reach on the same cores bounds what both together can: 1 / rate = 1 / decoding
+ 1 / engine. Beside it, by the first rules of decoding as it was before there were others; and of larger photographs
how many are decoded a second, with DCT scaling and without.

On CUDA the engine is PyTorch's, in bfloat16 and compiled. It takes no core from decoding, so that the slower of the two
bounds what both can; decoding alone stands beside each line that decodes, and beside all the share of the GPU's
bfloat16 matrix rate, which is that of what forward passes need, of what a large matrix product reaches. Between the
engine alone, on a batch in memory, and JPEG to CSV stands prepared to CSV: the same without decoding, from a file of
`koniq prepare` that the system has in memory.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from benchmarks import kuti_lifelog
from benchmarks.bounds import decoding, flop, gpu, matrix_rate, photographs
from benchmarks.processes import measured
from koniq import engines
from koniq.commands import cli
from koniq.data.datasets import DataSet
from koniq.data.sample import SCENES, crop, scene
from koniq.engines import in_keras
from koniq.engines.engine import Engine
from koniq.ground import machine, tables
from koniq.ground.files import write_csv
from koniq.ground.paths import ROOT
from koniq.ground.text import markdown_table
from koniq.network import KONCEPT512, Network, finding, sidecar, weights
from koniq.network.spec import FIRST
from koniq.pictures import prepared
from koniq.pictures.decoding import Opened, decode
from koniq.scoring.lifelog import with_content
from koniq.scoring.loop import predict
from koniq.scoring.score_file import ScoreFile
from koniq.training import in_kuti

if TYPE_CHECKING:
    import keras


ALONE, WHOLE, PREPARED = "engine alone", "JPEG to CSV", "prepared to CSV"
BEFORE = ", rules 1"
ISA = ("ONEDNN_MAX_CPU_ISA", "OV_CPU_MAX_ISA")  # by these a processor does as an older one would
LIFELOG = 183_227  # pictures of the study's
SIZE = 768, 1024  # (height, width) of the JPEGs


@dataclass(frozen=True)
class Settings:
    weights: str = ""  # of KonCept512: a file, a training run, a name in trained_models; random weights if empty
    lite: str = "koncept_lite"  # those of koncept_lite; without, if empty
    engine: Literal["auto", "openvino", "torch"] = "auto"  # auto: torch on CUDA, else openvino
    precisions: tuple[engines.Precision, ...] = ("auto",)  # random weights are too wild for int8, which is OpenVINO's
    compile: Literal["auto", "yes", "no"] = "auto"  # by torch; auto: on CUDA
    input_size: tuple[int, int] = KONCEPT512.input_size  # (height, width)
    pictures: int = 240  # that are made, or as many as a round has
    count: int = 96  # pictures a round
    peer_count: int = 24  # pictures a round of the peer, which takes long; 0: without it
    rounds: int = 3  # of everything in turn
    batch_size: tuple[int, ...] = ()  # of our engines, in turn; none: their own
    workers: int = 2  # threads that decode
    megapixels: tuple[int, ...] = (1, 12, 48, 200)  # of the larger photographs; none: without them
    memory: tuple[int, ...] = (1000, 20000)  # pictures of the runs whose peak memory is measured
    memory_size: tuple[int, int] = (76, 100)  # the network's input in those, for them to end within minutes
    out: Path | None = None  # a CSV such as results/speed.csv, that the rates are added to


def main(s: Settings) -> None:
    card = gpu() if s.engine != "openvino" else ""
    by_torch = s.engine == "torch" or bool(card)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = photographs(folder / "pictures", max(s.pictures, s.count), SIZE)
        path = finding.find(s.weights) if s.weights else write_weights(folder, by_torch)
        network = sidecar.network_of(path, s.input_size)
        seen, rates, flops = pictures[: s.count], peers(path, network, pictures[: s.peer_count]), {}
        rates["decoding alone"] = lambda: decoding(network, seen, s.workers)
        rates[f"decoding alone{BEFORE}"] = lambda: decoding(network.at(rules=FIRST), seen, s.workers)
        plans = (planned_in_torch if by_torch else planned)(path, pictures, s)
        for case, plan in plans.items():
            engine, csv = plan.start(), folder / "scores.csv"
            engine = as_if_alone(engine) if plan.compiled else engine
            found = of_engine(case, engine, plan.facts(), seen, csv, s.workers)
            if plan.engine == "torch":
                files = written_prepared(folder, engine.network, seen, s.workers)
                found[f"{case}: {PREPARED}"] = partial(whole, engine, plan.facts(), seen, csv, s.workers, files)
            rates |= found
            flops |= dict.fromkeys(found, flop(plan.network)) if card else {}
        found = pd.DataFrame(
            [{name: rate() for name, rate in rates.items()} for _ in tqdm(range(s.rounds), desc="rounds", disable=None)]
        )
        rows, most = speeds(found, apart=bool(card)), matrix_rate() if card else None
        sizes = ", ".join(dict.fromkeys(str(plan.batch_size) for plan in plans.values()))
        print(f"\n{named(card)}; {machine.versions()}; commit {machine.commit()}")
        print(f"{s.input_size[0]}x{s.input_size[1]}, batch {sizes}, {s.rounds} rounds; pictures a second")
        if most:
            print(f"{s.workers} threads decode; bf16 matrix product: {most / 1e12:.0f} TFLOP/s")
        print(f"\n{speed_table(rows, flops, most)}")
        if s.out:
            add(rows, s.out, card)
        if s.megapixels:
            print(
                f"\nDecoded to {s.input_size[0]}x{s.input_size[1]} a second, {s.workers} threads, {s.rounds} rounds\n"
            )
            print(large_table({size: large(folder, size, network, s) for size in s.megapixels}, found))
        if s.memory:
            peaks = [peak(path, pictures, count, folder, s) for count in s.memory]
            print(f"\nPeak memory, network at {s.memory_size[0]}x{s.memory_size[1]}\n")
            print(memory_table(s.memory, peaks))


def named(card: str) -> str:
    """The machine, with the GPU that scores, if one does."""
    return f"{card}, {machine.machine()}" if card else machine.machine()


def planned(
    path: Path, pictures: Sequence[Path], s: Settings, engine: str = "openvino", compiled: bool = False
) -> dict[str, engines.Plan]:
    """The engines that are measured, by what they are called: both networks, each precision, each size of batch."""
    weights, found = [path, *([finding.find(s.lite)] if s.lite else [])], {}
    for each, precision, size in product(weights, s.precisions, s.batch_size or (None,)):
        plan = engines.decide(each, engine, precision, size, s.input_size, None, pictures, compiled=compiled).settled()
        case = f"{plan.network.name}, {plan.precision}{', compiled' if plan.compiled else ''}"
        found[f"{case}, batch {size}" if len(s.batch_size) > 1 else case] = plan
    return found


def planned_in_torch(path: Path, pictures: Sequence[Path], s: Settings) -> dict[str, engines.Plan]:
    """The same, of PyTorch's."""
    from koniq.engines.in_torch import choose, settle

    return planned(path, pictures, s, "torch", settle(choose(), "auto", s.compile)[1])


def as_if_alone(engine: Engine) -> Engine:
    """A compiled engine with the graph that it has alone in a process: for its own size of batch.

    Without this PyTorch, which has seen the network with another size, compiles one graph for all others.
    """
    from torch._dynamo import config

    def score(pixels: np.ndarray) -> np.ndarray:
        with config.patch(automatic_dynamic_shapes=False, recompile_limit=64):  # of this thread alone
            return engine.score(pixels)

    return replace(engine, score=score)


def of_engine(
    case: str, engine: Engine, facts: dict, paths: Sequence[Path], out: Path, workers: int
) -> dict[str, Callable[[], float]]:
    """What measures an engine alone and together with decoding, by the names of the rates."""
    before = replace(engine, network=engine.network.at(rules=FIRST))
    return {
        f"{case}: {ALONE}": lambda: alone(engine, paths),
        f"{case}: {WHOLE}": lambda: whole(engine, facts, paths, out, workers),
        f"{case}: {WHOLE}{BEFORE}": lambda: whole(before, facts, paths, out, workers),
    }


def written_prepared(folder: Path, network: Network, paths: Sequence[Path], workers: int) -> prepared.Prepared:
    """The pictures as `koniq prepare` leaves them, written once."""
    path = folder / "prepared.h5"
    if not path.is_file():
        ids = pd.DataFrame({"image_name": [path.name for path in paths], "image_path": paths})
        prepared.prepare(DataSet("lifelog", ids, folder=paths[0].parent), network, path, workers)
    return prepared.Prepared(path)


def write_weights(folder: Path, by_torch: bool = False) -> Path:
    """Random weights, by the framework that is needed anyway."""
    path = folder / ("random.safetensors" if by_torch else "random.weights.h5")
    if by_torch:
        state = {key: tensor.numpy() for key, tensor in KONCEPT512.build_torch().state_dict().items()}
        weights.write_state(state, path, KONCEPT512)
        sidecar.write_record(path, KONCEPT512)
    else:
        KONCEPT512.build().save_weights(path)
    return path


def peers(path: Path, network: Network, paths: Sequence[Path]) -> dict[str, Callable[[], float]]:
    """What measures the peer; nothing without pictures."""
    if not paths:
        return {}
    if in_kuti.PYTHON.is_file():
        print("The peer is kuti's")
        return {"peer": lambda: kuti_lifelog.lifelog_rate(path, paths, None, network.input_size)}
    print("The peer is its loop, stated again, for kuti itself is not there (make kuti)")
    in_keras.prepare()
    model = network.build()
    weights.load(model, path)
    return {"peer": lambda: peer(model, network, paths)}


def peer(model: "keras.Model", network: Network, paths: Sequence[Path]) -> float:
    """Pictures a second of the study's loop."""
    from keras.utils import img_to_array, load_img

    began, scores = time.perf_counter(), []
    for path in paths:
        picture = img_to_array(load_img(path, target_size=network.input_size, interpolation="nearest"))
        scores.append(model.predict(picture[None], verbose=0)[0, 0])
    return len(scores) / (time.perf_counter() - began)


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


def whole(
    engine: Engine,
    facts: dict,
    paths: Sequence[Path],
    out: Path,
    workers: int,
    files: prepared.Prepared | None = None,
) -> float:
    """Pictures a second of what lifelog_predict.py does once its engine has started.

    files: the pictures prepared, which are then taken from there, neither decoded nor hashed.
    """
    began = time.perf_counter()

    def decoded(path: Path) -> Opened:
        if files:
            return Opened(files[path.name])
        return with_content(path, lambda path: decode(path, engine.network))

    with ScoreFile(out, facts, overwrite=True) as file:
        scores = predict(engine, paths, workers, decoded=decoded)
        for score in scores:
            file.append(replace(score, name=Path(score.name).name))
    return len(paths) / (time.perf_counter() - began)


def speeds(found: pd.DataFrame, apart: bool = False) -> pd.DataFrame:
    """Of each rate, a column of `found` with a value a round: what the benchmark shows of it; NaN is nothing.

    median, low and high are pictures a second; ratio is to the peer, and share that of what decoding and engine allow
    together, both the medians of ratios within a round; hours are those of the study's lifelog; decoding is what
    decoding alone reaches, of what decodes. apart: the engine, on a GPU, takes no core from decoding.
    """
    rows = []
    for case in found:
        share = hours = decoded = np.nan
        name = case.removesuffix(BEFORE)
        if name.endswith(WHOLE):
            alone = found[f"decoding alone{BEFORE if case.endswith(BEFORE) else ''}"]
            engine = found[name.replace(WHOLE, ALONE)]
            bound = np.minimum(engine, alone) if apart else 1 / (1 / engine + 1 / alone)
            share, decoded = (found[case] / bound).median(), alone.median()
        elif name.endswith(PREPARED):
            share = (found[case] / found[name.replace(PREPARED, ALONE)]).median()
        if name.endswith((WHOLE, PREPARED)) or case == "peer":
            hours = LIFELOG / found[case].median() / 3600
        rates = found[case].median(), found[case].min(), found[case].max()
        ratio = (found[case] / found.peer).median() if "peer" in found else np.nan
        rows.append((case, *rates, ratio, share, hours, decoded))
    return pd.DataFrame(rows, columns=["case", "median", "low", "high", "ratio", "share", "hours", "decoding"])


def speed_table(rows: pd.DataFrame, flops: Mapping[str, float] | None = None, peak: float | None = None) -> str:
    """Markdown of `speeds`.

    peak: FLOP a second that the GPU reaches, which has two more columns: decoding alone, and the share of this rate;
    flops: what a picture needs in the cases of an engine.
    """
    bound = "share of min(decoding, engine)" if peak else "share of 1/(1/decoding + 1/engine)"
    heads = ["", "median", "rounds", "ratio to the peer", bound, f"hours for {LIFELOG:,}"]
    heads += ["decoding alone", "share of bf16 rate"] if peak else []

    def said(value: float, form: str) -> str:
        return "" if np.isnan(value) else format(value, form)

    shown = []
    for row in rows.itertuples():
        line = [row.case, f"{row.median:.2f}", f"{row.low:.2f} to {row.high:.2f}", said(row.ratio, ".2f")]
        line += [said(row.share, ".0%"), said(row.hours, ".1f")]
        if peak:
            line += [said(row.decoding, ".2f"), said(row.median * (flops or {}).get(row.case, np.nan) / peak, ".1%")]
        shown.append(line)
    return markdown_table(heads, shown)


def add(rows: pd.DataFrame, path: Path, card: str = "") -> None:
    """Add rates to a CSV, with the machine, what limits its processors' instructions, versions and commit.

    card: the GPU that scores.
    """
    limits = " ".join(f"{name}={os.environ[name]}" for name in ISA if name in os.environ)
    versions = machine.in_words(machine.versions())
    about = {"machine": named(card), "limits": limits, "versions": versions, "commit": machine.commit()}
    old = [tables.read_typed(path, ("limits",))] if path.is_file() else []
    rows = rows.drop(columns="decoding").assign(**about)
    write_csv(pd.concat([*old, rows], ignore_index=True), path)


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
