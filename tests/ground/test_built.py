import shutil
import subprocess
import sys
from pathlib import Path

from koniq.ground import built

COMMIT = "import runpy, sys; found = runpy.run_path(sys.argv[1]); print(found['IN_CLONE'], found['commit'](), sep='|')"


def commit_at(root: Path) -> str:
    """Whether a copy of the file below `root` takes that for a clone, and the commit that it gives."""
    copy = root / "koniq" / "ground" / "built.py"
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(built.__file__, copy)
    done = subprocess.run([sys.executable, "-c", COMMIT, copy], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=koniq", "-c", "user.email=koniq@example.org")
    done = subprocess.run(["git", "-C", folder, *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_of_a_clone_and_whether_files_differ(tmp_path):
    for name in ("pyproject.toml", "lifelog_predict.py"):
        (tmp_path / name).touch()
    assert commit_at(tmp_path) == "True|"
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message", "all")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert commit_at(tmp_path) == f"True|{head}"
    (tmp_path / "lifelog_predict.py").write_text("# edited\n")
    assert commit_at(tmp_path) == f"True|{head}+"


def test_a_repository_around_an_environment_is_another_one(tmp_path):
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "--message", "somebody's")
    packages = tmp_path / "env" / "site-packages"
    assert commit_at(packages) == "False|"
    (packages / "koniq/ground/commit.txt").write_text("0123abcd+\n")
    assert commit_at(packages) == "False|0123abcd+"


def test_what_to_type_for_an_extra_is_there(monkeypatch):
    assert built.install("torch") == "pip install -r requirements-torch.txt"
    for extra in ("", "tensorflow", "photographs"):
        assert built.install(extra) == "pip install -r requirements.txt"
    monkeypatch.setattr(built, "IN_CLONE", False)
    assert built.install("torch") == 'pip install "koniq[torch]"'
    assert built.install() == "pip install koniq"
