import os
import platform
from pathlib import Path

import pytest
import torch

from mlplab import device


def test_a_processor_has_a_name_and_threads() -> None:
    said = device.described(torch.device("cpu"))
    assert said.pop("name") == device.processor() != ""
    assert said == {"type": "cpu", "threads": torch.get_num_threads(), "cores": os.cpu_count()}


def test_a_gpu_has_the_name_that_its_driver_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda found: f"NVIDIA H100 {found.index}")
    assert device.described(torch.device("cuda", 1)) == {"name": "NVIDIA H100 1", "type": "cuda"}


@pytest.mark.parametrize("content", [None, "processor : 0\n", "model name\t:\n"])
def test_where_the_system_does_not_name_the_processor(monkeypatch: pytest.MonkeyPatch, content: str | None) -> None:
    def read_text(*_: object, **__: object) -> str:
        if content is None:
            raise FileNotFoundError
        return content

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert device.processor() == platform.machine()
