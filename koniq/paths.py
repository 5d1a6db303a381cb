"""Where data, weights and results lie, relative to the root of the repository."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "koniq" / "images"
METADATA = ROOT / "koniq" / "metadata"
MODELS = ROOT / "koniq" / "models"  # one folder a training run
TRAINED_MODELS = ROOT / "trained_models"  # weights that scripts find by a bare name
DATASETS = ROOT / "datasets"
LIFELOG = DATASETS / "LSC21"
DOWNLOADS = DATASETS / "downloads"  # archives on their way, and those put there by hand
SAMPLE = DATASETS / "sample"
RESULTS = ROOT / "results"
