import os
import platform
from pathlib import Path

import pytest
import torch

from mlplab.runs import device


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


@pytest.mark.parametrize(
    ("content", "has_it"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_bf16 sse2\n", True),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", True),
        ("Features\t: fp asimd bf16 i8mm\n", True),
        ("flags\t\t: fpu avx2 avx512f\nbugs\t\t: bf16\n", False),
        ("model name\t: bf16\n", False),
        (None, False),
    ],
)
def test_a_processor_says_whether_it_has_bfloat16(
    monkeypatch: pytest.MonkeyPatch, content: str | None, has_it: bool
) -> None:
    def read_text(*_: object, **__: object) -> str:
        if content is None:
            raise FileNotFoundError
        return content

    monkeypatch.setattr(Path, "read_text", read_text)
    assert device.has_bfloat16("cpu") == has_it


@pytest.mark.parametrize("has_it", [True, False])
def test_a_gpu_is_asked_unless_the_processor_trains(monkeypatch: pytest.MonkeyPatch, has_it: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_it)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "" if has_it else "flags : avx512_bf16")
    assert device.has_bfloat16("auto") == device.has_bfloat16("gpu") == has_it
    assert device.has_bfloat16("cpu") != has_it
