"""The Dockerfile: what it runs is run here, in a new environment, as Docker is not at hand."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from odd_files import encoded, photograph

ROOT = Path(__file__).resolve().parent.parent
KNOWN = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "HEALTHCHECK", "CMD"}
LINES = [line for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines() if line[:1] not in ("", "#")]
TOKEN = "a-token-of-the-tests"


def in_git(*folders: str) -> list[str]:
    """The files in these folders that git has, or would take."""
    command = ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no clone")
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def of(instruction: str) -> list[str]:
    """What stands after an instruction, each time that it is there."""
    return [line.partition(" ")[2] for line in LINES if line.startswith(f"{instruction} ")]


def test_it_is_of_instructions_and_files_that_there_are():
    assert {line.split()[0] for line in LINES} <= KNOWN
    assert len(of("RUN")) >= 1
    for line in of("RUN"):
        words = shlex.split(line)
        assert words[:4] == ["python", "-m", "pip", "install"]
        assert all((ROOT / word).is_file() for word in words if word.endswith(".txt"))
        assert words[-1] == ".[serve]"
    (image,) = of("FROM")
    assert image.removeprefix("python:").removesuffix("-slim") in ("3.11", "3.12", "3.13")
    assert of("USER") == ["1000:1000"]


def test_what_is_left_out_of_it_is_nothing_that_a_build_needs():
    """By .dockerignore, of which the last pattern that fits decides."""
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    released = re.findall(r'^"(\S+)" = "koniq/released', project, re.MULTILINE)
    for name in [
        *in_git("koniq", "ku", "requirements", "tools"),
        *released,
        "README.md",
        "LICENSE",
        "lifelog_predict.py",
    ]:
        left_out = False
        for pattern in patterns:
            path = re.escape(pattern.removeprefix("!")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
            if re.match(f"{path}(/|$)", name):
                left_out = not pattern.startswith("!")
        assert not left_out, name


@pytest.mark.long
def test_its_run_lines_install_what_its_command_needs(tmp_path):
    """In an environment that sees the packages of the tests, so that nothing is fetched but what builds the wheel."""
    folder, environment = tmp_path / "src", tmp_path / "environment"
    for name in in_git("."):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    (own,) = {path for path in sys.path if path.endswith("site-packages") and Path(path, "numpy").is_dir()}
    (packages / "tests.pth").write_text(own)
    dropped = ("PYTHONPATH", "KONIQ_HOME", "VIRTUAL_ENV")
    clean = {name: value for name, value in os.environ.items() if name not in dropped}
    clean |= {"PATH": f"{environment}/bin{os.pathsep}{os.environ['PATH']}", "KONIQ_TOKEN": TOKEN}
    clean |= {"KONIQ_HOME": str(tmp_path / "data"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for line in of("RUN"):
        subprocess.run(line, shell=True, cwd=folder, env=clean, check=True, capture_output=True)
    (line,) = of("CMD")
    words = [*json.loads(line), "--port", "0"]
    words[words.index("0.0.0.0")] = "127.0.0.1"
    server = subprocess.Popen(words, cwd=tmp_path, env=clean, stdout=subprocess.PIPE, text=True)
    try:
        address = next(filter(None, (re.search(r"To open: (\S+)", text) for text in server.stdout)))[1]
        (check,) = of("HEALTHCHECK")
        health = json.loads(check.removeprefix("CMD "))
        assert health[2].count("http://127.0.0.1:8512/") == 1
        code = health[2].replace("http://127.0.0.1:8512/", address)
        subprocess.run([health[0], health[1], code], env=clean, check=True)
        headers = {"Content-Type": "image/jpeg", "Authorization": f"Bearer {TOKEN}"}
        with urlopen(Request(f"{address}v1/score", encoded(photograph()), headers)) as answer:
            (picture,) = json.load(answer)["pictures"]
        assert (picture["status"], picture["stands"]["table"]) == ("ok", "LIVE In the Wild")
    finally:
        server.terminate()
        server.wait(30)
