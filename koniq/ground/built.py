"""How this code came here: in a clone, or in a wheel, and of which commit.

It imports nothing of koniq: the build of a wheel (tools/wheel.py) runs this file by itself.
"""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent  # of the repository; or, installed, where packages lie
NOTED = Path(__file__).with_name("commit.txt")  # in what was built alone: the commit that it was built from
# A repository around an environment is not this one, so that git alone cannot tell.
IN_CLONE = (ROOT / "pyproject.toml").is_file() and (ROOT / "lifelog_predict.py").is_file()


def commit() -> str:
    """The git commit of this code, with "+" where files differed from it; "" where neither git nor a build knows."""
    if NOTED.is_file():
        return NOTED.read_text(encoding="utf-8").strip()
    if not IN_CLONE:
        return ""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def install(extra: str = "") -> str:
    """What a person types to install an extra, or what everybody needs: in a clone, or beside other packages."""
    if IN_CLONE:
        own = f"requirements-{extra}.txt"
        return f"pip install -r {own if (ROOT / own).is_file() else 'requirements.txt'}"
    return f'pip install "koniq[{extra}]"' if extra else "pip install koniq"
