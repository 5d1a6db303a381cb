"""The small tools: their import is cheap. What they do is tested where each is defined."""

import subprocess
import sys


def test_import_is_cheap():
    code = (
        "import sys, ku.generic; sys.exit(bool({'keras', 'tensorflow', 'torch', 'scipy', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
