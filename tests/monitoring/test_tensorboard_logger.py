"""The HParams tab, as TensorBoard's own plugin reads the runs of a folder."""

from pathlib import Path

import pytest
from conftest import Compose
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, get_experiment, list_session_groups
from tensorboard.plugins.hparams.backend_context import Context

from mlplab.errors import Paused
from mlplab.runs.result import read_pause
from mlplab.training.run import train

Row = tuple[dict[str, str | float], dict[str, float]]


def rows(folder: Path) -> dict[str, Row]:
    """Return the rows of the HParams tab: hyperparameters and metrics of each run."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    data = MultiplexerDataProvider(multiplexer, str(folder))
    context = Context(TBContext(logdir=str(folder), multiplexer=multiplexer, data_provider=data))
    nobody = RequestContext()
    experiment = get_experiment.Handler(nobody, context, "", api_pb2.GetExperimentRequest()).run()
    request = api_pb2.ListSessionGroupsRequest(allowed_statuses=[api_pb2.STATUS_SUCCESS], slice_size=100)
    for info in experiment.metric_infos:
        request.col_params.add(metric=info.name)
    return {
        group.name: (
            {key: value.string_value or value.number_value for key, value in group.hparams.items()},
            {figure.name.tag: figure.value for figure in group.metric_values},
        )
        for group in list_session_groups.Handler(nobody, context, "", request).run().session_groups
    }


def test_each_run_is_a_row_of_the_hparams_tab(tiny: Compose, tmp_path: Path) -> None:
    """This includes an extended run; a run without validation lacks its metric."""
    train(tiny("seed=1"), tmp_path / "longer")
    results = {
        "longer": train(tiny("seed=1", "trainer.max_epochs=4"), tmp_path / "longer", resume=True),
        "other": train(tiny("model.hidden=[8,4]", "optimizer=sgd", "optimizer.lr=0.5"), tmp_path / "other"),
        "unvalidated": train(tiny("data.val_size=0"), tmp_path / "unvalidated"),
    }
    found = rows(tmp_path)
    chosen = {
        "data": "mnist",
        "hidden": "8x4",
        "optimizer": "SGD",
        "lr": 0.5,
        "batch_size": 20,
        "max_epochs": 2,
        "seed": 0,
    }
    assert chosen.items() <= found["other"][0].items()
    assert {"hidden": "16", "seed": 1, "max_epochs": 4}.items() <= found["longer"][0].items()
    assert set(found) == set(results)
    for name, result in results.items():
        figures = {"test/acc": result.metrics["test/acc"]}
        if name != "unvalidated":
            figures["val/acc_best"] = result.metrics["val/acc"]
        assert found[name][1] == pytest.approx(figures)


def test_runs_of_a_search_are_rows_that_lack_no_metric(tiny: Compose, tmp_path: Path) -> None:
    """TensorBoard hides a row without one of the metrics, and a paused run has no test accuracy."""
    with pytest.raises(Paused):
        train(tiny("seed=1"), tmp_path / "paused", pause_after=1)
    (best,) = (epoch["val/acc"] for epoch in read_pause(tmp_path / "paused").history)
    complete = train(tiny(), tmp_path / "complete", pause_after=2)
    shown = {"paused": {"val/acc_best": best}, "complete": {"val/acc_best": complete.metrics["val/acc"]}}
    assert {name: metrics for name, (_, metrics) in rows(tmp_path).items()} == {
        name: pytest.approx(metrics) for name, metrics in shown.items()
    }
    resumed = train(tiny("seed=1"), tmp_path / "paused", resume=True, pause_after=2)
    assert rows(tmp_path)["paused"][1] == pytest.approx({"val/acc_best": resumed.metrics["val/acc"]})
