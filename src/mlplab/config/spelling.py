"""Suggestions for misspelled keys and choices, and for their names in other libraries."""

from collections.abc import Iterable
from difflib import get_close_matches

# Names in Keras, scikit-learn and others, by the corresponding key or choice.
ELSEWHERE = {
    "trainer.max_epochs": "epochs epoch n_epochs num_epochs nb_epoch nb_epochs max_epoch max_iter n_iter",
    "optimizer.lr": "learning_rate learningrate learning_rate_init lr_rate rate eta step_length",
    "optimizer.weight_decay": "wd l2 l2_reg l2_penalty kernel_regularizer decay",
    "optimizer": "optim opt solver algorithm optimiser",
    "scheduler": "schedule sched lr_schedule lr_scheduler lr_decay",
    "scheduler.warmup": "warmup_steps warm_up num_warmup_steps",
    "data": "dataset data_set datasets ds",
    "data.root": "data_dir data_path data_root datadir dataset_path root_dir",
    "data.batch_size": "batch batches batchsize minibatch mini_batch_size minibatch_size bs train_batch_size",
    "data.val_size": "val val_split validation_split validation_fraction validation_size valid_size val_fraction",
    "data.normalize": "normalise normalization normalisation scaling",
    "model.hidden": "layers layer units n_units num_units neurons n_neurons width widths hidden_size hidden_sizes"
    " hidden_dim hidden_dims hidden_units hidden_layers hidden_layer_sizes n_hidden num_hidden layer_sizes num_layers"
    " n_layers depth network architecture arch",
    "model.dropout": "drop dropout_rate dropout_p drop_rate p_drop droprate",
    "model.activation": "act activation_function activation_fn nonlinearity",
    "model.batch_norm": "batchnorm bn use_bn batch_normalization batch_normalisation",
    "regularization.label_smoothing": "smoothing label_smooth",
    "regularization": "regularisation regularizer augmentation augmentations augment aug data_augmentation transforms",
    "early_stopping.patience": "early_stop earlystopping es_patience n_iter_no_change",
    "regularization.averaging": "average weight_averaging swa ema",
    "regularization.mixup": "mix_up mixup_alpha",
    "regularization.max_norm": "maxnorm max_norm_value kernel_constraint",
    "monitor": "metric metrics",
    "seed": "random_state random_seed manual_seed torch_seed rng",
    "trainer.accelerator": "device gpu gpus cuda use_gpu use_cuda",
    "trainer.precision": "amp fp16 bf16 mixed_precision dtype",
    "trainer.gradient_clip_val": "clip clipnorm clip_norm grad_clip gradient_clip max_grad_norm clip_grad_norm",
    "resume": "checkpoint ckpt ckpt_path resume_from resume_from_checkpoint load",
    "experiment": "recipe exp",
    "hydra.run.dir": "out out_dir output output_dir save_dir log_dir logdir default_root_dir",
    "fashion": "fashionmnist fashion_mnist fmnist",
}
_MEANT = {word: key for key, words in ELSEWHERE.items() for word in words.split()}
_OTHER_THINGS = {"emnist", "kmnist", "qmnist"}  # other data sets, although their names are close


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the member of `known` that `word` stands for in another library or is close to, ignoring case."""
    by_lower = {name.lower(): name for name in known}
    lower = word.lower().replace("-", "_")
    meant = _MEANT.get(lower, "")
    for name in (lower, meant, meant.rpartition(".")[2]):
        if name in by_lower:
            return by_lower[name]
    if lower in _OTHER_THINGS:
        return None
    close = get_close_matches(lower, by_lower, n=1, cutoff=0.75 if len(word) > 3 else 0.6)
    return by_lower[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return '; did you mean WORD?', or nothing."""
    close = closest(word, known)
    return f"; did you mean {close}?" if close else ""
