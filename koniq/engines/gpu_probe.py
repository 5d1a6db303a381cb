"""Ask a framework which GPUs it computes on: `python gpu_probe.py tensorflow answer.json`.

A program of its own, run by `koniq.engines.gpus`: a framework may hang or crash over a GPU, or take all of its memory.
A small convolution is computed, because a GPU may be listed that a build has no code for, or a library not fit. The
answer is {"gpus": [their names]} or, where one is listed and fails, {"gpus": [], "error": what the framework said}.
"""

import json
import sys
from pathlib import Path


def tensorflow() -> list[str]:
    """The names of the GPUs that TensorFlow computes on."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        with tf.device("GPU:0"):
            tf.nn.conv2d(tf.ones((1, 8, 8, 3)), tf.ones((3, 3, 3, 4)), 1, "SAME").numpy()
    return [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]


def torch() -> list[str]:
    """The names of the GPUs that PyTorch computes on, by CUDA (which is ROCm's name there, too) or by Metal."""
    import torch

    if torch.cuda.is_available():
        device, names = "cuda", [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    elif torch.backends.mps.is_available():
        device, names = "mps", ["Apple's GPU"]
    else:
        return []
    pictures, filters = torch.ones(1, 3, 8, 8, device=device), torch.ones(4, 3, 3, 3, device=device)
    torch.nn.functional.conv2d(pictures, filters).sum().item()
    return names


if __name__ == "__main__":
    try:
        answer = {"gpus": {"tensorflow": tensorflow, "torch": torch}[sys.argv[1]]()}
    except Exception as error:  # a framework has its own kinds
        answer = {"gpus": [], "error": (str(error).strip() or type(error).__name__).splitlines()[0]}
    Path(sys.argv[2]).write_text(json.dumps(answer))
