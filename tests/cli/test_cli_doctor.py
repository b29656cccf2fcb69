import json

import pytest

from nd_deploy.doctor import Facts, diagnose
from nd_deploy.doctor.facts import Driver, EngineCache, Gpu, OnnxRuntime, TensorRt


@pytest.fixture
def diagnosed(monkeypatch):
    """Let an environment be one of these facts."""

    def let(**changes):
        facts = Facts(
            **{
                "python": "3.11",
                "platform": "Linux",
                "machine": "x86_64",
                "processors": 2,
                "telemetry_off": True,
                "packages": {"nd-deploy": "1", "torch": "2.13", "onnxscript": "0.7"},
                "onnxruntime": OnnxRuntime("1.31", runs={"CPUExecutionProvider": None}),
                "cache": EngineCache("/c", 2, 3_000_000),
            }
            | changes
        )
        monkeypatch.setattr("nd_deploy.doctor.examine", lambda: diagnose(facts))

    return let


def test_the_table_says_yes_no_and_what_to_do(diagnosed, invoke):
    diagnosed()
    lines = [" ".join(line.split()) for line in invoke("doctor").stdout.splitlines()]
    assert "convert yes torch 2.13, onnxscript 0.7" in lines
    assert "run on ort-cpu yes onnxruntime 1.31, CPUExecutionProvider" in lines
    assert "read images no pillow is not installed" in lines
    assert "read images pip install 'nd-deploy[images]'" in lines
    assert "GPU none found" in lines
    assert "engine cache /c (2 files, 3.0 MB)" in lines
    assert "telemetry ONNX Runtime's is off" in lines


def test_a_remedy_of_several_commands_has_a_line_for_each(diagnosed, invoke):
    missing = ("libnvinfer.so.10", "libcudnn.so.9")
    provider = "TensorrtExecutionProvider"
    diagnosed(
        gpus=(Gpu("H200", "9.0"),),
        driver=Driver("580", "13.0"),
        onnxruntime=OnnxRuntime(
            "1.31", "13.0", runs={provider: "it needs them"}, missing={provider: missing}
        ),
    )
    lines = [" ".join(line.split()) for line in invoke("doctor").stdout.splitlines()]
    place = lines.index("run on ort-tensorrt pip install 'tensorrt-cu13>=10,<11'")
    assert lines[place + 1] == "pip install 'onnxruntime-gpu[cuda,cudnn]'"


def test_what_does_not_fit_is_shown_with_what_mends_it(diagnosed, invoke):
    diagnosed(gpus=(Gpu("H200", "9.0"),), tensorrt_rtx=TensorRt("1.7"))
    output = invoke("doctor").stdout
    assert "does not fit: TensorRT-RTX 1.7 does not run on H200" in output
    assert "\n  use TensorRT instead: pip install" in output


def test_a_conflict_is_the_one_thing_that_fails(diagnosed, invoke):
    diagnosed(conflict="both are installed; pip uninstall -y onnxruntime")
    result = invoke("doctor", code=1)
    assert "convert" in result.stdout
    assert "both are installed" in result.stderr


def test_json_is_everything_that_was_found(diagnosed, invoke):
    diagnosed(gpus=(Gpu("H200", "9.0"),), tensorrt_rtx=TensorRt("1.7"))
    document = json.loads(invoke("doctor", "--json").stdout)
    images = next(c for c in document["capabilities"] if c["name"] == "read images")
    assert images["remedy"] == "pip install 'nd-deploy[images]'"
    assert document["conflict"] is None
    assert document["findings"][0]["what"].startswith("TensorRT-RTX 1.7 does not run")
    assert document["facts"]["gpus"] == [
        {"name": "H200", "compute_capability": "9.0", "memory": ""}
    ]
    assert document["facts"]["cache"]["bytes"] == 3_000_000
