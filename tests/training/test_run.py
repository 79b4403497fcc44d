import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from conftest import Compose
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from mlplab.errors import ConfigError, DataError, DivergedError
from mlplab.model import evaluation
from mlplab.monitoring import progress
from mlplab.runs import atomic_write
from mlplab.runs.result import Result
from mlplab.training import restore
from mlplab.training.run import train


def _content(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)[
        "state_dict"
    ]
    return state


def test_a_run_leaves_these_files(tiny_run: Result) -> None:
    (events,) = (name for name in _content(tiny_run.folder) if name.startswith("events.out.tfevents"))
    checkpoints = {"checkpoints/best.ckpt", "checkpoints/last.ckpt"}
    assert _content(tiny_run.folder) == {events, *checkpoints, "result.json", "status.json", ".lock"}


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
    """The defaults of torch, what is filled in from the run, and what a schedule has set by then."""
    adamw = train(tiny("optimizer.name=AdamW", "scheduler=cosine", "scheduler.warmup=4"), tmp_path / "adamw").folder
    result = json.loads((adamw / "result.json").read_text())
    assert result["config"]["optimizer"]["weight_decay"] == result["optimizer"]["weight_decay"] == 0.01
    assert result["optimizer"]["lr"] == 0.001 / 4
    assert result["scheduler"] == {"name": "CosineAnnealingLR", "T_max": 2 * 8 - 4, "eta_min": 0.0}
    cycle = train(tiny("optimizer=sgd", "scheduler=onecycle"), tmp_path / "cycle").folder
    result = json.loads((cycle / "result.json").read_text())
    assert (result["config"]["optimizer"]["momentum"], result["optimizer"]["momentum"]) == (0.9, 0.95)
    assert result["scheduler"]["total_steps"] == 2 * 8


@pytest.mark.parametrize(
    ("words", "shown"), [("optimizer.name=AdamW", 0.01), ("optimizer.name=Adam", 0.0), ("optimizer.name=LBFGS", None)]
)
def test_the_hparams_tab_shows_the_decay_that_torch_has(
    tiny: Compose, tmp_path: Path, words: str, shown: float | None
) -> None:
    curves = EventAccumulator(str(train(tiny(words, "trainer.max_epochs=1"), tmp_path).folder)).Reload()
    content = curves.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    given = HParamsPluginData.FromString(content).session_start_info.hparams
    assert (given["weight_decay"].number_value if "weight_decay" in given else None) == shown


def test_a_run_that_its_steps_end_is_validated_and_says_so(
    tiny: Compose, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In an epoch that would not have been validated, in the midst of it, or where it ends."""
    for steps, epochs in ((3, 1), (16, 2)):
        words = (f"trainer.max_steps={steps}", "trainer.check_val_every_n_epoch=5", "trainer.max_epochs=5")
        with caplog.at_level("INFO"):
            result = train(tiny(*words), tmp_path / str(steps))
        assert f"ended by trainer.max_steps={steps}, in epoch {epochs} of 5" in caplog.text
        assert "val/acc" in result.metrics
        assert result.score == result.metrics["val/loss"]


def test_a_plateau_may_be_looked_for_in_every_second_epoch(tiny: Compose, tmp_path: Path) -> None:
    """The rate falls in an epoch after one that was validated."""
    plateau = ("scheduler.name=ReduceLROnPlateau", "scheduler.patience=0", "scheduler.threshold=1e9")
    seldom = ("trainer.check_val_every_n_epoch=2", "trainer.max_epochs=6")
    result = train(tiny(*plateau, "scheduler.threshold_mode=abs", *seldom), tmp_path)
    rates = [row["lr"] for row in json.loads((result.folder / "result.json").read_text())["history"]]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3, 1e-3, 1e-4, 1e-4])


def test_the_same_seed_gives_the_same_run(tiny: Compose, tmp_path: Path) -> None:
    def run(name: str, *overrides: str) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
        result = train(tiny("model.dropout=0.3", *overrides), tmp_path / name)
        return _weights(result.folder), result.metrics

    (weights, metrics), (again, metrics_again), (other, _) = run("a"), run("b"), run("c", "seed=1")
    assert metrics == metrics_again
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert not any(torch.equal(weights[name], other[name]) for name in weights)


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
    [(("optimizer.lr=1e-30", "trainer.max_epochs=50"), 3), (("trainer.max_epochs=6",), 6)],  # 3: the best, and two more
)
def test_early_stopping_waits_for_no_improvement(
    tiny: Compose, tmp_path: Path, overrides: tuple[str, ...], epochs: int
) -> None:
    assert train(tiny("early_stopping.patience=2", *overrides), tmp_path).epochs == epochs


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


def test_a_folder_is_used_once(tiny: Compose, tmp_path: Path) -> None:
    train(tiny("trainer.max_epochs=1"), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="holds a run already"):
        train(tiny("trainer.max_epochs=1"), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("overrides", "error"),
    [
        (["trainer.profiler=foo"], ConfigError),
        (["optimizer=sgd", "optimizer.momentum=0", "optimizer.nesterov=true"], ConfigError),
        (["data.val_size=5000"], ConfigError),
        # in the last step of all, after its loss
        (["optimizer=sgd", "optimizer.lr=1e30", "data.batch_size=150", "trainer.max_epochs=1"], DivergedError),
        (
            ["optimizer=sgd", "optimizer.lr=1e30", "data.batch_size=200", "trainer.max_epochs=1", "data.val_size=0"],
            DivergedError,
        ),
    ],
)
def test_a_failed_run_has_no_result(
    tiny: Compose, tmp_path: Path, overrides: list[str], error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        train(tiny(*overrides), tmp_path)
    assert len(str(caught.value).splitlines()) <= 5
    assert "result.json" not in _content(tmp_path)


def test_missing_data(tiny: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(DataError, match="no network"):
        train(tiny(f"data.root={tmp_path / 'nowhere'}"), tmp_path / "run")
    assert "result.json" not in _content(tmp_path / "run")
    train(tiny("trainer.max_epochs=1"), tmp_path / "run")  # the folder is not used up


def test_the_curves_can_be_left_out(tiny: Compose, tmp_path: Path) -> None:
    train(tiny("trainer.logger=false"), tmp_path)
    assert not any("tfevents" in name for name in _content(tmp_path))


def test_the_bar_shows_the_time_left_and_the_figures(
    tiny: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "REFRESH_S", 0)
    train(tiny(), tmp_path / "without a terminal")
    assert " left, " not in capsys.readouterr().err
    train(tiny("trainer.enable_progress_bar=true"), tmp_path / "bar")
    drawn = capsys.readouterr().err
    for words in ("epoch 1/2", "epoch 2/2", " left, ", "loss ", "acc "):
        assert words in drawn


@pytest.mark.parametrize(
    "overrides",
    [
        ["trainer.val_check_interval=2"],
        ["trainer.check_val_every_n_epoch=2"],
        ["trainer.enable_checkpointing=false"],
        ["trainer.max_steps=10"],
    ],
)
def test_the_figures_are_those_of_the_weights_that_were_tested(
    tiny: Compose, tmp_path: Path, overrides: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """At a rate at which the validation loss goes up and down within an epoch."""
    config = tiny("trainer.max_epochs=4", "optimizer=sgd", "optimizer.lr=0.3", *overrides)
    result = train(config, tmp_path)
    if "trainer.enable_checkpointing=false" in overrides:
        last = json.loads((tmp_path / "result.json").read_text())["history"][-1]
        assert result.metrics["val/loss"] == last["val/loss"]
        return
    classifier, datamodule = restore.load(tmp_path)
    datamodule.setup()
    for split in ("val", "test"):
        scores = evaluation.score(classifier, datamodule.batches(split))
        assert result.metrics[f"{split}/acc"] == scores.acc
        assert result.metrics[f"{split}/loss"] == pytest.approx(scores.loss, rel=1e-5)


def test_the_status_is_that_of_the_run(tiny: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    write = atomic_write.write

    def noted(path: Path, content: bytes, *arguments: object, **named: object) -> None:
        if path.name == "status.json":
            written.append(json.loads(content)["status"])
        write(path, content, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(atomic_write, "write", noted)
    train(tiny(), tmp_path)
    assert (written[0], set(written[1:-1]), written[-1]) == ("running", {"running"}, "completed")
