"""Models in ncnn's format (a .param file of layers, a .bin file of weights) as ONNX.

Layers and their numbered parameters are those of ncnn's operation-param-weight-table. Only what the zoo's upscalers hold
is converted; any other layer is an error.
"""

import struct

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MAGIC, HALVES = "7767517", 0x01306B47
ARITHMETIC = {0: "Add", 1: "Sub", 2: "Mul", 3: "Div"}
CHANNELS = 3


class Weights:
    """The .bin file, read from its beginning to its end."""

    def __init__(self, content):
        self.content, self.at = content, 0

    def floats(self, count):
        values = np.frombuffer(self.content, np.float32, count, self.at)
        self.at += 4 * count
        return values

    def kernel(self, count):
        """Weights behind a word that names their type; halves are padded to whole words."""
        (kind,) = struct.unpack_from("<I", self.content, self.at)
        self.at += 4
        if kind == 0:
            return self.floats(count)
        if kind != HALVES:
            raise ValueError(f"weights of the type {kind:#x}")
        values = np.frombuffer(self.content, np.float16, count, self.at).astype(np.float32)
        self.at += (2 * count + 3) // 4 * 4
        return values


class Layer:
    """A line of the .param file: parameters by number, an array by -23300 less its number."""

    def __init__(self, line):
        self.kind, self.name, ins, outs, *rest = line.split()
        ins, outs = int(ins), int(outs)
        self.inputs, self.outputs = rest[:ins], rest[ins : ins + outs]
        pairs = (pair.split("=") for pair in rest[ins + outs :])
        self.parameters = {int(key): value for key, value in pairs}

    def int(self, number, default=0):
        return int(self.parameters.get(number, default))

    def float(self, number, default=0.0):
        return float(self.parameters.get(number, default))

    def array(self, number):
        return [float(v) for v in self.parameters[-23300 - number].split(",")[1:]]


class Converter:
    """Nodes and weights as they are added; `names` are the values that splits hand on."""

    def __init__(self, weights):
        self.weights, self.nodes, self.tensors, self.names = weights, [], [], {}

    def tensor(self, name, values):
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, kind, inputs, output, name, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], name, **attributes))
        return output

    def add(self, layer):
        """Adds a layer by the method of its kind."""
        inputs = [self.names.get(name, name) for name in layer.inputs]
        if layer.kind == "Split":
            self.names.update((output, inputs[0]) for output in layer.outputs)
            return
        (output,) = layer.outputs
        method = getattr(self, f"of_{layer.kind.lower()}", None)
        if method is None:
            raise ValueError(f"a layer {layer.kind}")
        method(layer, inputs, output)

    def weighted(self, layer, kernel, biased):
        names = [self.tensor(f"{layer.name}.weight", kernel)]
        return names + ([self.tensor(f"{layer.name}.bias", self.weights.floats(layer.int(0)))] if biased else [])

    def activated(self, layer, output, write):
        """Has `write` write the layer, and its activation (parameter 9) behind it."""
        kind = layer.int(9)
        if kind == 0:
            write(output)
            return
        before, name = f"{output}.before", f"{layer.name}.activation"
        write(before)
        if kind == 2:
            self.node("LeakyRelu", [before], output, name, alpha=layer.array(10)[0])
        else:
            self.node({1: "Relu", 4: "Sigmoid"}[kind], [before], output, name)

    def of_convolution(self, layer, inputs, output):
        outputs, width, pad = layer.int(0), layer.int(1), layer.int(4)
        height, count = layer.int(11, width), layer.int(6)
        kernel = self.weights.kernel(count).reshape(outputs, -1, height, width)
        weights = self.weighted(layer, kernel, layer.int(5))
        strides, dilations = [layer.int(3, 1)] * 2, [layer.int(2, 1)] * 2
        shape = {"kernel_shape": [height, width], "pads": [pad] * 4, "strides": strides, "dilations": dilations}
        self.activated(layer, output, lambda to: self.node("Conv", inputs + weights, to, layer.name, **shape))

    def of_deconvolution(self, layer, inputs, output):
        outputs, side, pad = layer.int(0), layer.int(1), layer.int(4)
        kernel = self.weights.kernel(layer.int(6)).reshape(outputs, -1, side, side).transpose(1, 0, 2, 3)
        weights = self.weighted(layer, kernel, layer.int(5))
        shape = {"kernel_shape": [side] * 2, "pads": [pad] * 4, "strides": [layer.int(3, 1)] * 2}
        self.activated(layer, output, lambda to: self.node("ConvTranspose", inputs + weights, to, layer.name, **shape))

    def of_innerproduct(self, layer, inputs, output):
        """Behind a global pooling: a convolution of one tap."""
        kernel = self.weights.kernel(layer.int(2)).reshape(layer.int(0), -1, 1, 1)
        weights = self.weighted(layer, kernel, layer.int(1))
        self.activated(layer, output, lambda to: self.node("Conv", inputs + weights, to, layer.name))

    def of_prelu(self, layer, inputs, output):
        slopes = self.weights.floats(layer.int(0)).reshape(-1, 1, 1)
        self.node("PRelu", [*inputs, self.tensor(f"{layer.name}.slope", slopes)], output, layer.name)

    def of_pixelshuffle(self, layer, inputs, output):
        self.node("DepthToSpace", inputs, output, layer.name, blocksize=layer.int(0), mode="CRD")

    def of_interp(self, layer, inputs, output):
        scales = self.tensor(f"{layer.name}.scales", np.array([1, 1, layer.float(1), layer.float(2)], np.float32))
        how = {
            1: {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
            3: {"mode": "cubic", "coordinate_transformation_mode": "half_pixel"},
        }[layer.int(0)]
        self.node("Resize", [*inputs, "", scales], output, layer.name, **how)

    def of_binaryop(self, layer, inputs, output):
        if layer.int(1):
            inputs = [*inputs, self.tensor(f"{layer.name}.value", np.float32(layer.float(2)))]
        self.node(ARITHMETIC[layer.int(0)], inputs, output, layer.name)

    def of_eltwise(self, layer, inputs, output):
        if layer.int(0) != 1 or -23301 in layer.parameters:
            raise ValueError("an Eltwise that is no plain sum")
        self.node("Add", inputs, output, layer.name)

    def of_pooling(self, layer, inputs, output):
        if (layer.int(0), layer.int(4)) != (1, 1):
            raise ValueError("a Pooling that is no global mean")
        self.node("GlobalAveragePool", inputs, output, layer.name)

    def of_scale(self, layer, inputs, output):
        self.node("Mul", inputs, output, layer.name)

    def of_crop(self, layer, inputs, output):
        """As much off every side of the first input."""
        off, ends = layer.int(0), (("starts", 1), ("ends", -1))
        bounds = [self.tensor(f"{layer.name}.{name}", np.array([sign * off] * 2)) for name, sign in ends]
        axes = self.tensor(f"{layer.name}.axes", np.array([2, 3]))
        self.node("Slice", [inputs[0], *bounds, axes], output, layer.name)


def convert(source, target):
    """Reads `source` (.param) and the .bin file beside it; of three channels in and out, of any extent."""
    magic, _, *lines = source.read_text().splitlines()
    if magic != MAGIC:
        raise ValueError(f"{source}: not a text file of ncnn")
    converter = Converter(Weights(source.with_suffix(".bin").read_bytes()))
    layers = [Layer(line) for line in lines if line.strip()]
    for layer in layers[1:]:
        converter.add(layer)
    if converter.weights.at != len(converter.weights.content):
        raise ValueError(f"{source}: weights are left over")
    extents = (["batch", CHANNELS, "height", "width"], ["batch", CHANNELS, "upscaled_height", "upscaled_width"])
    ends = (layers[0].outputs[0], layers[-1].outputs[0])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in zip(ends, extents)]
    graph = helper.make_graph(converter.nodes, source.stem, ends[:1], ends[1:], converter.tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, target)
