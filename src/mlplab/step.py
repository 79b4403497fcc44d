"""A whole training step as one compiled graph: batch, forward, loss, backward, update.

On the CPU, Inductor turns the graph into a library once; it is kept and loaded by later runs in milliseconds. On a GPU
the graph is compiled by `torch.compile` and replayed from a CUDA graph.
"""

import hashlib
import logging
import os
import platform
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from mlplab import updates
from mlplab.aids import averaging, max_norm
from mlplab.aids.mixup import Mixture
from mlplab.augment import Distortion
from mlplab.mlp import GaussianNoise
from mlplab.randomness import bits, normal

log = logging.getLogger(__name__)

Compiled = Callable[[list[Tensor]], object]

# What a compiled step is made from: a change in one of these files makes a new one.
SOURCES = (
    *("step.py", "updates.py", "mlp.py", "datamodule.py", "randomness.py", "augment.py"),
    *("aids/max_norm.py", "aids/mixup.py", "aids/averaging.py"),
)


class CompilationError(Exception):
    """Why a run has to do without the compiled step."""


@dataclass(frozen=True)
class Recipe:
    """What a step does, apart from its tensors: constants of the graph."""

    mlp: nn.Sequential
    optimizer: optim.Optimizer
    normalized: Callable[[Tensor], Tensor]  # pixels (B, C, H, W) uint8 -> float32
    normalization: str  # tells one `normalized` from another
    distortion: Distortion = field(default_factory=Distortion)  # of the pixels, before that
    bfloat16: bool = False  # forward and backward in mixed precision
    clip_norm: float | None = None  # largest norm of the gradient
    clip_value: float | None = None  # largest value in it
    label_smoothing: float = 0.0
    max_norm: float | None = None  # of the weights into a hidden unit
    mixes: bool = False  # mixup
    ema_decay: float | None = None  # of an average of the weights

    @property
    def inputs(self) -> int:
        """How many tensors are of the data and of one batch; the others last."""
        return 7 if self.mixes else 5


def step(recipe: Recipe, tensors: Sequence[Tensor]) -> None:
    """Train on one batch, in place.

    Args:
        recipe: what to do.
        tensors: images (N, C, H, W) uint8; labels (N,); rows (B,) of the batch; numbers (n,) of the update rule;
            seeds (2,) int32 of dropout and noise and of the distortion; with mixup, share () float32 and partners (B,);
            sums (3,) float64 to which loss, correct answers and images are added; then the weights, the running
            statistics of batch norm, and the optimizer's buffers of each weight; with an average, its count () int64,
            weights and statistics.
    """
    all_images, all_labels, rows, numbers, seeds, *_ = tensors
    optimizer, rest = recipe.optimizer, iter(tensors[recipe.inputs :])
    rule, group = updates.RULES[type(optimizer)], optimizer.param_groups[0]
    sums = next(rest)
    weights = [next(rest) for _ in recipe.mlp.parameters()]
    statistics = [next(rest) for _ in recipe.mlp.buffers()]
    buffers = [[next(rest) for _ in rule.buffers(group)] for _ in weights]
    seed, distortion_seed = seeds.unbind()
    images, labels = all_images[rows], all_labels[rows]  # (B, C, H, W), (B,)
    images = recipe.normalized(recipe.distortion(images, distortion_seed))
    mixture = Mixture(*tensors[5:7]) if recipe.mixes else None
    if mixture is not None:
        images = mixture.images(images)

    def loss_of(weights: list[Tensor]) -> tuple[Tensor, tuple[Tensor, list[tuple[Tensor, Tensor]]]]:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=recipe.bfloat16):
            logits, moments = _logits(recipe.mlp, weights, images, seed)  # (B, K)
            if mixture is None:
                return F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing), (logits, moments)
            return mixture.loss(logits, labels, recipe.label_smoothing), (logits, moments)

    gradients, (loss, (logits, moments)) = torch.func.grad_and_value(loss_of, has_aux=True)(weights)
    if recipe.clip_norm is not None:  # as torch.nn.utils.clip_grad_norm_
        norm = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
        gradients = [gradient * (recipe.clip_norm / (norm + 1e-6)).clamp(max=1) for gradient in gradients]
    if recipe.clip_value is not None:
        gradients = [gradient.clamp(-recipe.clip_value, recipe.clip_value) for gradient in gradients]
    limited = max_norm.limited_weights(recipe.mlp)
    for weight, gradient, own, is_limited in zip(weights, gradients, buffers, limited, strict=True):
        rule.update(weight, gradient, own, numbers.unbind(), group)
        if recipe.max_norm is not None and is_limited:
            max_norm.limit(weight, recipe.max_norm)
    _move_statistics(recipe.mlp, statistics, moments)
    if recipe.ema_decay is not None:
        count, *averages = rest
        averaging.move(averages, [*weights, *statistics], averaging.ema_share(count, recipe.ema_decay))
        count.add_(1)
    labels = labels if mixture is None else mixture.labels(labels)
    correct = (logits.argmax(dim=1) == labels).sum()
    sums.add_(torch.stack([loss.double() * len(rows), correct.double(), torch.full_like(sums[0], len(rows))]))


def _logits(
    mlp: nn.Sequential, weights: Sequence[Tensor], images: Tensor, seed: Tensor
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Logits (B, K), and for each batch norm the mean and the variance (units,) of the batch."""
    remaining, features, moments = iter(weights), images, []
    for place, module in enumerate(mlp):
        own = {name: next(remaining) for name, _ in module.named_parameters()}
        if isinstance(module, nn.Dropout):
            features = dropout(features, module.p, seed, place)
        elif isinstance(module, GaussianNoise):
            # `normal` takes the place after it, too: that of a layer that draws nothing.
            features = features + module.std * normal(features.shape, seed, place).to(features.dtype)
        elif isinstance(module, nn.BatchNorm1d):
            variance, mean = torch.var_mean(features.float(), dim=0)
            moments.append((mean.detach(), variance.detach()))
            scale, shift = own.get("weight"), own.get("bias")
            features = F.batch_norm(features, None, None, scale, shift, training=True, eps=module.eps)
        else:
            features = torch.func.functional_call(module, own, (features,))
    return features, moments


def _move_statistics(
    mlp: nn.Sequential, statistics: Sequence[Tensor], moments: Sequence[tuple[Tensor, Tensor]]
) -> None:
    """As a batch norm of torch does it, in place; `statistics`: running mean, variance and count of each."""
    remaining = iter(statistics)
    norms = [module for module in mlp if isinstance(module, nn.BatchNorm1d)]
    for module, batch in zip(norms, moments, strict=True):
        assert module.momentum is not None
        for running, value in zip(islice(remaining, 2), batch, strict=True):
            running.lerp_(value, module.momentum)
        next(remaining).add_(1)


def dropout(x: Tensor, rate: float, seed: Tensor, place: int) -> Tensor:
    """Zero a share of `x` and scale the rest, by a hash of seed, place and index.

    torch draws such numbers one by one, which takes a quarter of the step of two layers of 512 units. `seed` is int32
    of shape (), `place` tells layers apart.
    """
    kept: Tensor = torch.where(bits(x.shape, seed, place) >= int(rate * 2**31), x * (1 / (1 - rate)), 0.0)
    return kept


def compiled(recipe: Recipe, tensors: Sequence[Tensor]) -> Compiled:
    """A function that does `step(recipe, tensors)` for any tensors of these shapes, given as a list.

    Raises:
        CompilationError: if this machine cannot.
    """
    if tensors[0].device.type == "cuda":
        try:
            return _captured(recipe, tensors)
        except Exception as error:  # whatever goes wrong in there, the run can do without
            raise CompilationError(f"no CUDA graph: {next(iter(str(error).splitlines()), type(error))}") from error
    package = _package(recipe, tensors)
    if package.exists():
        with suppress(Exception):  # damaged, in whatever way: made again
            return _loaded(package)
    if not shutil.which(os.environ.get("CXX", "clang++" if platform.system() == "Darwin" else "g++")):
        raise CompilationError("there is no C++ compiler (g++, or what the variable CXX names)")
    log.info("compiling the training step, once for this network, optimizer and batch size ...")
    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch says of its own parts
            _compile(recipe, tensors, package)
        step = _loaded(package)
    except Exception as error:  # whatever goes wrong in there, the run can do without
        raise CompilationError(f"compiling failed: {next(iter(str(error).splitlines()), type(error))}") from error
    log.info(f"compiled in {time.perf_counter() - started:.0f} s, kept in {package.parent}")
    return step


def cache_folder() -> Path:
    """Where compiled steps are kept, 2 MB each; whatever is deleted there is compiled again."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "mlplab" / "steps"


def _package(recipe: Recipe, tensors: Sequence[Tensor]) -> Path:
    """A file whose name tells all that the compiled step depends on."""
    optimizer = recipe.optimizer
    folder = Path(__file__).parent
    constants = [constant for constant in fields(recipe) if constant.name not in ("mlp", "optimizer", "normalized")]
    parts = [
        [(tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors],
        [repr(recipe.mlp), *((constant.name, getattr(recipe, constant.name)) for constant in constants)],
        [type(optimizer), updates.constants(optimizer)],
        [torch.__version__, torch.get_num_threads(), _processor()],
        [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in SOURCES],
    ]
    return cache_folder() / f"{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}.pt2"


def _processor() -> str:
    """Its instructions: the code is made for those of this machine, and a home folder may be shared by several."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())


def _compile(recipe: Recipe, tensors: Sequence[Tensor], package: Path) -> None:
    # It looks for CUDA, and complains where there is none.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    from torch._inductor import aoti_compile_and_package

    package.parent.mkdir(parents=True, exist_ok=True)
    graph, examples = _traced(recipe, tensors)
    program = torch.export.export(graph, examples)
    with tempfile.TemporaryDirectory(dir=package.parent, prefix=".") as scratch:  # so that no run finds half a file
        partial = Path(scratch, package.name)
        aoti_compile_and_package(program, package_path=str(partial))
        partial.replace(package)


def _traced(recipe: Recipe, tensors: Sequence[Tensor]) -> tuple[torch.fx.GraphModule, tuple[Tensor, ...]]:
    """The step as a graph of plain tensor operations, and the tensors that it was tried on: it writes to them."""
    from torch.fx.experimental.proxy_tensor import make_fx

    examples = tuple(torch.zeros_like(tensor) for tensor in tensors)
    return make_fx(lambda *tensors: step(recipe, tensors))(*examples), examples


def _loaded(package: Path) -> Compiled:
    # What torch._inductor.aoti_load_package wraps, without the second that it takes to import.
    loader = torch._C._aoti.AOTIModelPackageLoader(str(package), "model", False, 1, -1)
    run: Compiled = loader.boxed_run
    return run


def _captured(recipe: Recipe, tensors: Sequence[Tensor]) -> Compiled:
    """Record the compiled step over copies of its small inputs; to take a step is to write those and replay it."""
    inputs, lasting = slice(2, recipe.inputs), tensors[recipe.inputs :]
    fixed = [*tensors[:2], *(tensor.clone() for tensor in tensors[inputs]), *lasting]
    saved = [tensor.clone() for tensor in lasting]
    function = torch.compile(_traced(recipe, tensors)[0], fullgraph=True, dynamic=False)
    graph = torch.cuda.CUDAGraph()
    try:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # CUDA graphs want the first calls on a stream of their own
            for _ in range(3):
                function(*fixed)
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(graph):
            function(*fixed)
    finally:
        for tensor, before in zip(lasting, saved, strict=True):
            tensor.copy_(before)

    def replay(tensors: list[Tensor]) -> None:
        for old, new in zip(fixed[inputs], tensors[inputs], strict=True):
            old.copy_(new, non_blocking=True)
        graph.replay()

    return replay
