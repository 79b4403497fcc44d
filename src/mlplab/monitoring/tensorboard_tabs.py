"""Tabs of TensorBoard other than curves: one function for each, which takes a SummaryWriter."""

import shlex
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from torch import Tensor, nn
from torch.nn import functional as F

from mlplab.config.schema import Config
from mlplab.model.mlp import last_hidden_layer
from mlplab.model.summary import layer_table, layers
from mlplab.monitoring.tensorboard_logger import BY_EPOCH
from mlplab.runs import atomic_write

PR_THRESHOLDS = 101  # from 0 to 1
CODE = "    "  # indents a Markdown code block


def layout(writer: Any, validates: bool) -> None:
    """Lay out the tab Custom Scalars: training and validation on one chart, by step and by epoch."""
    by_step = {"loss": ["train/loss_step"], "accuracy": ["train/acc_step"]}
    by_epoch = {"loss": [f"{BY_EPOCH}train/loss"], "accuracy": [f"{BY_EPOCH}train/acc"]}
    if validates:
        for name, tag in (("loss", "val/loss"), ("accuracy", "val/acc")):
            by_step[name].append(tag)
            by_epoch[name].append(BY_EPOCH + tag)
        by_step["gap of training to validation"] = ["gap/loss", "gap/acc"]
    by_step |= {"learning rate": ["lr_step"], "images per second": ["images_per_s"]}
    writer.add_custom_scalars({"by step": _charts(by_step), "by epoch": _charts(by_epoch)})


def _charts(tags: Mapping[str, Sequence[str]]) -> dict[str, list[Any]]:
    return {name: ["Multiline", [f"^{tag}$" for tag in of_chart]] for name, of_chart in tags.items()}


def text(writer: Any, config: Config, folder: Path, network: nn.Sequential, image_shape: Sequence[int]) -> None:
    """Write the configuration, the table of layers, and the command line if Hydra recorded one in `folder`."""
    shown = yaml.safe_dump(config.recorded, sort_keys=False, default_flow_style=None)
    writer.add_text("configuration", textwrap.indent(shown, CODE))
    writer.add_text("layers", layer_table(network, image_shape))
    overrides = atomic_write.read(folder / ".hydra" / "overrides.yaml", 2**16)
    if overrides is not None:
        given = yaml.safe_load(overrides) or []
        writer.add_text("command", textwrap.indent(shlex.join(["python", "train.py", *map(str, given)]), CODE))


def graph(writer: Any, network: nn.Sequential, image_shape: Sequence[int]) -> None:
    """Write a node for each layer; SummaryWriter.add_graph would trace the network, and take a second to import."""
    nodes: list[NodeDef] = []
    for name, layer, shape in layers(network, image_shape):
        dimensions = [TensorShapeProto.Dim(size=size) for size in (-1, *shape)]
        attributes = {"_output_shapes": AttrValue(list=AttrValue.ListValue(shape=[TensorShapeProto(dim=dimensions)]))}
        if layer is not None and layer.extra_repr():
            attributes["arguments"] = AttrValue(s=layer.extra_repr().encode())
        node = NodeDef(name="images", op="Placeholder", attr=attributes)
        if layer is not None:
            node = NodeDef(name=f"{type(network).__name__}/{name}", op=type(layer).__name__, attr=attributes)
            node.input.append(nodes[-1].name)
        nodes.append(node)
    nodes.append(NodeDef(name="output", op="Identity", input=[nodes[-1].name]))
    writer.file_writer.add_event(Event(graph_def=GraphDef(node=nodes).SerializeToString()))


def pr_curves(writer: Any, probabilities: Tensor, labels: Tensor, classes: Sequence[str], step: int) -> None:
    """Write the curve of each class against the rest, from probabilities (N, K) and labels (N,)."""
    for k, name in enumerate(classes):
        writer.add_pr_curve(f"pr/{name.replace('/', ' ')}", labels == k, probabilities[:, k], step, PR_THRESHOLDS)


def histograms(writer: Any, network: nn.Module, images: Tensor, labels: Tensor, step: int) -> None:
    """Write weights, and gradients of the loss over normalised images (B, C, H, W) and their labels (B,)."""
    weights = dict(network.named_parameters())
    was_training = network.training
    network.eval()
    with torch.enable_grad():
        loss = F.cross_entropy(network(images.to(next(network.parameters()).dtype)), labels)
        gradients = torch.autograd.grad(loss, [*weights.values()])
    network.train(was_training)
    for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
        writer.add_histogram(f"weights/{name}", weight.detach(), step)
        writer.add_histogram(f"gradients/{name}", gradient, step)


@torch.no_grad()
def projector(
    writer: Any, network: nn.Sequential, images: Tensor, originals: Tensor, names: Sequence[str], step: int
) -> None:
    """Write the last hidden layer of normalised images (N, C, H, W), with `originals` (N, C, H, W) uint8."""
    network.eval()
    features = last_hidden_layer(network, images)
    writer.add_embedding(features.float(), list(names), originals.cpu() / 255, step, tag="last_hidden_layer")
