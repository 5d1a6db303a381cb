"""The wheel: what is in it, what it asks for, and that it scores a picture where nothing else is installed."""

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from email import message_from_bytes
from importlib.metadata import Distribution, distributions
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import koniq
from koniq.ground import machine

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FRAMEWORKS = {"tensorflow", "keras", "torch"}
LARGEST = 15 * 2**20  # bytes
EXACT = ("--engine", "openvino", "--precision", "float32")

# Where int8 of the network that comes along would be kept, and where data are looked for.
KEPT = """
from koniq.network import find_or_default, sidecar
from koniq.engines.int8 import kept
path = find_or_default("")
print(kept(path, sidecar.network_of(path)))
"""
HOME = "from koniq.ground import paths; print(paths.HOME)"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built as `pip install .` builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT]
    subprocess.run(command, check=True, cwd=folder)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def metadata(wheel):
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def in_git(*folders: str) -> set[str]:
    """The files in these folders that git has, or would take."""
    command = ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no clone")
    return {name for name in done.stdout.splitlines() if (ROOT / name).is_file()}


def named(path: Path) -> set[Path]:
    """A requirements file and those that it names."""
    lines = path.read_text(encoding="utf-8").splitlines()
    below = [path.parent / line.removeprefix("-r ").strip() for line in lines if line.startswith("-r ")]
    return {path}.union(*map(named, below))


def required(path: Path) -> set[str]:
    """The requirements of a file and of those that it names."""
    lines = [line.strip() for file in named(path) for line in file.read_text(encoding="utf-8").splitlines()]
    return {line for line in lines if line and not line.startswith(("#", "-r "))}


def test_the_wheel_has_koniq_ku_and_what_comes_along_and_nothing_else(wheel):
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    along = PROJECT["tool"]["hatch"]["build"]["hooks"]["custom"]["released"]
    packages = in_git("koniq", "ku")
    noted = {"koniq/ground/commit.txt"} if machine.commit() else set()
    assert names == packages | {*along.values()} | noted
    assert {"koniq/py.typed", "koniq/__init__.py", "ku/files.py"} <= packages
    assert any(name.endswith("/base.html") for name in packages)
    assert in_git("trained_models/koncept_lite") <= along.keys()
    assert wheel.stat().st_size < LARGEST


def test_what_comes_along_is_what_lies_in_the_clone(wheel):
    along = PROJECT["tool"]["hatch"]["build"]["hooks"]["custom"]["released"]
    with ZipFile(wheel) as archive:
        for here, there in along.items():
            assert archive.read(there) == (ROOT / here).read_bytes(), here
        assert archive.read("koniq/ground/commit.txt").decode() == f"{machine.commit()}\n"


def test_the_version_is_that_of_the_code_and_the_command_is_the_door(wheel, metadata):
    assert metadata["Name"] == "koniq"
    assert metadata["Version"] == koniq.__version__
    assert wheel.name.startswith(f"koniq-{koniq.__version__}-py3-none-any")
    assert PROJECT["project"]["scripts"] == {"koniq": "koniq.commands.door:main"}
    for name in ("CHANGELOG.md", "CITATION.cff"):
        assert koniq.__version__ in (ROOT / name).read_text(encoding="utf-8"), name


def test_the_wheel_asks_for_what_the_requirements_files_name(metadata):
    asked = {}
    for line in metadata.get_all("Requires-Dist"):
        requirement, _, extra = line.partition("; extra == ")
        asked.setdefault(extra.strip("'\""), set()).add(requirement.replace(">=", "=="))
    core = asked.pop("")
    assert core == required(ROOT / "requirements/scoring.txt")
    assert not {line.partition("==")[0] for line in core} & FRAMEWORKS
    assert core | asked["tensorflow"] | asked["photographs"] == required(ROOT / "requirements.txt")
    for extra in asked.keys() - {"tensorflow", "photographs"}:
        assert asked[extra] == required(ROOT / f"requirements-{extra}.txt") - core, extra
    extras = {path.stem.partition("-")[2] for path in ROOT.glob("requirements-*.txt")} - {"kuti", "test"}
    assert extras <= asked.keys() == {*metadata.get_all("Provides-Extra")}


def test_every_pin_stands_once():
    lines = [line for path in ROOT.glob("requirements/*.txt") for line in path.read_text().splitlines()]
    pinned = [line.partition("==")[0] for line in lines if not line.startswith(("#", "-r "))]
    assert sorted(pinned) == sorted({*pinned})
    for path in ROOT.glob("requirements*.txt"):
        assert "==" not in "".join(line for line in path.read_text().splitlines() if not line.startswith("#")), path


def test_an_environment_is_made_again_when_a_list_changes():
    """By make: a list that it does not know of would go stale."""
    done = subprocess.run(["make", "-pn", ".venv/core"], cwd=ROOT, capture_output=True, text=True, check=True)
    needs = dict(line.split(":", 1) for line in done.stdout.splitlines() if line.startswith(".venv") and ":" in line)
    for target, name in ((".venv/core", ""), (".venv/test", "-test"), (".venv-kuti/core", "-kuti")):
        files = {path.relative_to(ROOT).as_posix() for path in named(ROOT / f"requirements{name}.txt")}
        assert files <= {*needs[target].split()}, target


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """An environment with the wheel in it, and what that asks for, at the versions of the tests: its Python."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pinned = ("--constraint", ROOT / "requirements/scoring.txt")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *pinned, wheel], check=True, cwd=folder)
    return python


def installed(python: Path) -> dict[str, Distribution]:
    """What is installed beside a Python, by name."""
    found = distributions(path=list(map(str, python.parents[1].rglob("site-packages"))))
    return {one.metadata["Name"].lower(): one for one in found}


def hashes(folder: Path) -> dict[str, str]:
    """The files below a folder, but for compiled ones, and what is in them."""
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.long
def test_a_picture_is_scored_in_an_empty_environment_from_another_folder(environment, tmp_path):
    home, away = tmp_path / "home", tmp_path / "away"
    away.mkdir()
    pixels = np.random.default_rng(5).integers(0, 255, (300, 400, 3), np.uint8)
    Image.fromarray(pixels).resize((1200, 900)).save(away / "photo.jpg")
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "KONIQ_HOME")}
    clean |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_DATA_HOME": str(tmp_path / "data")}

    def ran(*words: str, python: Path = environment, cwd: Path = away, **others: str) -> str:
        command = [environment.with_name("koniq"), *words] if words[0] != "-c" else [python, *words]
        done = subprocess.run(command, cwd=cwd, env=clean | others, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    packages = Path(installed(environment)["koniq"].locate_file(""))
    before = hashes(packages)
    assert not {*installed(environment)} & FRAMEWORKS
    assert "Model: koncept_lite" in ran("score", "photo.jpg", *EXACT, "--out", "mos.csv", KONIQ_HOME=str(home))
    ran("report", "mos.csv")
    assert "photo.jpg" in (away / "mos_report/report.html").read_text(encoding="utf-8")
    here = tmp_path / "here.csv"
    words = [
        sys.executable,
        "-m",
        "koniq",
        "score",
        away / "photo.jpg",
        "--weights",
        "koncept_lite",
        *EXACT,
        "--out",
        here,
    ]
    subprocess.run(words, cwd=ROOT, env=clean, check=True)
    of_wheel, of_clone = pd.read_csv(away / "mos.csv"), pd.read_csv(here)
    assert of_wheel.status.tolist() == ["ok"]
    assert of_wheel.drop(columns="image_path").equals(of_clone.drop(columns="image_path"))

    said = ran("--version")
    assert said == f"koniq {koniq.__version__}, commit {machine.commit() or 'unknown'}\n"
    assert Path(ran("-c", HOME, KONIQ_HOME=str(home)).strip()) == home
    if sys.platform == "linux":
        assert Path(ran("-c", HOME).strip()) == tmp_path / "data/koniq"
    mine = home / "trained_models/mine.safetensors"
    mine.parent.mkdir(parents=True)
    for suffix in (".safetensors", ".json"):
        shutil.copy(packages / f"koniq/released/koncept_lite/koncept_lite{suffix}", mine.with_suffix(suffix))
    ran("score", "photo.jpg", "--weights", "mine", *EXACT, "--out", "again.csv", KONIQ_HOME=str(home))
    assert pd.read_csv(away / "again.csv").equals(of_wheel)

    line = "import koniq; print(koniq.load(precision='float32', batch_size=1)('photo.jpg').mos)"
    assert float(ran("-c", line)) == pytest.approx(of_wheel.MOS[0], abs=0.01)
    unknown = subprocess.run([environment.with_name("koniq"), "scroe"], capture_output=True, text=True, check=False)
    assert "Did you mean koniq score?" in unknown.stderr
    assert packages not in Path(ran("-c", KEPT).strip()).parents
    assert hashes(packages) == before
    subprocess.run([environment, "-m", "pip", "uninstall", "--quiet", "--yes", "koniq"], check=True)
    assert not (packages / "koniq").exists()
    assert not (packages / "ku").exists()
