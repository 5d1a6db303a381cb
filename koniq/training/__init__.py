"""Networks trained by the study's recipes, in Keras, in PyTorch and through kuti: runs, their stages, how they start.

It knows no table of results. Open stages.py first: what every training does, whatever its framework. Those are
in_keras.py, in_torch.py and in_kuti.py; run.py is the folder of a run, start.py the weights that it starts from,
teacher.py what is learnt in place of MOS. Apart from them stands taste.py: a head fitted to one person's ratings.

Names are imported when first used.
"""

from koniq.ground.lazy import names_of

_HOME = {
    "Learner": "stages",
    "Monitor": "stages",
    "Run": "run",
    "Stage": "stages",
    "Statistics": "run",
    "about": "run",
    "begun": "run",
    "by_xla": "start",
    "check_shared": "start",
    "initial": "start",
    "run_name": "run",
    "tested": "run",
}
__all__ = [*_HOME]
__getattr__ = names_of(__name__, _HOME)
