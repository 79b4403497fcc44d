"""The row of a run in TensorBoard's HParams tab."""

from mlplab.config.schema import Config


def row(config: Config) -> dict[str, str | float]:
    """Select the hyperparameters that most experiments vary, for TensorBoard."""
    decay = config.optimizer.weight_decay  # None: not an argument of this optimizer
    return {
        "data": config.data.label,
        "hidden": "x".join(map(str, config.model.hidden)) or "none",
        "dropout": max(config.model.dropout, default=0.0),
        "activation": config.model.activation,
        "optimizer": config.optimizer.name,
        "lr": config.optimizer.lr,
        **({} if decay is None else {"weight_decay": decay}),
        "scheduler": config.scheduler.name or "constant",
        "batch_size": config.data.batch_size,
        "max_epochs": config.trainer.max_epochs,
        "seed": config.seed,
    }
