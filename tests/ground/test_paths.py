import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from koniq.ground import paths

ROOT = Path(__file__).resolve().parents[2]
SAY = """
import json
from pathlib import Path
from koniq.ground import paths
found = {name: value for name, value in vars(paths).items() if isinstance(value, Path)}
found["beside"] = paths.folder_beside(paths.RELEASED_MODELS / "koncept_lite/koncept_lite.json")
print(json.dumps(found, default=str))
"""


def places(code: Path, **environment: str) -> dict[str, Path]:
    """The places of koniq.ground.paths for the code below the folder `code`."""
    clean = {name: value for name, value in os.environ.items() if name not in ("KONIQ_HOME", "PYTHONPATH")}
    done = subprocess.run(
        [sys.executable, "-c", SAY], cwd=code, env=clean | environment, capture_output=True, text=True, check=True
    )
    return {name: Path(path) for name, path in json.loads(done.stdout).items()}


@pytest.fixture
def installed(tmp_path):
    """A folder like site-packages: the ground of koniq, and what comes along."""
    packages = tmp_path / "site-packages"
    (packages / "koniq").mkdir(parents=True)
    (packages / "koniq/__init__.py").touch()
    shutil.copytree(ROOT / "koniq/ground", packages / "koniq/ground")
    (packages / "koniq/released/koncept_lite").mkdir(parents=True)
    return packages


def test_a_clone_has_all_in_its_own_folders():
    found = places(ROOT)
    assert found["HOME"] == found["ROOT"] == ROOT
    assert found["IMAGES"] == ROOT / "koniq/images"
    assert found["RELEASED_MODELS"] == found["TRAINED_MODELS"] == ROOT / "trained_models"
    assert found["RESULTS"] == ROOT / "results"
    assert found["NEAR_COPIES"].is_file()
    assert found["beside"] == ROOT / "trained_models/koncept_lite"


def test_koniq_home_is_heeded_in_a_clone_and_what_git_keeps_stays_there(tmp_path):
    found = places(ROOT, KONIQ_HOME=str(tmp_path))
    for name in ("IMAGES", "METADATA", "MODELS", "TRAINED_MODELS", "DATASETS", "LIFELOG", "DOWNLOADS", "SAMPLE"):
        assert found[name] == tmp_path / places(ROOT)[name].relative_to(ROOT), name
    assert found["RESULTS"] == ROOT / "results"
    assert found["RELEASED_MODELS"] == ROOT / "trained_models"
    assert found["NEAR_COPIES"].is_file()
    assert places(ROOT, KONIQ_HOME="beside")["HOME"] == ROOT / "beside"  # for commands run elsewhere later, too


def test_installed_data_go_to_koniq_home_and_nothing_into_the_package(installed, tmp_path):
    home, cache = tmp_path / "home", tmp_path / "cache"
    found = places(installed, KONIQ_HOME=str(home), XDG_CACHE_HOME=str(cache))
    inside = {name for name, path in found.items() if installed in (path, *path.parents)}
    assert inside == {"ROOT", "_PACKED", "RELEASED_MODELS", "NEAR_COPIES"}
    assert {found["HOME"], found["IMAGES"].parents[1], found["RESULTS"].parent} == {home}
    if sys.platform == "linux":
        assert found["beside"] == cache / "koncept512"


def test_what_is_made_of_a_file_is_kept_beside_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert paths.folder_beside(tmp_path / "mine.h5") == tmp_path
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert paths.folder_beside(tmp_path / "mine.h5") == paths.user_cache()
