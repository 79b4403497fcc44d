import subprocess
import sys
from pathlib import Path


def _run(code: str, folder: Path) -> str:
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, timeout=100)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_lightning_without_what_is_not_needed(tmp_path: Path) -> None:
    code = """
import sys
from mlplab import process
process.import_lightning()
from lightning.pytorch import Trainer
print([name for name in ("scipy.signal", "torchvision") if name in sys.modules])
import scipy.signal, torchvision.transforms
from lightning_utilities.core.imports import package_available
print(package_available("scipy"), scipy.signal.windows.hann(3).tolist())
"""
    assert _run(code, tmp_path) == "[]\nTrue [0.0, 1.0, 0.0]\n"


def test_a_tuned_process(tmp_path: Path) -> None:
    code = """
import os
os.environ.pop("OMP_NUM_THREADS", None)
import torch
from mlplab import process
small = torch.tensor(1e-38)
print((small * 1e-3 > 0).item())
process.tune()
print((small * 1e-3 > 0).item(), torch.get_num_threads())
"""
    assert _run(code, tmp_path) == "True\nFalse 1\n"


def test_threads_that_were_asked_for(tmp_path: Path) -> None:
    code = """
import os
os.environ["OMP_NUM_THREADS"] = "2"
import torch
from mlplab import process
process.tune()
print(torch.get_num_threads())
"""
    assert _run(code, tmp_path) == "2\n"
