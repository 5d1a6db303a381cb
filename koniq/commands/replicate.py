"""The study's matrix, and ours beyond it: replicate.py of the clone, where the matrix stands to be read and edited."""

import sys
from importlib.util import module_from_spec, spec_from_file_location

from koniq.ground import InputError
from koniq.ground.paths import ROOT

SCRIPT = ROOT / "replicate.py"
if not SCRIPT.is_file():
    raise InputError(f"replicate should be run in a clone of the repository, which has {SCRIPT.name}. Received: {ROOT}")
_spec = spec_from_file_location("replicate", SCRIPT)
_script = sys.modules.setdefault("replicate", module_from_spec(_spec))
_spec.loader.exec_module(_script)
Settings, main = _script.Settings, _script.main
