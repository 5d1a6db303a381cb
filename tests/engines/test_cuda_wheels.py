"""Packages of NVIDIA's libraries in one environment: made-up ones, in a folder of packages of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

from koniq.engines import cuda_wheels, gpus
from koniq.engines.gpus import Answer
from koniq.ground import InputError

ROOT = Path(__file__).resolve().parents[2]
# What the two frameworks ask for, as their packages say it.
TENSORFLOW = ('nvidia-cudnn-cu12<10.0,>=9.3.0.75; extra == "and-cuda"', "nvidia-cublas-cu12<13.0; extra == 'and-cuda'")
TORCH = (
    'nvidia-cudnn-cu13==9.20.0.48; platform_system == "Linux"',
    "nvidia_nccl_cu13==2.29",
    "cuda-toolkit[cublas]==13",
)
CUDNN, CUBLAS = "nvidia/cudnn/lib/libcudnn.so.9", "nvidia/cublas/lib/libcublas.so.12"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A function that installs a made-up package into a folder of packages that comes first, over what is there."""
    folder = tmp_path / "site"
    monkeypatch.syspath_prepend(folder)

    def install(name, requires=(), version="1.0", **files):
        about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        about.mkdir(parents=True)
        lines = [
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}",
            *(f"Requires-Dist: {one}" for one in requires),
        ]
        (about / "METADATA").write_text("\n".join(lines) + "\n")
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(content)
        record = [f"{path},sha256=0,{len(content)}" for path, content in files.items()]
        (about / "RECORD").write_text("\n".join([*record, f"{about.name}/METADATA,,", f"{about.name}/RECORD,,"]) + "\n")

    install.folder = folder
    return install


@pytest.fixture
def both(site):
    """TensorFlow with CUDA 12, and after it PyTorch with CUDA 13."""
    site("tensorflow", TENSORFLOW)
    site("nvidia-cudnn-cu12", **{CUDNN: "of CUDA 12", "nvidia/cudnn/include/cudnn.h": "12"})
    site("nvidia-cublas-cu12", **{CUBLAS: "of CUDA 12"})
    site("torch", TORCH)
    site("nvidia-cudnn-cu13", **{CUDNN: "that of CUDA 13", "nvidia/cudnn/include/cudnn.h": "here 13"})
    site("nvidia-cublas", **{"nvidia/cu13/lib/libcublas.so.13": "of CUDA 13"})
    return site


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    for name in gpus.HIDING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(gpus, "DEVICES", tmp_path / "dev")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidia0").touch()
    return tmp_path / "dev/nvidia0"


def test_what_was_installed_first_is_at_fault_and_what_mends_it_is_said(both):
    assert cuda_wheels.fault("torch") == ""
    assert cuda_wheels.fault("tensorflow") == (
        f"TensorFlow should have an environment of its own: of {CUDNN}, which it has by nvidia-cudnn-cu12, "
        "nvidia-cudnn-cu13 has put its own in its place. What mends it: python -m venv .venv-tensorflow && "
        '.venv-tensorflow/bin/pip install -r requirements.txt "tensorflow[and-cuda]==2.21.0"'
    )


def test_the_other_way_round_it_is_pytorch(both):
    (both.folder / CUDNN).write_text("of CUDA 12")  # as pip leaves it when TensorFlow comes last
    assert cuda_wheels.fault("tensorflow") == ""
    why = cuda_wheels.fault("torch")
    assert "which it has by nvidia-cudnn-cu13, nvidia-cudnn-cu12 has put its own" in why
    assert why.endswith(".venv-torch/bin/pip install -r requirements/scoring.txt -r requirements-torch.txt")
    assert all(Path(ROOT, name).is_file() for name in ("requirements/scoring.txt", "requirements-torch.txt"))


def test_taken_away_with_the_other_one_it_is_at_fault_too(both):
    (both.folder / CUDNN).unlink()
    assert f"of {CUDNN}, which it has by nvidia-cudnn-cu12, nvidia-cudnn-cu13 has" in cuda_wheels.fault("tensorflow")
    (both.folder / CUBLAS).unlink()
    assert f"of {CUBLAS}, which it has by nvidia-cublas-cu12, it is not as it was" in cuda_wheels.fault("tensorflow")


def test_one_of_them_alone_is_whole_and_headers_do_not_count(site):
    site("torch", TORCH)
    site("nvidia-cudnn-cu13", **{CUDNN: "of CUDA 13", "nvidia/cudnn/include/cudnn.h": "13"})
    (site.folder / "nvidia/cudnn/include/cudnn.h").write_text("another")
    assert cuda_wheels.fault("torch") == ""
    site("tensorflow", TENSORFLOW)  # of the processor alone: its extra is not installed
    assert cuda_wheels.fault("tensorflow") == ""


def test_nothing_is_imported_to_say_so():
    code = (
        "import sys; from koniq.engines import cuda_wheels as w; print([w.fault(f) for f in w.TITLES]); "
        "print({'tensorflow', 'torch', 'keras'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == "set()"


def test_training_on_a_gpu_does_not_begin_and_scoring_goes_on_with_a_line(both, gpu, capsys):
    for how in ({"training": True}, {"device": "cuda"}):
        with pytest.raises(InputError, match=r"^TensorFlow should have .*venv-tensorflow.* give --device cpu$"):
            gpus.check("tensorflow", ["GPU"], **{"device": "auto"} | how)
    gpus.check("torch", ["cuda"], "auto", training=True)
    gpus.check("tensorflow", ["GPU"], "cpu", training=True)
    assert capsys.readouterr().out == ""
    gpus.check("tensorflow", ["GPU"], "auto")
    assert capsys.readouterr().out.startswith("TensorFlow should have an environment of its own: ")
    gpu.unlink()
    gpus.check("tensorflow", [], "auto", training=True)  # no GPU, no matter


def test_it_is_not_asked_whether_it_computes(both, gpu, monkeypatch):
    monkeypatch.setattr(gpus, "_asked", lambda framework: Answer(("a GPU",)))
    monkeypatch.setattr(gpus, "find_spec", lambda name: True)
    assert gpus.ask("torch") == Answer(("a GPU",))
    said = gpus.ask("tensorflow")
    assert said.gpus == ()
    assert said.reason == cuda_wheels.fault("tensorflow")
