"""Makes the data and the network of a run from its configuration."""

import torch

from mlplab.config.cross_checks import single_images
from mlplab.config.schema import Config
from mlplab.data.datamodule import ImageDataModule
from mlplab.data.splits import require_all_classes
from mlplab.errors import ConfigError
from mlplab.model.classifier import Classifier
from mlplab.randomness import Purpose, derive


def build(config: Config) -> tuple[ImageDataModule, Classifier]:
    """Read and verify the data, and make an untrained classifier for them.

    Raises:
        DataError: if the data are missing or damaged, or a class of own data has no image to train on.
        ConfigError: if the configuration does not fit the number of images.
    """
    augment = config.regularization.distortions
    datamodule = ImageDataModule(**config.data.model_dump(), seed=config.seed, augment=augment)
    datamodule.setup()
    require_all_classes(datamodule)
    wrong = [line for line, is_true in single_images(config, len(datamodule.train_rows)).items() if is_true]
    if wrong:  # which the number of images of own data decides
        raise ConfigError(wrong[0])
    torch.manual_seed(derive(config.seed, Purpose.WEIGHTS))
    classifier = Classifier(
        **config.model.model_dump(),
        **config.regularization.arguments,
        gradient_clip_val=config.trainer.gradient_clip_val,
        gradient_clip_algorithm=config.trainer.gradient_clip_algorithm,
        max_steps=config.trainer.max_steps,
        image_shape=datamodule.info.image_shape,
        classes=datamodule.info.classes,
        optimizer=config.optimizer.model_dump(exclude_unset=True),
        scheduler=config.scheduler.model_dump(exclude_unset=True),
        monitor=config.monitor,
        seed=config.seed,
    )
    if config.trainer.precision in (64, "64", "64-true"):
        classifier.double()  # Lightning would do so only after it has loaded a checkpoint into 32-bit floats
    return datamodule, classifier
