"""The graph around somebody else's: pictures go in as vitrine has them, unit vectors come out.

    image (n, h, w, c) uint8 → float32, / 255, - mean, / sd → their layout → their type → THEIRS
        → float32 → pooled (n, d) → unit length → embedding; class outputs → float32 → logits

Their graph stands in it as it is, or, where it takes one picture at a time only, as the body of a Scan.
Needs the onnx package.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from vitrine import modelfile
from vitrine.spec import ImageSpec
from vitrine.wrapping import foreign
from vitrine.wrapping.foreign import PictureInput

Pool = Literal["mean", "first"]

_OURS = "vitrine/"
_NEW = 18  # the opset that a graph gets which uses none of ONNX's own operators; ReduceMean changed in it


@dataclass(frozen=True)
class Answer:
    """What their graph gives. name: with PREFIX. rank: 2, 3 or 4. width: how many numbers for a picture in the end."""

    name: str
    rank: int
    width: int


@dataclass(frozen=True)
class Plan:
    """What to build around their graph. logits: their class outputs, of rank 2, if wanted."""

    image: ImageSpec
    given: PictureInput
    embedding: Answer
    logits: Answer | None
    pool: Pool


@dataclass
class _Chain:
    """Nodes one after the other. last: the value that the next one takes."""

    last: str
    label: str
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def add(
        self,
        operator: str,
        constant: npt.NDArray[Any] | None = None,
        attributes: Mapping[str, int | list[int]] = MappingProxyType({}),
    ) -> None:
        """One more node, that also takes this constant."""
        made = f"{_OURS}{self.label}{len(self.nodes)}"
        inputs = [self.last]
        if constant is not None:
            inputs.append(f"{made} constant")
            self.constants.append(numpy_helper.from_array(constant, inputs[1]))
        node = helper.make_node(operator, inputs, [made])
        node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        self.nodes.append(node)
        self.last = made

    def cast(self, kind: int) -> None:
        """To that TensorProto.DataType."""
        self.add("Cast", attributes={"to": kind})

    def end(self, name: str) -> None:
        """Call what the last node makes by this name."""
        self.add("Identity")
        self.nodes[-1].output[0] = self.last = name


def around(theirs: onnx.ModelProto, plan: Plan, one_by_one: bool) -> onnx.ModelProto:
    """The model file's graph. one_by_one: their graph is asked about each picture on its own."""
    version = foreign.opset(theirs) or _NEW
    shapes = {modelfile.EMBEDDING: plan.embedding.width}
    chains = [_before(plan, one_by_one), _embedding(plan, version, one_by_one)]
    if plan.logits:
        shapes[modelfile.LOGITS] = plan.logits.width
        chains.append(_logits(plan.logits, one_by_one))
    nodes = [*chains[0].nodes, *theirs.graph.node, *(node for chain in chains[1:] for node in chain.nodes)]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in shapes.items()]
    if one_by_one:
        nodes = [_scan(nodes, plan, shapes)]
    graph = helper.make_graph(
        nodes,
        "vitrine",
        [helper.make_tensor_value_info(modelfile.INPUT, TensorProto.UINT8, ["n", *plan.image.shape])],
        outputs,
    )
    graph.initializer.extend(theirs.graph.initializer)
    graph.initializer.extend(constant for chain in chains for constant in chain.constants)
    imports = [entry for entry in theirs.opset_import if entry.domain not in ("", "ai.onnx")]
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version), *imports])
    model.ir_version = max(theirs.ir_version, 4)  # since 4 a weight need not be an input, too
    return model


def _before(plan: Plan, one_by_one: bool) -> _Chain:
    """From the picture to what their graph takes."""
    mean, sd = np.array(plan.image.mean), np.array(plan.image.sd)
    chain = _Chain(f"{_OURS}one" if one_by_one else modelfile.INPUT, "in")
    chain.cast(TensorProto.FLOAT)
    if one_by_one:
        chain.add("Reshape", np.array([1, *plan.image.shape]))
    chain.add("Mul", (1 / (255 * sd)).astype(np.float32))
    chain.add("Add", (-mean / sd).astype(np.float32))
    if plan.given.layout == "nchw":
        chain.add("Transpose", attributes={"perm": [0, 3, 1, 2]})
    if plan.given.kind != TensorProto.FLOAT:
        chain.cast(plan.given.kind)
    chain.end(plan.given.name)
    return chain


def _embedding(plan: Plan, version: int, one_by_one: bool) -> _Chain:
    """From what their graph gives to (n, d), of unit length."""
    chain = _Chain(plan.embedding.name, "out")
    chain.cast(TensorProto.FLOAT)
    axes = {3: [1], 4: [2, 3] if plan.given.layout == "nchw" else [1, 2]}.get(plan.embedding.rank, [])
    if axes and plan.pool == "first":
        chain.add("Gather", np.array(0), {"axis": 1})
    elif axes and version < _NEW:
        chain.add("ReduceMean", attributes={"axes": axes, "keepdims": 0})
    elif axes:
        chain.add("ReduceMean", np.array(axes), {"keepdims": 0})
    chain.add("LpNormalization", attributes={"axis": 1, "p": 2})
    if one_by_one:
        chain.add("Reshape", np.array([plan.embedding.width]))
    chain.end(modelfile.EMBEDDING)
    return chain


def _logits(given: Answer, one_by_one: bool) -> _Chain:
    """From their class outputs to ours."""
    chain = _Chain(given.name, "classes")
    chain.cast(TensorProto.FLOAT)
    if one_by_one:
        chain.add("Reshape", np.array([given.width]))
    chain.end(modelfile.LOGITS)
    return chain


def _scan(nodes: list[onnx.NodeProto], plan: Plan, shapes: dict[str, int]) -> onnx.NodeProto:
    """A node that does those nodes once for each picture. The weights stay outside."""
    body = helper.make_graph(
        nodes,
        "one picture",
        [helper.make_tensor_value_info(f"{_OURS}one", TensorProto.UINT8, plan.image.shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [size]) for name, size in shapes.items()],
    )
    names = list(shapes)
    for node in body.node:
        for place, name in enumerate(node.output):
            if name in names:
                node.output[place] = f"{_OURS}{name}"
    for value in body.output:
        value.name = f"{_OURS}{value.name}"
    return helper.make_node("Scan", [modelfile.INPUT], names, num_scan_inputs=1, body=body)
