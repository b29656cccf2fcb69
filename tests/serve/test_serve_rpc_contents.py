"""Tensors in raw and in typed contents, as Triton's messages carry them."""

import grpc
import ml_dtypes
import numpy as np
import pytest
from rpc_stand_ins import EchoService, model, serving, stub
from tritonclient.grpc import service_pb2

DTYPES = {
    "BOOL": np.bool_,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "FP16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "FP32": np.float32,
    "FP64": np.float64,
}
TYPED = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}

# Values enough for the request to be read aside.
LONG = 300_000


@pytest.fixture(scope="module")
def service():
    return EchoService(model("long", size=LONG), *(model(name, name) for name in DTYPES))


@pytest.fixture(scope="module")
def infer(service):
    with serving(service) as address, grpc.insecure_channel(address) as channel:
        yield stub(channel).ModelInfer


def extremes(datatype):
    """Three values of a datatype, its smallest and its largest among them."""
    dtype = np.dtype(DTYPES[datatype])
    if datatype == "BOOL":
        return np.array([[True, False, True]])
    info = np.iinfo(dtype) if dtype.kind in "iu" else ml_dtypes.finfo(dtype)
    return np.array([[info.min, 1, info.max]], dtype)


def raw(datatype, data, shape=(1, 3)):
    request = service_pb2.ModelInferRequest(model_name=datatype, raw_input_contents=[data])
    request.inputs.add(name="x", datatype=datatype, shape=shape)
    return request


def typed(datatype, field, values, shape=(1, 3)):
    request = service_pb2.ModelInferRequest(model_name=datatype)
    contents = service_pb2.InferTensorContents(**{field: values})
    request.inputs.add(name="x", datatype=datatype, shape=shape, contents=contents)
    return request


def refused(infer, request):
    with pytest.raises(grpc.RpcError) as caught:
        infer(request)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    return caught.value.details()


@pytest.mark.parametrize("datatype", DTYPES)
def test_raw_contents_go_in_and_out_unchanged(infer, service, datatype):
    array = extremes(datatype)

    answer = infer(raw(datatype, array.tobytes()))

    assert service.requests[-1].inputs["x"].dtype == array.dtype
    assert answer.outputs[0].datatype == datatype
    assert list(answer.outputs[0].shape) == [1, 3]
    assert list(answer.raw_output_contents) == [array.tobytes()]


@pytest.mark.parametrize("datatype", TYPED)
def test_typed_contents_are_answered_as_raw_ones(infer, service, datatype):
    array = extremes(datatype)

    answer = infer(typed(datatype, TYPED[datatype], array.ravel().tolist()))

    assert service.requests[-1].inputs["x"].dtype == array.dtype
    assert list(answer.raw_output_contents) == [array.tobytes()]
    assert not answer.outputs[0].HasField("contents")


@pytest.mark.parametrize("form", ["raw", "typed"])
def test_a_long_tensor_is_answered_whole(infer, form):
    array = np.arange(LONG, dtype=np.float32)
    request = raw("FP32", array.tobytes(), (1, LONG))
    if form == "typed":
        request = typed("FP32", "fp32_contents", array, (1, LONG))
    request.model_name = "long"

    assert list(infer(request).raw_output_contents) == [array.tobytes()]


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("INT8", "int_contents", [0, 128, 0]),
        ("INT16", "int_contents", [-(2**15) - 1, 0, 0]),
        ("UINT8", "uint_contents", [256, 0, 0]),
        ("UINT16", "uint_contents", [0, 0, 2**16]),
    ],
)
def test_values_beyond_their_datatype_are_refused(infer, datatype, field, values):
    assert f"no {datatype}" in refused(infer, typed(datatype, field, values))


def test_values_in_another_datatypes_field_are_refused(infer):
    details = refused(infer, typed("FP32", "fp64_contents", [1.0, 2.0, 3.0]))

    assert "belong in fp32_contents, not in fp64_contents" in details


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_precision_has_no_typed_contents(infer, datatype):
    details = refused(infer, typed(datatype, "fp32_contents", [1.0, 2.0, 3.0]))

    assert "raw_input_contents only" in details


@pytest.mark.parametrize("datatype", ["FP64", "FLOAT", "BYTES"])
def test_another_datatype_than_the_models_is_refused(infer, datatype):
    request = typed("FP32", "bytes_contents", [b"1", b"2", b"3"])
    if datatype == "FP64":
        request = typed("FP32", "fp64_contents", [1.0, 2.0, 3.0])
    request.inputs[0].datatype = datatype

    assert "the model takes FP32" in refused(infer, request)


@pytest.mark.parametrize("count", [0, 2, 4])
def test_another_number_of_values_than_the_shapes_is_refused(infer, count):
    assert refused(infer, typed("FP32", "fp32_contents", [1.0] * count))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused_in_both_forms(infer, value):
    array = np.array([1, value, 3], np.float32)

    assert "NaN or infinity" in refused(infer, typed("FP32", "fp32_contents", array.tolist()))
    assert "NaN or infinity" in refused(infer, raw("FP32", array.tobytes()))


def test_raw_and_typed_contents_in_one_request_are_refused(infer):
    request = typed("FP32", "fp32_contents", [1.0, 2.0, 3.0])
    request.raw_input_contents.append(bytes(12))

    assert "raw_input_contents are there as well" in refused(infer, request)


@pytest.mark.parametrize("count", [0, 2])
def test_raw_contents_are_as_many_as_inputs(infer, count):
    request = raw("FP32", bytes(12))
    del request.raw_input_contents[:]
    request.raw_input_contents.extend([bytes(12)] * count)

    assert refused(infer, request)


def test_an_input_in_shared_memory_is_refused(infer):
    request = raw("FP32", bytes(12))
    request.inputs[0].parameters["shared_memory_region"].string_param = "region"

    assert "shared memory" in refused(infer, request)


def test_an_unknown_parameter_of_an_input_is_refused(infer):
    request = raw("FP32", bytes(12))
    request.inputs[0].parameters["speed"].int64_param = 3

    assert "unknown parameter 'speed'" in refused(infer, request)


def test_the_size_that_kserves_client_names_has_to_be_the_right_one(infer):
    request = raw("FP32", bytes(12))
    request.inputs[0].parameters["binary_data_size"].int64_param = 12
    infer(request)
    request.inputs[0].parameters["binary_data_size"].int64_param = 16

    assert "has 12 bytes, and binary_data_size is 16" in refused(infer, request)


def test_a_parameter_without_a_value_is_refused(infer):
    request = raw("FP32", bytes(12))
    request.parameters["timeout"].SetInParent()

    assert "'timeout' of the request has no value" in refused(infer, request)


@pytest.mark.parametrize(
    ("shape", "complaint"),
    [((3,), "shape"), ((1, 4), "shape"), ((0, 3), "no size"), ((-1, 3), "no size"), ((5, 3), "4")],
)
def test_a_shape_that_the_model_does_not_take_is_refused(infer, shape, complaint):
    assert complaint in refused(infer, raw("FP32", bytes(12), shape))
