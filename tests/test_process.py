import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mlplab import process


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


def test_a_compiled_step_is_trained_without_dynamo(tmp_path: Path) -> None:
    code = """
import sys
from mlplab import process
process.import_lightning()
import torch
import mlplab.training
weight = torch.nn.Parameter(torch.ones(2))
optimizer = torch.optim.Adam([weight])
optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules, "torchvision" in sys.modules)
import torch._dynamo
print(torch._dynamo.OptimizedModule.__module__)
doubled = torch.compile(lambda x: 2 * x, backend="eager")
print(doubled(weight).tolist())
"""
    assert _run(code, tmp_path) == "False False\ntorch._dynamo.eval_frame\n[2.0, 2.0]\n"


def test_what_else_lightning_may_want_of_dynamo_is_there(tmp_path: Path) -> None:
    code = """
import sys
from mlplab import process
with process._without_dynamo():
    from torch._dynamo import allow_in_graph, OptimizedModule
import torch._dynamo
print(allow_in_graph is torch._dynamo.allow_in_graph, OptimizedModule is torch._dynamo.OptimizedModule)
"""
    assert _run(code, tmp_path) == "True False\n"


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


def test_the_pool_of_threads_is_made_anew_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[int] = []
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(torch, "set_num_threads", said.append)
    process.tune()
    assert said == [torch.get_num_threads()]


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


def test_what_was_imported_is_no_matter_of_the_garbage_collector_until_the_end(tmp_path: Path) -> None:
    code = """
import atexit, gc
from mlplab import process
atexit.register(lambda: print(gc.get_freeze_count()))
process.keep_imports()
print(gc.get_freeze_count() > 1000)
"""
    assert _run(code, tmp_path) == "True\n0\n"
