import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SAY = "from koniq.ground.log import LOG, aloud; {}LOG.info('100 % of {{}}'); LOG.warning('wrong')"


def said(before=""):
    done = subprocess.run(
        [sys.executable, "-c", SAY.format(before)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout, done.stderr


def test_whoever_imports_hears_nothing():
    assert said() == ("", "")


def test_a_command_prints_what_is_said_as_it_is_and_once():
    assert said("aloud(); aloud(); ") == ("100 % of {}\n", "wrong\n")


def test_a_program_hears_it_by_its_own_logging():
    out, err = said("import logging; logging.basicConfig(level=logging.INFO, format='%(name)s: %(message)s'); ")
    assert (out, err) == ("", "koniq: 100 % of {}\nkoniq: wrong\n")
