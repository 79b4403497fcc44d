import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mlplab import startup


def _run(code: str, folder: Path) -> str:
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_lightning_without_what_training_does_not_need(tmp_path: Path) -> None:
    """Optimizers are made, saved and loaded without the compiler; the rest can be imported afterwards."""
    code = """
import sys
from mlplab import startup
from mlplab.config import torch_signatures
startup.import_lightning()
import mlplab.training.run
import torch
print([name for name in ("torch._dynamo", "torchmetrics", "torchvision", "scipy", "sklearn") if name in sys.modules])
for name in torch_signatures.optimizers():
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = getattr(torch.optim, name)([weight], lr=0.1)
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.zero_grad()
    torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
print("torch._dynamo" in sys.modules)
import torchmetrics
print(torch.compile(lambda x: 2 * x, backend="eager")(torch.ones(2)).tolist())
accuracy = torchmetrics.Accuracy("multiclass", num_classes=2)
print(accuracy(torch.tensor([0, 1]), torch.tensor([0, 0])).item())
from lightning.pytorch.core.module import Metric
print(isinstance(accuracy, Metric))
"""
    assert _run(code, tmp_path) == "[]\nFalse\n[2.0, 2.0]\n0.5\nTrue\n"


def test_another_version_of_lightning_gets_what_it_wants(tmp_path: Path) -> None:
    (tmp_path / "lightning" / "pytorch").mkdir(parents=True)
    (tmp_path / "lightning" / "__init__.py").touch()
    (tmp_path / "lightning" / "pytorch" / "__init__.py").write_text("from torchmetrics import MeanMetric\n")
    code = """
import sys
sys.path.insert(0, "")
from mlplab import startup
startup.import_lightning()
import lightning.pytorch, torchmetrics
print(lightning.pytorch.MeanMetric is torchmetrics.MeanMetric)
"""
    assert _run(code, tmp_path) == "True\n"


@pytest.mark.parametrize(("asked_for", "threads"), [(None, 1), ("2", 2)])
def test_a_tuned_process(tmp_path: Path, asked_for: str | None, threads: int) -> None:
    code = f"""
import os
os.environ.pop("OMP_NUM_THREADS", None)
os.environ.update({{"OMP_NUM_THREADS": {asked_for!r}}} if {asked_for!r} else {{}})
import torch
from mlplab import startup
small = torch.tensor(1e-38)
print((small * 1e-3 > 0).item())
startup.tune()
print((small * 1e-3 > 0).item(), torch.get_num_threads())
"""
    assert _run(code, tmp_path) == f"True\nFalse {threads}\n"


def test_the_pool_of_threads_is_made_anew_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[int] = []
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(torch, "set_num_threads", said.append)
    startup.tune()
    assert said == [torch.get_num_threads()]
