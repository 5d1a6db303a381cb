"""The study's matrix, and ours beyond it: replicate.py of the clone, where the matrix stands to be read and edited.

python -m koniq replicate --list
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location

from koniq.ground.paths import ROOT

_spec = spec_from_file_location("replicate", ROOT / "replicate.py")
_script = sys.modules.setdefault("replicate", module_from_spec(_spec))
_spec.loader.exec_module(_script)
Settings, main = _script.Settings, _script.main
