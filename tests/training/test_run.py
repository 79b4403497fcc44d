import json
import math
import shutil
from pathlib import Path

import pytest
import states
import torch
from conftest import Compose, files_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from mlplab.errors import ConfigError
from mlplab.model import evaluation
from mlplab.monitoring import progress
from mlplab.runs import atomic_write
from mlplab.runs.result import Result
from mlplab.training import restore
from mlplab.training.run import train


def _weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)[
        "state_dict"
    ]
    return state


def test_the_result_says_what_happened(tiny_run: Result, tiny: Compose) -> None:
    result = json.loads((tiny_run.folder / "result.json").read_text())
    config = tiny()
    expected = {
        "status": "completed", "monitor": "val/loss", "epochs": 2, "steps": 2 * 8, "train_images": 150,
        "val_images": 50, "seed": 0, "parameters": 784 * 16 + 16 + 16 * 10 + 10, "config_hash": config.hash,
    }  # fmt: skip
    assert {key: result[key] for key in expected} == expected
    assert set(result["metrics"]) == {
        f"{stage}/{name}" for stage in ("train", "val", "test") for name in ("loss", "acc")
    }
    assert set(result["versions"]) >= {"torch", "lightning", "mlplab"}
    assert result["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert (result["device"]["type"], result["device"]["threads"]) == ("cpu", torch.get_num_threads())
    assert result["precision"] == "32-true"
    assert [row["step"] for row in result["history"]] == [8, 16]
    assert all(0 < row["seconds"] <= result["fit_s"] for row in result["history"])
    assert result["fit_s"] <= result["total_s"]
    assert result["metrics"] == tiny_run.metrics
    assert result["score"] == tiny_run.score == tiny_run.metrics["val/loss"]


def test_optimizer_and_schedule_are_recorded_as_training_begins(tiny: Compose, tmp_path: Path) -> None:
    """They include torch's defaults, values filled in from the run, and values set by a schedule."""
    adamw = train(tiny("optimizer.name=AdamW", "scheduler=cosine", "scheduler.warmup=4"), tmp_path / "adamw").folder
    result = json.loads((adamw / "result.json").read_text())
    assert result["config"]["optimizer"]["weight_decay"] == result["optimizer"]["weight_decay"] == 0.01
    assert result["optimizer"]["lr"] == 0.001 / 4
    assert result["scheduler"] == {"name": "CosineAnnealingLR", "T_max": 2 * 8 - 4, "eta_min": 0.0}
    cycle = train(tiny("optimizer=sgd", "scheduler=onecycle"), tmp_path / "cycle").folder
    result = json.loads((cycle / "result.json").read_text())
    assert (result["config"]["optimizer"]["momentum"], result["optimizer"]["momentum"]) == (0.9, 0.95)
    assert result["scheduler"]["total_steps"] == 2 * 8
    lbfgs = train(
        tiny("optimizer.name=LBFGS", "optimizer.max_iter=2", "trainer.max_epochs=1"), tmp_path / "lbfgs"
    ).folder
    assert [_decay_in_the_hparams_tab(folder) for folder in (adamw, cycle, lbfgs)] == [0.01, 0.0, None]


def _decay_in_the_hparams_tab(folder: Path) -> float | None:
    content = EventAccumulator(str(folder)).Reload().SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    given = HParamsPluginData.FromString(content).session_start_info.hparams
    return given["weight_decay"].number_value if "weight_decay" in given else None


def test_a_run_that_its_steps_end_is_validated_and_says_so(
    tiny: Compose, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Tested in an epoch without validation, within it, and at its end."""
    for steps, epochs in ((3, 1), (16, 2)):
        words = (f"trainer.max_steps={steps}", "trainer.check_val_every_n_epoch=5", "trainer.max_epochs=5")
        with caplog.at_level("INFO"):
            result = train(tiny(*words), tmp_path / str(steps))
        assert f"ended by trainer.max_steps={steps}, in epoch {epochs} of 5" in caplog.text
        assert "val/acc" in result.metrics
        assert result.score == result.metrics["val/loss"]


def test_a_plateau_may_be_looked_for_in_every_second_epoch(tiny: Compose, tmp_path: Path) -> None:
    """The rate is reduced in the epoch after a validated one."""
    plateau = ("scheduler.name=ReduceLROnPlateau", "scheduler.patience=0", "scheduler.threshold=1e9")
    seldom = ("trainer.check_val_every_n_epoch=2", "trainer.max_epochs=6")
    result = train(tiny(*plateau, "scheduler.threshold_mode=abs", *seldom), tmp_path)
    rates = [row["lr"] for row in json.loads((result.folder / "result.json").read_text())["history"]]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3, 1e-3, 1e-4, 1e-4])


def test_a_folder_is_used_once_and_a_seed_gives_one_run(
    tiny: Compose,
    tiny_run: Result,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The status is that of the run; without a terminal no remaining time is printed."""
    statuses, write = [], atomic_write.write

    def noted(path: Path, content: bytes, *arguments: object, **named: object) -> None:
        if path.name == "status.json":
            statuses.append(json.loads(content)["status"])
        write(path, content, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(atomic_write, "write", noted)
    monkeypatch.setattr(progress, "REFRESH_S", 0)
    train(tiny(), tmp_path / "run")
    assert states.problems(tmp_path / "run", tiny_run.folder) == []
    assert (statuses[0], set(statuses[1:-1]), statuses[-1]) == ("running", {"running"}, "completed")
    assert " left, " not in capsys.readouterr().err
    before = files_of(tmp_path)
    with pytest.raises(ConfigError, match="holds a run already"):
        train(tiny(), tmp_path / "run")
    assert files_of(tmp_path) == before


def test_another_seed_gives_another_run_and_a_bar_shows_the_time_left_and_the_figures(
    tiny: Compose,
    tiny_run: Result,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "REFRESH_S", 0)
    train(tiny("seed=1", "trainer.enable_progress_bar=true", "trainer.logger=false"), tmp_path)
    drawn = capsys.readouterr().err
    for words in ("epoch 1/2", "epoch 2/2", " left, ", "loss ", "acc "):
        assert words in drawn
    weights, other = _weights(tiny_run.folder), _weights(tmp_path)
    assert not any(torch.equal(weights[name], other[name]) for name in weights)
    assert not any("tfevents" in name for name in files_of(tmp_path))


@pytest.mark.parametrize(("monitor", "best_of"), [("val/loss", min), ("val/acc", max)])
def test_the_best_and_the_last_weights_are_kept(composed: Compose, tmp_path: Path, monitor: str, best_of: type) -> None:
    config = composed(  # so fast that it gets better and worse
        "data=digits", "optimizer=sgd", "optimizer.lr=0.6", "trainer.max_epochs=6", f"monitor={monitor}",
        "model.hidden=8", "trainer.accelerator=cpu",
    )  # fmt: skip
    result = train(config, tmp_path / "run")
    history = json.loads((result.folder / "result.json").read_text())["history"]
    values = [epoch[monitor] for epoch in history]
    assert len(set(values)) > 1
    best = values.index(best_of(values))
    assert best != len(values) - 1
    assert result.score == result.metrics[monitor] == values[best]
    for name, epoch in (("best", best), ("last", len(values) - 1)):
        path = result.folder / "checkpoints" / f"{name}.ckpt"
        assert torch.load(path, weights_only=True)["figures"]["epoch"] == epoch + 1
        classifier, datamodule = restore.load(path)
        datamodule.setup()
        assert evaluation.score(classifier, datamodule.batches("val")).acc == history[epoch]["val/acc"]
    best_classifier, datamodule = restore.load(result.folder)
    datamodule.setup()
    assert evaluation.score(best_classifier, datamodule.batches("test")).acc == result.metrics["test/acc"]


def test_without_validation_the_last_weights_are_the_best(tiny: Compose, tmp_path: Path) -> None:
    result = train(tiny("data.val_size=0"), tmp_path / "run")
    best, last = (_weights(result.folder, name) for name in ("best", "last"))
    assert all(torch.equal(best[name], last[name]) for name in best)
    assert "val/loss" not in result.metrics
    assert result.score == result.metrics["train/loss"]


@pytest.mark.parametrize(
    ("overrides", "epochs"),
    [
        (("optimizer.lr=1e-30", "trainer.max_epochs=50"), 3),  # the best, and two more
        (("trainer.max_epochs=6",), 6),
        (("optimizer.lr=1e-30", "trainer.max_epochs=50", "trainer.min_epochs=5"), 5),
    ],
)
def test_early_stopping_waits_for_no_improvement_and_the_least_epochs(
    tiny: Compose, tmp_path: Path, overrides: tuple[str, ...], epochs: int
) -> None:
    result = train(tiny("early_stopping.patience=2", *overrides), tmp_path)
    assert (result.epochs, result.steps) == (epochs, 8 * epochs)


def test_accuracy_before_training(tiny: Compose, tmp_path: Path) -> None:
    config = tiny("evaluate_untrained=true", "optimizer.lr=1e-30", "trainer.max_epochs=1")
    metrics = train(config, tmp_path / "run").metrics
    assert metrics["untrained/val/acc"] == metrics["val/acc"]
    assert metrics["untrained/val/loss"] == pytest.approx(metrics["val/loss"])
    assert metrics["untrained/val/loss"] == pytest.approx(math.log(10), abs=0.5)


def test_the_test_images_do_not_select(tiny: Compose, tiny_root: Path, tiny_run: Result, tmp_path: Path) -> None:
    shutil.copytree(tiny_root, tmp_path / "data")
    labels = tmp_path / "data" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:8] + bytes((label + 1) % 10 for label in labels.read_bytes()[8:]))
    wrong = train(tiny(f"data.root={tmp_path / 'data'}"), tmp_path / "run")
    weights, other = _weights(tiny_run.folder, "best"), _weights(wrong.folder, "best")
    assert all(torch.equal(weights[name], other[name]) for name in weights)
    assert wrong.score == tiny_run.score
    assert wrong.metrics["test/acc"] != tiny_run.metrics["test/acc"]


@pytest.mark.parametrize(
    ("override", "says"),
    [("trainer.devices=[0]", "^trainer: Lightning refuses these flags: "), ("data.val_size=5000", "val_size")],
)
def test_a_failed_run_has_no_result(tiny: Compose, tmp_path: Path, override: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        train(tiny(override), tmp_path)
    assert len(str(caught.value).splitlines()) <= 5
    assert not (tmp_path / "result.json").exists()
