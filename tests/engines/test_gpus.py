"""Whether there is a GPU: shown by made-up device files, and said by made-up frameworks in real processes."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from commands import ended
from tiny import TINY

import koncept512_test
import koncept512_train
import pytorch_train_koncept512
from koniq import engines
from koniq.engines import gpus
from koniq.engines import plan as engines_plan
from koniq.engines.gpus import Answer
from koniq.ground import InputError
from koniq.network import NETWORKS, sidecar, weight_files
from koniq.training.run import Run

ROOT = Path(__file__).resolve().parents[2]
FINDS = """
from contextlib import nullcontext
from types import SimpleNamespace as Names

config = Names(
    list_physical_devices=lambda kind: ["gpu"],
    experimental=Names(get_device_details=lambda gpu: {"device_name": "GPU of a test"}),
)
device, ones = lambda name: nullcontext(), lambda shape: 1
nn = Names(conv2d=lambda *arguments: Names(numpy=lambda: 1))
"""
NONE = "from types import SimpleNamespace\nconfig = SimpleNamespace(list_physical_devices=lambda kind: [])\n"
FAILS = FINDS + "def conv2d(*arguments):\n    raise RuntimeError('no kernel image is available')\nnn.conv2d = conv2d\n"
TORCH_FINDS = """
from types import SimpleNamespace as Names

cuda = Names(is_available=lambda: True, device_count=lambda: 1, get_device_name=lambda number: "GPU of PyTorch")
ones = lambda *shape, device: 1
result = Names(sum=lambda: Names(item=lambda: 1))
nn = Names(functional=Names(conv2d=lambda *arguments: result))
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine that shows no GPU yet, and a user who hides none: the folder of its devices."""
    for name in (*gpus.HIDING, "KERAS_TORCH_DEVICE"):
        monkeypatch.setenv(name, "")  # for it to be as before when the test ends, whatever `gpus.hide` sets
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(gpus, "DEVICES", tmp_path / "dev")
    (tmp_path / "dev/dri").mkdir(parents=True)
    return tmp_path / "dev"


@pytest.fixture
def frameworks(tmp_path, monkeypatch):
    """A function that puts made-up frameworks where processes find them first; an import of one adds a line to LOG."""
    folder = tmp_path / "packages"
    monkeypatch.setenv("PYTHONPATH", str(folder))

    def put(**sources):
        for name, source in sources.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            note = f"with open({str(folder / 'LOG')!r}, 'a') as file:\n    print({name!r}, file=file)\n"
            (folder / name / "__init__.py").write_text(note + source)

    put.asked = lambda: (folder / "LOG").read_text().split() if (folder / "LOG").exists() else []
    return put


# What the system shows


@pytest.mark.parametrize(
    ("files", "shown"),
    [
        ([], []),
        (["nvidia0"], ["nvidia0"]),
        (["nvidia3", "nvidiactl", "nvidia-uvm"], ["nvidia3"]),  # a container that is given the fourth
        (["nvidiactl", "nvidia-uvm", "nvidia-caps"], []),  # a driver without a GPU
        (["dxg"], ["dxg"]),
        (["kfd", "dri/renderD128"], ["kfd"]),
        (["kfd"], []),
        (["dri/renderD128"], []),  # a GPU that only draws
    ],
)
def test_a_gpu_is_shown_by_its_device(machine, files, shown):
    for file in files:
        (machine / file).touch()
    assert gpus.shown() == tuple(str(machine / name) for name in shown)


@pytest.mark.parametrize("value", ["", "-1", "NoDevFiles"])
def test_a_user_hides_gpus(machine, monkeypatch, value):
    (machine / "nvidia0").touch()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert gpus.shown() == ()
    for some in ("0", "1,0", "GPU-8932f937", "MIG-GPU-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", some)
        assert gpus.shown()


def test_what_is_hidden_is_not_shown(machine):
    (machine / "nvidia0").touch()
    gpus.hide()
    assert gpus.shown() == ()


def test_other_systems_show_theirs(machine, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert gpus.shown() == ("Metal",)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("SYSTEMROOT", str(tmp_path))
    assert gpus.shown() == ()
    (tmp_path / "System32").mkdir()
    (tmp_path / "System32/nvcuda.dll").touch()
    assert gpus.shown() == (str(tmp_path / "System32/nvcuda.dll"),)


def test_where_none_is_shown_nothing_is_imported_to_decide(machine, frameworks):
    frameworks(tensorflow=FINDS, torch=TORCH_FINDS, keras="", openvino="")
    code = (
        "import sys; from pathlib import Path; from koniq.engines import gpus, plan; "
        f"gpus.DEVICES = Path({str(machine)!r}); print(plan.auto()); "
        "print({'tensorflow', 'torch', 'keras', 'openvino'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["('openvino', 'cpu')", "set()"]
    assert frameworks.asked() == []
    (machine / "dxg").touch()  # and where one is, not in this process
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["('keras', 'auto')", "set()"]
    assert frameworks.asked() == ["tensorflow"]


# What a framework says


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        (FINDS, Answer(("GPU of a test",))),
        (NONE, Answer((), "TensorFlow finds no GPU")),
        (FAILS, Answer((), "TensorFlow failed over the GPU (no kernel image is available)", False)),
        ("raise ImportError('libcudart')", Answer((), "TensorFlow failed over the GPU (libcudart)", False)),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", Answer((), "crashed over the GPU", False)),
        ("import time\ntime.sleep(60)", Answer((), "did not say within 3 seconds", False)),
        ("import os\nos._exit(0)", Answer((), "could not be asked about GPUs", False)),
        ("import select\nselect.select\n" + FINDS, Answer(("GPU of a test",))),  # and not koniq/select.py
    ],
)
def test_a_framework_is_asked_in_a_process_of_its_own(machine, frameworks, monkeypatch, source, answer):
    (machine / "nvidia0").touch()
    frameworks(tensorflow=source)
    if "sleep" in source:
        monkeypatch.setattr(gpus, "LIMIT", 3)
    said = gpus.ask("tensorflow")
    assert (said.gpus, said.certain) == (answer.gpus, answer.certain)
    assert answer.reason in said.reason
    assert gpus.ask("tensorflow") == said
    assert frameworks.asked() == ["tensorflow"]


def test_pytorch_is_asked_alike(machine, frameworks):
    (machine / "nvidia0").touch()
    frameworks(torch=TORCH_FINDS)
    assert gpus.ask("torch") == Answer(("GPU of PyTorch",))
    frameworks(torch=TORCH_FINDS + "conv2d = nn.functional.conv2d = lambda *arguments: 1 / 0")
    assert gpus.ask("torch") == Answer(("GPU of PyTorch",))  # as was kept


def test_a_framework_that_is_not_installed_is_not_asked(machine, frameworks, monkeypatch):
    (machine / "nvidia0").touch()
    frameworks(torch=TORCH_FINDS)
    monkeypatch.setattr(gpus, "find_spec", lambda name: None)
    assert gpus.ask("torch") == Answer((), "PyTorch is not installed")
    assert frameworks.asked() == []


def test_an_answer_holds_as_long_as_what_it_depends_on(machine, frameworks, monkeypatch, tmp_path):
    (machine / "nvidia0").touch()
    frameworks(tensorflow=NONE)
    monkeypatch.syspath_prepend(tmp_path / "installed")

    def asked():
        before = len(frameworks.asked())
        assert gpus.ask("tensorflow") == gpus.ask("tensorflow")
        return len(frameworks.asked()) - before

    assert (asked(), asked()) == (1, 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert (asked(), asked()) == (1, 0)
    (machine / "nvidia1").touch()
    assert (asked(), asked()) == (1, 0)
    package = tmp_path / "installed/nvidia_cudnn_cu12-9.1.dist-info"  # as tensorflow[and-cuda] brings them
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: nvidia-cudnn-cu12\nVersion: 9.1\n")
    assert (asked(), asked()) == (1, 0)
    driver = tmp_path / "version"
    driver.write_text("NVRM version: 550")
    monkeypatch.setattr(gpus, "DRIVERS", (str(driver),))
    assert (asked(), asked()) == (1, 0)
    (machine / "nvidia1").unlink()
    (machine / "nvidia0").unlink()
    assert asked() == 0


def test_a_crash_holds_for_a_day_only(machine, frameworks, monkeypatch):
    (machine / "nvidia0").touch()
    frameworks(tensorflow="import os\nos._exit(3)")
    assert "it is asked again in a day, or without" in gpus.ask("tensorflow").reason
    frameworks(tensorflow=FINDS)
    assert not gpus.ask("tensorflow").gpus
    monkeypatch.setattr(gpus, "HELD", 0)
    assert gpus.ask("tensorflow") == Answer(("GPU of a test",))
    assert gpus.ask("tensorflow") == Answer(("GPU of a test",))
    assert len(frameworks.asked()) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"gpus": 3}', '{"gpus": [], "reason": "", "certain": false}'])
def test_a_kept_answer_that_is_none_is_made_anew(machine, frameworks, tmp_path, text):
    (machine / "nvidia0").touch()
    frameworks(tensorflow=FINDS)
    gpus.ask("tensorflow")
    (path,) = (tmp_path / "cache/koncept512").iterdir()
    whole = json.loads(path.read_text())
    path.write_text(text)
    assert gpus.ask("tensorflow") == Answer(("GPU of a test",))
    again = json.loads(path.read_text())
    assert {**again, "asked": whole["asked"]} == whole


def test_where_nothing_may_be_written_it_is_asked_every_time(machine, frameworks, monkeypatch, tmp_path):
    (machine / "nvidia0").touch()
    frameworks(tensorflow=FINDS)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert gpus.ask("tensorflow") == gpus.ask("tensorflow") == Answer(("GPU of a test",))
    monkeypatch.delenv("XDG_CACHE_HOME")

    def nowhere(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nowhere)
    assert gpus.ask("tensorflow") == Answer(("GPU of a test",))
    assert frameworks.asked() == ["tensorflow"] * 3


# The engine that follows

YES, NO = Answer(("a GPU",)), Answer((), "it finds no GPU")
ALL = ("keras", "tensorflow", "torch", "safetensors", "openvino")


def chosen(monkeypatch, answers, installed=ALL, **asked):
    """What `auto` chooses where the system shows a GPU (unless `answers` is None), and these packages are installed."""
    monkeypatch.setattr(gpus, "shown", lambda: () if answers is None else ("/dev/dxg",))
    monkeypatch.setattr(gpus, "ask", lambda framework: answers[framework])
    for module in (engines_plan, weight_files):
        monkeypatch.setattr(module, "find_spec", lambda name: name if name in installed else None)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    return engines_plan.auto(**asked)


def without(*names):
    return [name for name in ALL if name not in names]


def test_the_order_is_tensorflows_gpu_pytorchs_gpu_openvino_keras(monkeypatch, capsys):
    none = {"tensorflow": NO, "torch": NO}
    assert chosen(monkeypatch, {"tensorflow": YES}) == ("keras", "auto")
    assert capsys.readouterr().out == ""
    assert chosen(monkeypatch, {"tensorflow": NO, "torch": YES}) == ("torch", "auto")
    assert capsys.readouterr().out == "PyTorch scores, on a GPU: it finds no GPU\n"
    assert chosen(monkeypatch, none) == ("openvino", "cpu")
    printed = capsys.readouterr().out
    assert printed.startswith(
        "The processor scores, though the system shows a GPU (/dev/dxg): it finds no GPU; it finds"
    )
    assert printed.count("\n") == 1
    assert chosen(monkeypatch, none, without("openvino")) == ("keras", "cpu")
    assert chosen(monkeypatch, None) == ("openvino", "cpu")
    assert chosen(monkeypatch, None, without("openvino")) == ("keras", "cpu")


def test_without_tensorflow_it_is_pytorch_on_a_gpu_and_openvino_on_the_processor(monkeypatch):
    assert chosen(monkeypatch, {"torch": YES}, without("tensorflow")) == ("torch", "auto")
    assert chosen(monkeypatch, {"torch": NO}, without("tensorflow")) == ("openvino", "cpu")
    assert chosen(monkeypatch, None, without("tensorflow")) == ("openvino", "cpu")
    assert chosen(monkeypatch, None, ["torch"]) == ("torch", "cpu")
    assert chosen(monkeypatch, None, ["openvino"]) == ("openvino", "cpu")


def test_what_is_asked_for_decides(monkeypatch):
    both = {"tensorflow": YES, "torch": YES}
    assert chosen(monkeypatch, both, device="cpu") == ("openvino", "cpu")
    assert chosen(monkeypatch, both, device="cuda") == ("keras", "cuda")
    assert chosen(monkeypatch, both, device="mps") == ("torch", "mps")
    assert chosen(monkeypatch, both, precision="int8") == ("openvino", "cpu")
    with pytest.raises(InputError, match=r"device=cuda should be a GPU that .* Received: it finds no GPU; it finds no"):
        chosen(monkeypatch, {"tensorflow": NO, "torch": NO}, device="cuda")
    with pytest.raises(InputError, match=r"Received: the system shows no GPU"):
        chosen(monkeypatch, None, device="cuda")


def test_the_record_of_scores_names_the_gpu_that_computed_them(monkeypatch, tmp_path):
    monkeypatch.setattr(gpus, "ask", lambda framework: YES)
    (tmp_path / "weights.pth").touch()
    named = {
        (engine, device): engines.Plan(tmp_path / "weights.pth", TINY, engine, "float32", 8, device=device).facts()
        for engine, device in (("keras", "auto"), ("torch", "cuda"), ("keras", "cpu"), ("openvino", "auto"))
    }
    assert [facts["device"] == "a GPU" for facts in named.values()] == [True, True, False, False]


def test_keras_without_what_it_computes_by_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(engines_plan, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="Keras and TensorFlow should be installed for this"):
        engines.decide(tmp_path / "some.weights.h5", "keras")


# Training


def test_an_idle_gpu_is_an_error_in_training_and_a_line_elsewhere(machine, capsys):
    gpus.check("tensorflow", [], "auto", training=True)  # none is shown
    with pytest.raises(InputError, match=r"device=cuda .* Received: it finds none, and the system shows none"):
        gpus.check("tensorflow", [], "cuda")
    assert capsys.readouterr().out == ""
    (machine / "nvidia0").touch()
    gpus.check("tensorflow", ["GPU"], "auto", training=True)
    gpus.check("tensorflow", [], "cpu", training=True)
    with pytest.raises(InputError, match=r"^TensorFlow finds no GPU, though .*nvidia0.*and-cuda.* give --device cpu$"):
        gpus.check("tensorflow", [], "auto", training=True)
    assert capsys.readouterr().out == ""
    gpus.check("torch", [], "auto")
    assert capsys.readouterr().out.startswith("PyTorch finds no GPU, though the system shows one (")


@pytest.mark.parametrize(("script", "title"), [(koncept512_train, "TensorFlow"), (pytorch_train_koncept512, "PyTorch")])
def test_a_training_that_would_leave_a_gpu_idle_does_not_begin(
    machine, data, tmp_path, monkeypatch, capsys, script, title
):
    if not find_spec(title.lower().removeprefix("py")):
        pytest.skip(f"{title} is not installed")
    (machine / "nvidia0").touch()  # the frameworks here are the real ones
    monkeypatch.setitem(NETWORKS, "koncept512", TINY)
    run = tmp_path / "run"
    training = ["--dataset", data, "--weights", "none", "--input-size", 24, 32, "--run", run]
    assert ended(script, *training) == 2
    assert f"Error: {title} finds no GPU, though the system shows one" in capsys.readouterr().err
    assert not run.exists()
    assert ended(script, *training, "--device", "cpu", "--epochs", 1, "--learning-rates", 0.01) == 0
    assert json.loads((run / "settings.json").read_text())["settings"]["device"] == "cpu"


def test_a_test_goes_on_without_the_gpu(machine, data, tmp_path, capsys):
    (machine / "dxg").touch()
    path = tmp_path / "tiny.weights.h5"
    TINY.build(output_bias=50).save_weights(path)
    sidecar.write_record(path, TINY)
    testing = ["--dataset", data, "--weights", path, "--out", tmp_path / "out"]
    assert ended(koncept512_test, *testing) == 0
    assert "TensorFlow finds no GPU, though the system shows one" in capsys.readouterr().out
    assert ended(koncept512_test, *testing, "--device", "cuda") == 2
    assert "device=cuda should be a GPU that TensorFlow finds" in capsys.readouterr().err


def test_kuti_stops_alike(machine, frameworks):
    frameworks(kuti="", tensorflow=NONE)
    (machine / "nvidia0").touch()
    code = (
        "from pathlib import Path; from koniq.engines import gpus; from koniq.training import in_kuti; "
        f"gpus.DEVICES = Path({str(machine)!r}); in_kuti.load(device='auto', training=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "InputError: TensorFlow finds no GPU, though the system shows one" in done.stderr


@pytest.mark.parametrize("before", [{}, {"device": "auto"}])
def test_a_run_goes_on_with_on_another_device(tmp_path, before):
    """Also one of before there was such a setting."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/settings.json").write_text(json.dumps({"settings": {"seed": 1, **before}}))
    run = Run(str(tmp_path / "run"), {"seed": 1, "device": "cpu"}, resume=True)
    assert run.settings["device"] == "cpu"
    del run
    with pytest.raises(InputError, match=r"resumed with the settings that it began with: seed=1. Received: seed=2"):
        Run(str(tmp_path / "run"), {"seed": 2, "device": "cpu"}, resume=True)


@pytest.mark.parametrize(
    ("allowed", "precision", "tf32"),
    [(True, "float32", True), (False, "float32", False), (True, "mixed_bfloat16", False)],
)
def test_what_settings_came_to_on_pytorchs_gpu_is_said(monkeypatch, allowed, precision, tf32):
    torch = pytest.importorskip("torch")
    from koniq.engines import in_torch

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
    monkeypatch.setattr(in_torch, "hardware", lambda device: "NVIDIA H200")
    monkeypatch.setattr(in_torch, "can_compile", lambda device: True)
    gpu = torch.device("cuda")
    settled, compiled, device = in_torch.settle(gpu, precision, "auto")
    assert in_torch.resolved(gpu, settled, compiled) == {"precision": precision, "compile": True, "tf32": tf32}
    rounded = " (convolutions in TF32)" if tf32 else ""
    assert device == f"NVIDIA H200, PyTorch {torch.__version__}, {precision}{rounded}, compiled"
    assert in_torch.resolved(torch.device("cpu"), "float32", False) == {"precision": "float32", "compile": False}
