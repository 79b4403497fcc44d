"""Facts that a run records about its machine."""

import os
import platform
from pathlib import Path

import pytest
import torch

from mlplab.runs import provenance


def _with_cpuinfo(monkeypatch: pytest.MonkeyPatch, content: str | None) -> None:
    def read_text(*_: object, **__: object) -> str:
        if content is None:
            raise FileNotFoundError
        return content

    monkeypatch.setattr(Path, "read_text", read_text)


def test_a_processor_has_a_name_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    _with_cpuinfo(monkeypatch, "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t: fpu\n")
    expected = {"name": "Some CPU @ 2 GHz", "type": "cpu", "threads": torch.get_num_threads(), "cores": os.cpu_count()}
    assert provenance.device(torch.device("cpu")) == expected


def test_a_gpu_has_the_name_that_its_driver_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda found: f"NVIDIA H100 {found.index}")
    assert provenance.device(torch.device("cuda", 1)) == {"name": "NVIDIA H100 1", "type": "cuda"}


@pytest.mark.parametrize("content", [None, "processor : 0\n", "model name\t:\n"])
def test_a_processor_without_a_name_has_that_of_its_machine(
    monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    _with_cpuinfo(monkeypatch, content)
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert provenance.processor() == platform.machine()


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
    _with_cpuinfo(monkeypatch, content)
    assert provenance.has_bfloat16("cpu") == has_it


@pytest.mark.parametrize("has_it", [True, False])
def test_a_gpu_is_asked_unless_the_processor_trains(monkeypatch: pytest.MonkeyPatch, has_it: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_it)
    _with_cpuinfo(monkeypatch, "" if has_it else "flags : avx512_bf16")
    assert provenance.has_bfloat16("auto") == provenance.has_bfloat16("gpu") == has_it
    assert provenance.has_bfloat16("cpu") != has_it


def test_what_changed_is_listed() -> None:
    before = {"torch": "2.14.0", "code": "abc", "device": "a CPU"}
    assert provenance.changed(before, {"torch": "2.15.0", "code": "abc"}) == "torch 2.14.0 (now 2.15.0)"
    assert provenance.changed({}, {"torch": "2.15.0"}) == ""
