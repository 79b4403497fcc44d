"""The state of a run that must be the same, to the last bit, whether or not it was stopped."""

import json
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.compat.proto.graph_pb2 import GraphDef

from mlplab.runs import checkpoint_file

NAMED = ("confusion/test", "mistakes/test", "weights/first_layer")  # pictures whose titles name the run


def problems(run: Path, expected: Path, but: Collection[str] = ()) -> list[str]:
    """List differences of a complete run from the undisturbed one; `but`: TensorBoard tags that may differ."""
    found = []
    but = {*but, *(NAMED if run.name != expected.name else ())}
    for name in ("last", "best"):
        kept = [(folder / "checkpoints" / f"{name}.ckpt").exists() for folder in (run, expected)]
        found += differences(of(run, name), of(expected, name))[:3] if all(kept) else []
        found += [f"{name}.ckpt is missing"] * (kept == [False, True])
    own, others = ([point for point in curves(folder) if point[0] not in but] for folder in (run, expected))
    names = sorted({point[0] for point in set(own) ^ set(others)})
    found += [f"other curves: {', '.join(names)}"] if own != others else []
    found += [f"{point} times {count}" for point, count in Counter(point[:2] for point in own).items() if count > 1]
    found += differences(result(run), result(expected))[:3]
    left = [path.name for path in (run / "checkpoints").iterdir() if path.name not in ("best.ckpt", "last.ckpt")]
    return found + [f"left: {name}" for name in left]


def result(folder: Path) -> dict[str, Any]:
    """Return the content of result.json, except times, versions and the command."""
    content = json.loads((folder / "result.json").read_text())
    for epoch in content["history"]:
        del epoch["seconds"]
    numbers = [epoch["epoch"] for epoch in content["history"]]
    assert numbers == list(range(1, content["epochs"] + 1)), "each epoch once"
    names = ("status", "metrics", "score", "best_epoch", "epochs", "steps", "parameters", "history", "config_hash")
    return {name: content[name] for name in names}


def histories(folder: Path) -> dict[str, Any]:
    """The metrics by epoch of each run of a search, complete or paused, without times."""
    found = {}
    for path in [*folder.glob("*/result.json"), *folder.glob("*/paused.json")]:
        history = json.loads(path.read_text())["history"]
        for epoch in history:
            del epoch["seconds"]
        found[path.parent.name] = history
    return found


def of(folder: Path, name: str = "last") -> dict[str, Any]:
    """Return the content of a checkpoint, except times, and counts of Lightning before and after training."""
    content = checkpoint_file.read(folder / "checkpoints" / f"{name}.ckpt")
    del content["run"]["seconds"]
    content["loops"] = content["loops"]["fit_loop"]
    for epoch in (*content["history"], content["figures"]):
        epoch.pop("seconds", None)
    return content


def differences(one: Any, other: Any, at: str = "") -> list[str]:
    """List the differences of two trees."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted({*one, *other}, key=str)
        return [line for key in keys for line in differences(one.get(key), other.get(key), f"{at}/{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        return [line for k, pair in enumerate(zip(one, other, strict=True)) for line in differences(*pair, f"{at}/{k}")]
    return [] if repr(_plain(one)) == repr(_plain(other)) else [f"{at}: {one} {other}"[:200]]


def curves(folder: Path) -> list[tuple[str, int, float | bytes]]:
    """Return all points in the event files that do not depend on time: name, step and value, sorted."""
    events = [
        event for path in folder.glob("events.out.tfevents.*") for event in LegacyEventFileLoader(str(path)).Load()
    ]
    graphs = [("graph", event.step, _ordered(event.graph_def)) for event in events if event.HasField("graph_def")]
    return (
        sorted(
            (value.tag, event.step, 0.0 if value.tag == "images_per_s" else _shown(value))
            for event in events
            for value in event.summary.value
            if value.tag != "confusion/val"  # drawn if there is time
        )
        + graphs
    )


def _ordered(graph: bytes) -> bytes:
    """Return a graph with sorted attributes, which otherwise have the order of a hash table."""
    return GraphDef.FromString(graph).SerializeToString(deterministic=True)


def _shown(value: Any) -> float | bytes:
    if value.HasField("image"):
        return bytes(value.image.encoded_image_string)
    if len(value.tensor.float_val) == 1:
        return float(value.tensor.float_val[0])
    return bytes(value.SerializeToString()) if value.HasField("tensor") else float(value.simple_value)


def _plain(content: Any) -> Any:
    """Replace tensors by their bytes."""
    if isinstance(content, torch.Tensor):
        tensor = content.detach().cpu().contiguous()
        return ("tensor", str(tensor.dtype), tuple(tensor.shape), tensor.flatten().view(torch.uint8).numpy().tobytes())
    if isinstance(content, dict):
        return [(str(key), _plain(value)) for key, value in sorted(content.items(), key=lambda item: str(item[0]))]
    return [_plain(item) for item in content] if isinstance(content, list | tuple) else content
