"""The one door: `python -m koniq COMMAND`, or `koniq COMMAND` where it is installed. One command's module is imported.

The table is data, so that the list of commands is there in a moment. A command's module has `Settings`, a dataclass
whose comments are its help, `main(settings)`, which may return an exit code, and a docstring, which begins its help.
"""

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any

from koniq.ground.built import IN_CLONE, ROOT
from koniq.ground.exits import BAD_INPUT
from koniq.ground.typed import command

# By what they are about: what is typed, its module in this room, and what it does.
SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Scores of your pictures": {
        "score": ("score", "a score, or the reason why not, for every picture, into a CSV"),
        "report": ("report", "the page of a CSV of scores: the best, the worst, how they lie"),
        "select": ("select", "the pictures at or above a threshold, or the best of each day, burst or group"),
        "tag": ("tag", "scores and stars for photo libraries: XMP sidecars, and back"),
        "compare": ("compare", "two CSVs of scores: how far two models agree"),
        "merge": ("merge", "CSVs of scores from several machines, made one"),
        "ray": ("ray", "scores by several machines, through Ray"),
        "serve": ("serve", "a page and an API that score pictures"),
    },
    "Models": {
        "test": ("test", "a network tested on a rated data set"),
        "calibrate": ("calibrate", "scores brought to the MOS scale, and intervals about them"),
        "learn": ("learn", "the small network taught one person's ratings"),
        "diagnose": ("diagnose", "what a network gets wrong, and what its scores hang on: a page"),
        "sense": ("sense", "whether scores fall where photographs are distorted"),
        "limits": ("limits", "where a network is out of its depth: text, drawings, a screenshot"),
        "convert": ("convert", "weights from one framework's file into another's"),
        "export": ("export", "scores as Parquet or for Excel; a network as ONNX or LiteRT"),
    },
    "Data": {
        "fetch": ("fetch", "data sets and weights, from the first source that works, checked"),
        "check": ("check", "what is there of a data set, against its table"),
        "prepare": ("prepare", "pictures resized once, into one file that training reads"),
        "split": ("split", "a table without sets, split into training, validation and test"),
        "group": ("group", "near copies found, so that splits keep them together"),
        "join": ("join", "rated data sets joined into one table, their MOS on one scale"),
        "sample": ("sample", "the built-in sample: synthetic labels, and a small lifelog"),
    },
    "The study": {
        "verify": ("verify", "whether published figures come out of released weights; if not, why not"),
        "replicate": ("replicate", "the study's matrix: what is missing trained and tested, tables, figures"),
        "results": ("results", "tests of finished runs, put into results/metrics.csv"),
        "recipe": ("recipe", "the released weights of koncept_lite made again"),
        "card": ("card", "their card, written from what was measured"),
        "scale": ("scale", "hours, memory and storage for so many pictures, by measured rates"),
        "demo": ("demo", "distorted photographs, and whether scores follow: what `make demo` shows"),
    },
}
COMMANDS: dict[str, tuple[str, str]] = {name: entry for section in SECTIONS.values() for name, entry in section.items()}
IN_CLONE_ALONE = {"replicate", "recipe", "card", "scale"}  # which go by the scripts or the results of a clone
SCRIPTS = "Training is the scripts' of a clone: koncept512_train.py, pytorch_train_koncept512.py; --help says how."
HELP = ("-h", "--help")


def main(words: Sequence[str] | None = None) -> None:
    """Run the command that `words` begin with (the process's own, if None); without one, list what there is."""
    words = list(sys.argv[1:] if words is None else words)
    name = words[0] if words else "--help"
    if name in COMMANDS:
        from koniq.commands import cli

        if name in IN_CLONE_ALONE and not IN_CLONE:
            sys.exit(cli.complain(f"{name} should be run in a clone of the repository. Received: {ROOT}", BAD_INPUT))
        module = import_module(f"koniq.commands.{COMMANDS[name][0]}")
        cli.run(module.main, module.Settings, words[1:], command(name))
    elif name in HELP:
        print(listed())
    elif name == "--version":
        from koniq.commands import cli

        print(cli.version())
    elif name.startswith("--tyro-"):  # --tyro-print-completion bash, and its like
        _complete(words)
    else:
        print(f"Error: {unknown(name)}", file=sys.stderr)
        sys.exit(BAD_INPUT)


def listed() -> str:
    """The commands, a line each."""
    width = max(map(len, COMMANDS))
    lines = [f"usage: {command('COMMAND')} [OPTIONS]; {command('COMMAND --help')} says more", ""]
    for title, section in SECTIONS.items():
        lines += [f"{title}:", *(f"  {name:{width}}  {what}" for name, (_, what) in section.items()), ""]
    return "\n".join([*lines, SCRIPTS])


def unknown(name: str) -> str:
    """What is said of a word that is no command: the nearest one, if one is near."""
    near = get_close_matches(name.lower(), COMMANDS, 1)
    ask = f"Did you mean {command(near[0])}? " if near else ""
    return f"A command should be one of {', '.join(COMMANDS)}. Received: {name}. {ask}{command('--help')} lists them."


def _complete(words: Sequence[str]) -> None:
    """Print what a shell completes commands and their options by; all modules are imported for it."""
    import tyro

    def reader(settings: type[Any]) -> Any:
        def read(given: Annotated[settings, tyro.conf.arg(name="")]) -> None:
            """Nothing: completion is printed, and no command run."""

        return read

    modules = {name: import_module(f"koniq.commands.{module}") for name, (module, _) in COMMANDS.items()}
    readers = {name: reader(module.Settings) for name, module in modules.items()}
    tyro.extras.subcommand_cli_from_dict(readers, prog="koniq", args=words)
