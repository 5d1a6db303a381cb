"""Our networks under pyiqa's names: what its entry point "pyiqa.archs" loads, and `register_in_pyiqa` calls."""

from pyiqa.default_model_configs import DEFAULT_CONFIGS
from pyiqa.utils.registry import ARCH_REGISTRY

from koniq.network.finding import ORIGINAL, RELEASED
from koniq.plugs.in_torch import Scores

TYPE = "KoniqScores"
WEIGHTS = {"koncept_lite": RELEASED, "koncept512": ORIGINAL}  # by the name that create_metric takes


def register() -> tuple[str, ...]:
    """Put the class and a configuration a network into pyiqa's tables, however often; returns their names."""
    ARCH_REGISTRY.register(Scores, name=TYPE, override=True)
    for name, weights in WEIGHTS.items():
        DEFAULT_CONFIGS[name] = {
            "metric_opts": {"type": TYPE, "weights": weights},
            "metric_mode": "NR",
            "lower_better": False,
            "score_range": "~0, ~100",
        }
    return tuple(WEIGHTS)
