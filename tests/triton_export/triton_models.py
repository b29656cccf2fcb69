"""Models whose shapes are of every kind that a repository has to describe."""

from onnx import parser

TWO_INPUTS = """
<ir_version: 10, opset_import: ["": 18]>
net (float[batch, 2] a, int64[batch, 2] b) => (float[batch, 2] sum, float[batch] total)
{
    c = Cast <to = 1> (b)
    sum = Add (a, c)
    total = ReduceSum <keepdims = 0> (sum, axes)
}
"""
OPEN_SIZES = """
<ir_version: 10, opset_import: ["": 18]>
net (float[batch, 1, height, width] image) => (float[batch, 1, height, width] out)
{
    out = Relu (image)
}
"""
ND_LAYER_WITHOUT_BODY = """
<ir_version: 10, opset_import: ["": 18, "nd_deploy": 1]>
net (float[batch, 4] x) => (float[batch, 4] y)
{
    y = nd_deploy.NDChannelDeconv (x)
}
"""


def parsed(text):
    proto = parser.parse_model(text)
    if "axes" in text:
        axes = proto.graph.initializer.add(name="axes", data_type=7, dims=[1])
        axes.int64_data.append(1)
    return proto
