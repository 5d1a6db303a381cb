"""README and docs/: short, linked, and every command in them is one that its own parser takes, and that runs."""

import dataclasses
import importlib
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pandas as pd
import pytest
import skimage.data
import tyro
from commands import ended
from made import LIVE_NAMES, koncept512, live_tables, picture, tarred
from PIL import Image, ImageEnhance, ImageFilter
from scored import write_scores
from served import served
from store import s3

from koniq.commands import cli, door
from koniq.ground.log import LOG
from koniq.ground.paths import ROOT, TRAINED_MODELS
from koniq.scoring import exporting

DOCS = ROOT / "docs"
README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
PAGES = [README, CONTRIBUTING, *sorted(DOCS.glob("*.md"))]
TEXTS = [*PAGES, *(ROOT / name for name in ("trained_models/README.md", "datasets/README.md"))]
LONGEST = 120  # lines of the README

# What is typed, after the interpreter: what is there once it has run, in a folder with the files that its text names.
RUN = {
    "koniq": (),
    "koniq score my_picture.jpg": ("lifelog_mos.csv",),
    "koniq report lifelog_mos.csv": ("lifelog_mos_report/report.html",),
    "koniq compare my_photos.csv by_another_model.csv": ("my_photos_and_by_another_model",),
    "koniq select my_photos.csv --percentile 80": ("my_photos_selected.csv", "my_photos_selected.csv.json"),
    "koniq select my_photos.csv --at-least 50": ("my_photos_selected.csv",),
    "koniq select my_photos.csv --best 2": ("my_photos_selected.csv",),
    "koniq select my_photos.csv --best 10 --best-per day --copies best_of_each_day": (
        *("my_photos_selected.csv", "my_photos_groups/report.html", "my_photos_groups/groups.csv", "best_of_each_day"),
    ),
    "koniq select my_photos.csv --best-of bursts --near -1 --gap 10": ("my_photos_groups/report.html",),
    "koniq select my_photos.csv --groups groups.csv": ("my_photos_groups/report.html",),
    "koniq export my_photos.csv my_photos.parquet": ("my_photos.parquet",),
    "koniq export my_photos.csv my_photos.xlsx": ("my_photos.xlsx",),
    "koniq export my_photos.parquet again.csv": ("again.csv", "again.csv.json"),
    "koniq report my_photos.parquet": ("my_photos_report/report.html",),
    "koniq compare my_photos.parquet by_another_model.parquet": ("my_photos_and_by_another_model/report.html",),
    "koniq select my_photos.parquet --percentile 80 --out best_fifth.csv": ("best_fifth.csv", "best_fifth.csv.json"),
    "koniq tag my_photos.csv": (),
    **dict.fromkeys(
        (
            "koniq tag my_photos.csv --write",
            "koniq tag my_photos.csv --rating percentile --write",
            "koniq tag my_photos.csv --cuts 30 45 60 75 --write",
        ),
        ("my_photos/coffee.jpg.xmp", "my_photos_tags.jsonl"),
    ),
    "koniq tag --undo my_photos_tags.jsonl": (),
    "koniq split mine.csv --group-column scene --seed 2": ("mine-split.csv",),
    "koniq check mine.csv --images my_folder --out findings.csv": ("findings.csv",),
    "koniq prepare mine.csv --images my_folder --resize bicubic": (),
    "koniq fetch --list": (),
    "koniq scale --pictures 50000000 --core-hour 0.04 --gpu-hour 2.50 --gb-month 0.02": (),
    "koniq fetch koncept512/original": ("trained_models/koncep512-trained-model.h5",),  # from the loopback
    "koniq fetch live_itw --archive ChallengeDB_release.zip": ("koniq/images/live_500x500/1.bmp",),
    "koniq convert my_run mine.pth": ("mine.pth",),
    "koniq convert my_run mine.safetensors --half": ("mine.safetensors",),
    "koniq calibrate --weights my_run --remove": (),
    "replicate.py --list --no-estimate": (),
}
RUN_LONG = {  # of make test-long
    "lifelog_predict.py my_photos --out my_photos.csv": ("my_photos.csv", "my_photos.csv.json"),
    "koniq score my_photos": ("lifelog_mos.csv",),
    "koniq score my_photos --out my_photos.csv": ("my_photos.csv",),
    "koniq score my_photos --out my_photos.csv --intervals": ("my_photos.csv",),
    "koniq score my_photos --list-excluded": ("lifelog_mos.csv",),
    "koniq score my_photos --exclude '*_small.jpg' 'drafts/*'": ("lifelog_mos.csv",),
    "koniq report my_photos.csv": ("my_photos_report/report.html",),
    "koniq report my_photos.csv --times exif": ("my_photos_report/report.html",),
    "koniq report my_photos.csv --times names": ("my_photos_report/report.html",),
    "koniq score my_photos --shard 3/8 --out part_3.csv": ("part_3.csv", "part_3.csv.json"),
    "koniq select my_photos.csv --best-of bursts --links keepers": ("my_photos_groups/report.html", "keepers"),
    "koniq group mine.csv --images my_folder": ("mine-groups.csv",),
    "koniq calibrate --weights my_run --dataset rated.csv --images my_folder --engine auto": (),
    "koniq test --weights koncept_lite --dataset mine.csv --images my_folder --out my_test": ("my_test/metrics.csv",),
    "koniq diagnose --weights koncept_lite --engine openvino --dataset mine.csv --images my_folder"
    " --out my_diagnosis": ("my_diagnosis/report.html",),
    "koniq learn my_ratings.csv --images my_pictures --out my_taste.safetensors": (
        "my_taste.safetensors",
        "my_taste.json",
    ),
    "koniq sense --images my_photos": (),
    "koniq limits --out limits.png": ("limits.png",),
    "koniq export my_run mine.onnx": ("mine.onnx",),
    "koniq export koncept_lite lite.tflite": ("lite.tflite",),
    "koniq export koncept_lite lite.onnx --pictures my_photos": ("lite.onnx",),
    "koniq demo demo": ("demo/photos/coffee_blur_4.jpg",),
    **dict.fromkeys(  # from a store on the loopback
        (
            "koniq score s3://my-bucket/my_photos --out my_photos.csv",
            "koniq score list.csv --images s3://my-bucket/my_photos --out my_photos.csv",
            "koniq score 's3://my-bucket/my_photos/*.jpg' s3://my-bucket/more/photo.jpg --out my_photos.csv",
        ),
        ("my_photos.csv",),
    ),
    "koniq score s3://my-bucket/my_photos --out s3://my-bucket/my_photos.csv": (),
    "pytorch_train_koncept512.py --network koncept_lite --hold 17 --epochs 15 5 --dataset mine.csv --images my_folder"
    " --run ./my_head": ("my_head/settings.json",),
}
LSC21 = "needs the lifelog of LSC'21"
KONIQ10K, HOST = "needs KonIQ-10k, or another data set that is not here", "needs hosts on the web"
HOURS, KUTI, ITSELF = "takes an hour or more", "needs the environment of kuti", "other tests, or the user, run it"
SERVES = "does not end: tests/serving/test_load.py runs it"
MEASURES, OURS = "measures for as long as it takes", "writes what this repository has measured"
EXTRAS = (
    *("tensorflow", "torch", "onnx", "int8", "lite", "photographs", "heif,raw,jxl", "stores,gcs", "tables", "ray"),
    *("culling", "serve", "metrics,hub"),
)
LISTS = (
    *("int8", "onnx", "torch", "lite", "heif", "raw", "jxl", "stores", "gcs", "tables", "ray"),
    *("culling", "serve", "metrics", "hub"),
)
NOT_RUN = {
    "koncept512_train.py": KONIQ10K,
    "koncept512_train.py --batch-size 4 --loss plcc": KONIQ10K,
    "koncept512_train.py --batch-size 16 --micro-batch 2 --statistics trailing": KONIQ10K,
    "koncept512_train.py --dataset mine.csv --images my_folder": HOURS,
    "koncept512_train_with_kuti.py": KUTI,
    "koncept512_test.py --weights koniq-10k-mse-b8-384x512-s1": KONIQ10K,
    "koncept512_test.py --weights koniq-10k-mse-b8-384x512-s1 --dataset live_itw": KONIQ10K,
    "koniq diagnose --weights koniq-10k-mse-b8-384x512-s1 --dataset live_itw": KONIQ10K,
    "pytorch_train_koncept512.py": KONIQ10K,
    "pytorch_train_koncept512.py --batch-size 16 --micro-batch 2 --statistics trailing": KONIQ10K,
    "pytorch_train_koncept512.py --network koncept_lite --teacher ./my_head --images my_folder": HOURS,
    "pytorch_test_koncept512.py --weights my_run": KONIQ10K,
    "koncept512_train.py --devices 2 --batch-size 16": KONIQ10K,
    "koncept512_train.py --devices 2 --device cpu --input-size 192 256": KONIQ10K,
    "torchrun --nproc-per-node 2 -- pytorch_train_koncept512.py": KONIQ10K,
    "torchrun --nnodes 2 --nproc-per-node 4 --max-restarts 3 --rdzv-backend c10d --rdzv-id my_run"
    " --rdzv-endpoint node-a:29500 -- pytorch_train_koncept512.py --batch-size 32 --run my_run --resume": KONIQ10K,
    "replicate.py": KONIQ10K,
    "replicate.py --rows pytorch-mse-b8-study --seeds 1": KONIQ10K,
    "koniq convert KonCept512.pth study.safetensors --pooling 8x8": "needs weights that are not here",
    "pytorch_test_koncept512.py --weights KonCept512.pth --pooling 8x8": KONIQ10K,
    "replicate.py --list": "measures steps for minutes: tests/study/test_estimate.py has the same at a smaller size",
    "replicate.py --render": OURS,
    "replicate.py --quick": "takes a minute: tests/test_replication.py has the same at a smaller size",
    "replicate.py --dataset mine.csv --images my_folder --recipe small": HOURS,
    "koniq score my_photos --out my_photos.csv --weights koncep512-trained-model.h5": "needs weights that are not here",
    **dict.fromkeys(
        (
            "koniq learn my_photos --xmp --out my_taste.safetensors",
            "koniq score my_photos --weights my_taste.safetensors --out my_scores.csv",
        ),
        "tests/training/test_taste.py has the same",
    ),
    "koniq calibrate --weights koncep512-trained-model.h5": KONIQ10K,
    "koniq score my_photos --weights ./of_the_hub": "needs such a folder: tests/plugs/test_hub.py has one",
    "koniq fetch koniq10k live_itw biq2021 imagenet koncept512/original": HOST,
    "koniq fetch koncept512": HOST,
    "koniq fetch koncept512/pytorch-b8": HOST,
    "koniq fetch koniq10k live_itw koncept512": HOST,
    "koniq verify": KONIQ10K,
    "koniq verify --weights my_copy.h5 --table koniq10k_distributions_sets.csv --images my_folder": KONIQ10K,
    "koniq check koniq10k": KONIQ10K,
    "koniq prepare koniq10k": KONIQ10K,
    "koniq prepare koniq10k --images koniq/images/1024x768": KONIQ10K,
    "koniq join biq2021 live_itw --map biq2021=0.71,9.8 --out both.csv": KONIQ10K,
    "koniq sample": "writes 1,632 pictures, as tests/test_sample.py has it do elsewhere",
    "koniq recipe": HOURS,
    "koniq card": OURS,
    "koniq scale --write": OURS,
    **dict.fromkeys((f"benchmarks.{name} --record" for name in ("footprint", "stores", "tables")), OURS),
    "benchmarks.lists --rows 10000000 --record": OURS,
    "benchmarks.ray_cluster --kills 10 --record": OURS,
    "koniq results my_test --name koncept_lite --part 'held-out fifth'": OURS,
    "lifelog_predict.py demo/photos --weights koncept_lite --out demo/photos_mos.csv": ITSELF,
    "koniq demo demo --scores demo/photos_mos.csv": ITSELF,
    **dict.fromkeys(
        ("koniq merge 'part_*.csv' --out all.csv", "koniq merge 'part_*.csv' --out all.csv --pictures my_photos"),
        ITSELF,
    ),
    "lifelog_predict.py --rules study --columns study --weights koncep512-trained-model.h5 --out original.csv": LSC21,
    "lifelog_predict.py --rules study --columns study --weights my_run --no-calibrate --out own.csv": LSC21,
    "koniq ray my_photos --out my_photos.csv": "starts Ray: tests/scoring/test_in_ray.py has the same",
    "koniq ray my_photos --out my_photos.csv --address auto": "needs a cluster",
    "koniq ray my_photos --out my_photos.csv --address head:6379 --machines 16": "needs a cluster",
    "sbatch examples/slurm_ray.sh my_photos my_photos.csv": "needs SLURM: tests/scoring/test_in_ray.py runs the file",
    "sbatch --nodes 16 examples/slurm_ray.sh list.csv my_photos.csv --weights my_run": "needs SLURM",
    "koniq serve": SERVES,
    "koniq serve --intervals --port 8600": SERVES,
    "koniq serve --host 0.0.0.0": SERVES,
    "benchmarks.lifelog": MEASURES,
    "benchmarks.lifelog --out results/speed.csv": MEASURES,
    "benchmarks.fit": MEASURES,
    "benchmarks.moments": MEASURES,
    "benchmarks.bounds": MEASURES,
    "benchmarks.feeding": MEASURES,
    "benchmarks.training --batch-size 8 16 64 --steps 20": MEASURES,
    "benchmarks.lifelog --batch-size 8 16 64 --precisions mixed_bfloat16": MEASURES,
    "benchmarks.training": MEASURES,
    "benchmarks.tables": MEASURES,
    "benchmarks.tensors my_photos": MEASURES,
    "benchmarks.stores": MEASURES,
    "benchmarks.virtual_batch": MEASURES,
    "benchmarks.engines": MEASURES,
    "benchmarks.engines koniq/images/live_500x500 --weights my_run": MEASURES,
    **dict.fromkeys(
        ("make demo", "make test", "make test-portable", "make test-long", "make test-cluster", "make demo-train"),
        ITSELF,
    ),
    **dict.fromkeys(("make kuti", "make test-kuti"), KUTI),
    "make card": OURS,
    "make wheel": "builds what tests/test_wheel.py builds",
    **dict.fromkeys(
        (
            *("pip install .", *(f"pip install '.[{extra}]'" for extra in EXTRAS)),
            *(f"pip install -r requirements-{name}.txt" for name in LISTS),
            "pip install 'tensorflow[and-cuda]==2.21.0'",
            "pip install -r requirements.txt 'tensorflow[and-cuda]==2.21.0'",
            "pip install -r requirements/scoring.txt -r requirements-torch.txt",
        ),
        "installs",
    ),
}

PYTHON = re.compile(r"^(\.venv(-kuti)?/bin/)?python$")
STARTS = re.compile(r"((\.venv(-kuti)?/bin/)?python|koniq|make|pip|torchrun) \S")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")


def prose(path: Path) -> str:
    return BLOCK.sub("", path.read_text(encoding="utf-8"))


def blocks(path: Path, language: str) -> list[str]:
    """The code blocks of a page in a language; "": what is typed into a shell."""
    return [text for name, text in BLOCK.findall(path.read_text(encoding="utf-8")) if name == language]


def spans(path: Path) -> list[str]:
    """What stands between backticks in a line of prose, or over two lines."""
    return [" ".join(text.split()) for text in SPAN.findall(prose(path))]


def typed(line: str) -> list[str]:
    """The words of a command after the interpreter: koniq NAME ..., SCRIPT.py ..., benchmarks.NAME ..., make ..."""
    words = shlex.split(line, comments=True)
    if words and PYTHON.match(words[0]):
        words = words[1:]
        words = words[1:] if words[0] == "-m" else words
    return words


def found(path: Path) -> Iterator[list[str]]:
    """Every command of a page: the lines of its blocks, and what its prose names with arguments."""
    for text in blocks(path, ""):
        yield from filter(None, map(typed, text.replace("\\\n", " ").splitlines()))
    commands = (typed(text) for text in spans(path) if STARTS.match(text))
    yield from (words for words in commands if words[0] != "koniq" or len(words) != 2)  # more than its name


EVERY = [
    # torchrun's parser comes with half of PyTorch
    pytest.param(words, id=shlex.join(words), marks=[pytest.mark.long] * (words[0] == "torchrun"))
    for words in sorted({tuple(words) for path in TEXTS for words in found(path)})
]
every_page = pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())


# The pages


def test_the_readme_is_a_first_screen():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= LONGEST


def links(path: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(path))


def anchors(path: Path) -> set[str]:
    """What a heading is linked by, as GitHub makes it."""
    heads = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@every_page
def test_every_link_leads_somewhere(path):
    for link in links(path):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_reached_from_the_readme():
    reached, waiting = set(), [README]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        near = {(page.parent / link.partition("#")[0]).resolve() for link in links(page) if "://" not in link}
        waiting += [path for path in near - reached if path in PAGES]
    assert reached == {*PAGES}
    first = {(ROOT / link).resolve() for link in links(README) if "://" not in link}
    assert {*DOCS.glob("*.md")} <= first


def test_readme_and_house_name_the_rooms_that_there_are_and_files_that_are_there():
    rooms = {path.parent.name for path in (ROOT / "koniq").glob("*/__init__.py")}
    assert {*re.findall(r"^\| `(\w+)` \|", README.read_text(encoding="utf-8"), re.MULTILINE)} == rooms
    lines = re.findall(r"^\| \d+ \| `(\w+)` \| (.*) \|$", (DOCS / "house.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {room for room, _ in lines} == rooms
    for room, text in lines:
        named = re.findall(r"`(\w+\.py)`", text)
        assert [name for name in named if not (ROOT / "koniq" / room / name).is_file()] == [], room


# Their commands


def module_of(words: tuple[str, ...]):
    """The module with Settings and main that a command's first words name, and the words left for its parser."""
    if words[0] == "koniq":
        return importlib.import_module(f"koniq.commands.{door.COMMANDS[words[1]][0]}"), list(words[2:])
    return importlib.import_module(words[0].removesuffix(".py")), list(words[1:])


def parsed_by_make(words):
    target, *variables = words
    assert re.search(rf"^\.PHONY:.*\b{re.escape(target)}\b", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert all(re.search(rf"^{word.partition('=')[0]} ", (ROOT / "Makefile").read_text(), re.M) for word in variables)


def parsed_by_pip(words):
    assert words[0] == "install"
    if words[1] == "-r":
        assert (ROOT / words[2]).is_file()
        return
    from packaging.requirements import Requirement

    if not words[1].startswith("."):
        asked = Requirement(words[1])
        pins = "\n".join(path.read_text() for path in ROOT.glob("requirements/*.txt")).splitlines()
        assert f"{asked.name}{asked.specifier}" in pins
        return
    hook = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["metadata"]["hooks"]["custom"]
    assert Requirement(f"koniq{words[1][1:]}").extras <= {*hook["extras"]}


def parsed_by_torchrun(words):
    run = pytest.importorskip("torch.distributed.run")
    of_torch = run.get_args_parser().parse_args(list(words))
    return of_torch.training_script, *of_torch.training_script_args


def parsed_by_sbatch(words):
    """What examples/slurm_ray.sh makes of its words."""
    at = next(number for number, word in enumerate(words) if word.endswith(".sh"))
    assert (ROOT / words[at]).is_file()
    pictures, out, *more = words[at + 1 :]
    return ("koniq", "ray", pictures, "--out", out, "--address", "head:20001", "--machines", "4", *more)


@pytest.mark.parametrize("words", EVERY)
def test_every_command_is_taken_by_its_own_parser(words):
    if words[0] == "make":
        return parsed_by_make(words[1:])
    if words[0] == "pip":
        return parsed_by_pip(words[1:])
    if words == ("koniq",):
        return door.main([])
    if words[0] == "torchrun":
        words = parsed_by_torchrun(words[1:])
    if words[0] == "sbatch":
        words = parsed_by_sbatch(words[1:])
    module, arguments = module_of(words)
    if words[0].startswith("benchmarks.") and not arguments:
        return None  # named, not called
    cli.check(tyro.cli(module.Settings, args=arguments))


@cache
def flags() -> frozenset[str]:
    """Every flag of every script and command, and those that all of them have."""
    modules = [path.stem for path in ROOT.glob("*.py")] + [
        f"koniq.commands.{name}" for name, _ in door.COMMANDS.values()
    ]
    modules += [
        f"benchmarks.{path.stem}"
        for path in (ROOT / "benchmarks").glob("*.py")
        if path.stem not in ("processes", "recorded")
    ]
    kinds = [importlib.import_module(name).Settings for name in modules]
    names = {"help", "quiet", "version", "max_restarts", "nnodes"}  # the last two are torchrun's
    while kinds:
        kind = kinds.pop()
        hints = get_type_hints(kind)
        kinds += [hint for hint in hints.values() if dataclasses.is_dataclass(hint)]
        names |= {*hints} | {f"no_{name}" for name, hint in hints.items() if hint is bool}
    return frozenset(f"--{name.replace('_', '-')}" for name in names)


@every_page
def test_commands_and_flags_named_in_prose_are_there(path):
    for text in spans(path):
        words = text.split()
        if words[0] == "koniq" and len(words) > 1:
            assert words[1] in door.COMMANDS or words[1] in ("NAME", "COMMAND"), text
        if words[0].startswith("--") and not words[0].startswith("--tyro"):
            assert words[0] in flags(), text


def test_each_command_is_in_one_list_and_each_list_is_of_commands_that_there_are():
    lists = [*RUN, *RUN_LONG, *NOT_RUN]
    assert len({*lists}) == len(lists)
    there = {shlex.join(words) for path in TEXTS for words in found(path)}
    assert there - {*lists} == set(), "say whether it is run, or why not"
    assert {*lists} - there == set(), "no page has it any longer"


def test_commands_has_a_line_for_each_command():
    lines = re.findall(r"^\| `koniq (\w+)` \|", (DOCS / "commands.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(lines) == sorted(door.COMMANDS)


# Run


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with everything that the pages call `my_...` and `mine`: photographs of scikit-image, small."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("my_photos", "my_folder", "my_run"):
        (folder / name).mkdir()
    photos = {
        name: Image.fromarray(getattr(skimage.data, name)()).resize((160, 120))
        for name in ("astronaut", "chelsea", "coffee")
    }
    exif = Image.Exif()
    exif[0x8769] = {0x9003: "2016:08:15 13:13:15"}  # DateTimeOriginal
    for name, photo in photos.items():
        photo.save(folder / "my_photos" / f"{name}.jpg", exif=exif)
    for name in ("my_picture.jpg", "photo.jpg"):
        photos["coffee"].save(folder / name)
    rng, rows = np.random.default_rng(5), []
    for number in range(120):  # of which the test part has 24
        blur = rng.uniform(0, 6)
        photo = list(photos.values())[number % 3].filter(ImageFilter.GaussianBlur(blur))
        photo.save(folder / "my_folder" / f"{number}.jpg")
        rows.append((f"{number}.jpg", 80 - 10 * blur, number // 2))
    table = pd.DataFrame(rows, columns=["image_name", "MOS", "scene"])
    table.to_csv(folder / "mine.csv", index=False)
    table[:24].assign(set="validation").to_csv(folder / "rated.csv", index=False)
    (folder / "groups.csv").write_text("image_path,group\ncoffee.jpg,1\nchelsea.jpg,1\n")
    write_ratings(folder, [*photos.values()])
    scores = [(f"my_photos/{name}.jpg", 40.0 + 10 * number) for number, name in enumerate(photos)]
    for name, more in (("my_photos", 0), ("lifelog_mos", 0), ("by_another_model", 5)):
        write_scores(
            folder / f"{name}.csv", [(path, mos + more) for path, mos in scores], model=name, roots=[str(folder)]
        )
    for name in ("my_photos", "by_another_model"):
        if all(map(find_spec, ("pyarrow", "duckdb", "xlsxwriter"))):  # else their absence is named
            exporting.export(folder / f"{name}.csv", folder / f"{name}.parquet")
    for suffix in (".safetensors", ".json"):
        shutil.copy(TRAINED_MODELS / f"koncept_lite/koncept_lite{suffix}", folder / f"my_run/my_run{suffix}")
    files = {f"Data/{name}": content for name, content in live_tables(folder / "live").items()}
    files |= {f"Images/{name}": picture((500, 500), seed, "BMP") for seed, name in enumerate(LIVE_NAMES)}
    (folder / "ChallengeDB_release.zip").write_bytes(tarred(files))  # zip or tar: by what is in it
    return folder


def write_ratings(folder: Path, photos: list[Image.Image]) -> None:
    """Cuttings of photographs, as bright as chance has it, rated by somebody who likes them dark."""
    rng, rows = np.random.default_rng(6), []
    (folder / "my_pictures").mkdir()
    for number, dark in enumerate(rng.uniform(size=40)):
        left, top = rng.integers(0, 80), rng.integers(0, 60)
        cutting = photos[number % 3].crop((left, top, left + 80, top + 60))
        cutting = ImageEnhance.Brightness(cutting).enhance(1 - 0.8 * dark)
        cutting.save(folder / "my_pictures" / f"{number}.jpg")
        rows.append((f"{number}.jpg", 1 + round(4 * dark)))
    pd.DataFrame(rows, columns=["image_name", "stars"]).to_csv(folder / "my_ratings.csv", index=False)


@pytest.fixture
def folder(prepared, tmp_path, monkeypatch):
    """A copy of it, to work in; what is fetched goes there."""
    folder = tmp_path / "work"
    shutil.copytree(prepared, folder)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("KONIQ_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    return folder


@contextmanager
def stored(folder: Path) -> Iterator[None]:
    """What the pages have in a store is in one on the loopback."""
    with pytest.MonkeyPatch.context() as patch, s3(patch) as store:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        store.put_folder(folder / "my_photos", "my_photos/", "my-bucket")
        store.put("more/photo.jpg", (folder / "photo.jpg").read_bytes(), "my-bucket")
        (folder / "list.csv").write_text("image_path\ncoffee.jpg\n")
        yield


def run(folder: Path, text: str, made: tuple[str, ...]) -> None:
    if "s3://" in text:
        with stored(folder):
            return run_here(folder, text, made)
    return run_here(folder, text, made)


def run_here(folder: Path, text: str, made: tuple[str, ...]) -> None:
    if text == "koniq":
        return door.main([])
    module, arguments = module_of(tuple(shlex.split(text)))
    if "--out" in arguments:
        Path(arguments[arguments.index("--out") + 1]).unlink(missing_ok=True)
    if " export " in text:
        Path(arguments[1]).unlink(missing_ok=True)
    if " score " in text:
        (folder / "lifelog_mos.csv").unlink()
    if " tag " in text:
        here = ["--images", str(folder)]  # not where they were copied from
        if "--undo" in text:
            assert ended(module, "my_photos.csv", "--write", *here) == 0
        else:
            arguments += here
    if "fetch" in text and "--list" not in text:
        arguments += ["--root", str(folder)]
    if text.endswith("koncept512/original"):
        weights = koncept512(folder / "weights.h5")
        with served({"koncep512-trained-model.h5": weights}) as server:
            assert ended(module, *arguments, "--mirror", server.url("")) == 0
    else:
        assert ended(module, *arguments) == 0
    for name in made:
        assert (folder / name).exists(), name
    return None


@pytest.mark.parametrize("text", RUN, ids=[*RUN])
def test_it_runs(folder, text):
    run(folder, text, RUN[text])


@pytest.mark.long
@pytest.mark.parametrize("text", RUN_LONG, ids=[*RUN_LONG])
def test_it_runs_and_takes_longer(folder, text):
    run(folder, text, RUN_LONG[text])


@pytest.mark.parametrize("path", [README, pytest.param(DOCS / "api.md", marks=pytest.mark.long)], ids=["README", "api"])
def test_the_lines_of_python_run(folder, path, capsys, monkeypatch):
    said = []
    monkeypatch.setattr(LOG, "disabled", True)  # as where nobody turned it on
    for text in blocks(path, "python"):
        exec(compile(text, path.name, "exec"), {"print": lambda *things: said.append(things)})
    assert capsys.readouterr() == ("", "")
    (mos,) = said[0]
    assert 0 < mos < 100
