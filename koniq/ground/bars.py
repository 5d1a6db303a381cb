"""Bars and pictures where somebody looks: bars on a terminal and in a notebook, pictures below a cell of a notebook."""

import sys
from typing import Any

from tqdm.std import tqdm as _tqdm


def in_notebook() -> bool:
    """Whether a kernel of Jupyter runs this."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config


class tqdm(_tqdm):  # called as the library's own, which it stands in for
    """tqdm, for which a notebook is a terminal: with `disable=None` there is a bar there, too.

    It is text on stdout, as stderr is red there, and needs no widgets: a notebook that was kept shows how it ended.
    """

    def __init__(self, *of: Any, file: Any = None, disable: bool | None = False, **how: Any) -> None:
        if disable is None and file is None and in_notebook():
            file, disable = sys.stdout, False
        super().__init__(*of, file=file, disable=disable, **how)


def show(png: bytes) -> None:
    """Put a picture below the cell of a notebook; elsewhere nothing happens."""
    if in_notebook():
        from IPython.display import Image, display

        display(Image(png))
