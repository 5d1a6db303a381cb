"""The walk of one picture from lifelog_predict.py to its row: `python tests/helpers/walk.py` prints it hop by hop.

A hop is a call from one file into another, of the functions that were entered while the script scored the picture.
"""

import contextlib
import io
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

# From the ground up.
FLOORS = (
    *("ku", "ground", "network", "data", "measure", "pictures", "fetch", "engines", "scoring"),
    *("xmp", "reports", "evaluation", "training", "study", "plugs", "serving", "commands", "scripts"),
)
LITE = ROOT / "trained_models/koncept_lite/koncept_lite.safetensors"


class Place(NamedTuple):
    """A function, and where it stands."""

    room: str
    file: str
    function: str

    @property
    def floor(self) -> int:
        return FLOORS.index(self.room)

    def __str__(self):
        return f"{self.room}/{self.file}.{self.function}" if self.room != "scripts" else f"{self.file}.{self.function}"


class Hop(NamedTuple):
    """A call, or, with the caller None, what a thread begins with, which was handed to it."""

    caller: Place | None
    callee: Place


def place_of(code) -> Place | None:
    """The function that a code object is of; None: a library's, or the body of a module or a class."""
    path = Path(code.co_filename)
    if not path.is_relative_to(ROOT) or path.is_relative_to(ROOT / "tests") or ".venv" in path.parts:
        return None
    parts = path.relative_to(ROOT).with_suffix("").parts
    room = "scripts" if len(parts) == 1 else "ku" if parts[0] == "ku" else parts[1]
    function = code.co_qualname.replace(".<locals>", "")
    return Place(room, parts[-1], function) if room in FLOORS and "<module>" not in function else None


def walked(work) -> list[Hop]:
    """What is entered while `work` is called, in order, in all of its threads; each hop once."""
    hops, lock = {}, threading.Lock()

    def seen(frame, event, _):
        if event != "call" or frame.f_code.co_name == "__del__" or not (callee := place_of(frame.f_code)):
            return  # of what is thrown away nobody calls that
        caller, back = None, frame.f_back
        while back and not (caller := place_of(back.f_code)):
            back = back.f_back
        with lock:
            hops.setdefault(Hop(caller, callee))

    threading.setprofile(seen)
    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return [*hops]


def of_a_picture(folder: Path) -> list[Hop]:
    """The hops of a picture that lifelog_predict.py scores by koncept_lite, what it imports being there already."""
    import numpy as np
    from PIL import Image

    import lifelog_predict

    def score(name):
        pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
        settings = lifelog_predict.Settings(
            (str(folder / f"{name}.png"),), weights=str(LITE), device="cpu", out=str(folder / f"{name}.csv")
        )
        lifelog_predict.main(settings)

    score("before")
    return walked(lambda: score("photo"))


def climbs(hops: list[Hop]) -> list[Hop]:
    """The calls from a floor into a higher one."""
    return [hop for hop in hops if hop.caller and hop.callee.floor > hop.caller.floor]


def markdown(hops: list[Hop]) -> str:
    """The hops, a line each: of calls from one file into another the first one, and what a thread begins with."""
    lines, seen = ["| from | into | floor |", "| --- | --- | --- |"], set()
    for hop in hops:
        files = tuple(place and place[:2] for place in hop)
        if files in seen or files[0] == files[1]:
            continue
        seen.add(files)
        if hop.caller:
            lines.append(f"| `{hop.caller}` | `{hop.callee}` | {hop.caller.floor} to {hop.callee.floor} |")
        elif hop.callee.room != "scripts":
            lines.append(f"| a thread that `scoring/loop` began | `{hop.callee}` | {hop.callee.floor} |")
    return "\n".join(lines)


def main():
    with TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        hops = of_a_picture(Path(folder))
    rooms = {hop.callee.room for hop in hops}
    print("## The walk of one picture\n")
    print(
        "One photograph scored by `lifelog_predict.py` with koncept_lite, traced: the first call from each file into\n"
        f"each other, in order. {len(rooms)} rooms with the script's, {len(climbs(hops))} calls into a higher floor,\n"
        "which `tests/scoring/test_walk.py` keeps so. Printed by `tests/helpers/walk.py`.\n"
    )
    print(markdown(hops))


if __name__ == "__main__":
    main()
