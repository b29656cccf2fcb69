"""What runs Triton: the Compose file, and KServe's resources."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from tiny_bundle import model

from nd_deploy.errors import InputError
from nd_deploy.triton.export import export_triton

yaml = pytest.importorskip("yaml", reason="needs PyYAML")

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
IMAGE = "nvcr.io/nvidia/tritonserver:26.10-py3"
# The part of KServe's own resource definitions that is used, with nothing else allowed.
FIELDS = json.loads((Path(__file__).parent / "kserve_fields.json").read_text())


@pytest.fixture
def compose(bundle, tmp_path):
    def composed(**how):
        output = tmp_path / "repo"
        export_triton(bundle, output, compose=True, overwrite=True, **how)
        return yaml.load((output / "compose.yaml").read_text(), LOADER)

    return composed


@pytest.fixture
def kserve(bundle, tmp_path):
    def resources(**how):
        output = tmp_path / "repo"
        export_triton(bundle, output, kserve=True, overwrite=True, **how)
        runtime, service = yaml.load_all((output / "kserve.yaml").read_text(), LOADER)
        jsonschema.validate(runtime, FIELDS["ServingRuntime"])
        jsonschema.validate(service, FIELDS["InferenceService"])
        return runtime["spec"]["containers"][0], runtime, service

    return resources


def value_of(flags, name):
    (found,) = (flag.partition("=")[2] for flag in flags if flag.startswith(f"--{name}="))
    return found


class TestCompose:
    def test_the_server_is_pinned_and_may_do_little(self, compose):
        triton = compose()["services"]["triton"]
        assert triton["image"] == IMAGE
        assert triton["user"] == "1000:1000"
        assert triton["cap_drop"] == ["ALL"]
        assert triton["security_opt"] == ["no-new-privileges:true"]
        assert triton["volumes"] == ["./tiny:/models/tiny:ro"]
        assert all(port.startswith("127.0.0.1:") for port in triton["ports"])
        assert triton["environment"] == {"ORT_DISABLE_TELEMETRY": "1"}

    def test_what_can_change_the_server_takes_a_secret(self, compose):
        flags = compose()["services"]["triton"]["command"]
        for name in ("http-restricted-api", "grpc-restricted-protocol"):
            apis, key = value_of(flags, name).split(":", 1)
            assert set(apis.split(",")) == {
                "shared-memory",
                "model-repository",
                "trace",
                "logging",
            }
            assert key == "admin-key=${TRITON_ADMIN_KEY:?set it to a secret}"
        assert "--model-control-mode=none" in flags

    def test_requests_under_way_are_finished_before_the_container_is_killed(self, compose):
        triton = compose()["services"]["triton"]
        drain = int(value_of(triton["command"], "exit-timeout-secs"))
        assert drain < int(triton["stop_grace_period"].removesuffix("s"))

    def test_processors_are_as_many_as_threads_and_one(self, compose):
        limits = compose(threads=3, instances=2)["services"]["triton"]["deploy"]["resources"]
        assert limits == {"limits": {"cpus": "7", "memory": "3g"}}

    def test_a_gpu_is_reserved_and_engines_are_kept(self, compose):
        document = compose(accelerator="tensorrt")
        triton = document["services"]["triton"]
        (gpu,) = triton["deploy"]["resources"]["reservations"]["devices"]
        assert gpu == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
        assert "engines:/engines" in triton["volumes"]
        assert "engines" in document["volumes"]
        owner = document["services"]["engines"]
        assert owner["entrypoint"] == ["chown", "1000:1000", "/engines"]
        assert (owner["network_mode"], owner["cap_add"]) == ("none", ["CHOWN"])

    def test_tf32_is_off_in_the_tensorrt_provider_unless_asked_for(self, compose):
        off, on = (compose(accelerator="tensorrt", tf32=tf32) for tf32 in (False, True))
        assert off["services"]["triton"]["environment"]["NVIDIA_TF32_OVERRIDE"] == "0"
        assert "NVIDIA_TF32_OVERRIDE" not in on["services"]["triton"]["environment"]


def test_a_body_may_be_as_large_as_the_largest_batch(make_bundle, tmp_path):
    bundle = make_bundle(
        model=model(batch="batch", channels=1),
        reference={"input/image": np.zeros((1, 1, 2, 2), np.float32)},
    )
    largest = 4_000_000
    export_triton(bundle.path, tmp_path / "repo", compose=True, max_batch=largest)
    document = yaml.load((tmp_path / "repo/compose.yaml").read_text(), LOADER)
    limit = int(value_of(document["services"]["triton"]["command"], "http-max-input-size"))
    assert limit == largest * 4 * 4 * 5 // 4


class TestKServe:
    def test_the_runtime_is_our_own_and_pinned(self, kserve):
        container, runtime, service = kserve()
        assert (runtime["apiVersion"], runtime["kind"]) == (
            "serving.kserve.io/v1alpha1",
            "ServingRuntime",
        )
        assert (service["apiVersion"], service["kind"]) == (
            "serving.kserve.io/v1beta1",
            "InferenceService",
        )
        assert container["image"] == IMAGE
        served = service["spec"]["predictor"]["model"]
        assert served["runtime"] == runtime["metadata"]["name"]
        (known,) = runtime["spec"]["supportedModelFormats"]
        assert served["modelFormat"] == known
        assert served["protocolVersion"] in runtime["spec"]["protocolVersions"]

    def test_the_container_is_nobody_with_nothing(self, kserve):
        container, _, service = kserve()
        assert container["securityContext"] == {
            "runAsUser": 1000,
            "runAsNonRoot": True,
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        predictor = service["spec"]["predictor"]
        assert predictor["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert predictor["automountServiceAccountToken"] is False
        assert container["resources"]["limits"] == container["resources"]["requests"]

    def test_the_secret_is_named_and_not_written(self, kserve):
        container, _, _ = kserve()
        (key,) = (each for each in container["env"] if each["name"] == "TRITON_ADMIN_KEY")
        assert key["valueFrom"] == {"secretKeyRef": {"name": "tiny-admin", "key": "key"}}
        assert value_of(container["args"], "http-restricted-api").endswith("=$(TRITON_ADMIN_KEY)")
        assert {"name": "ORT_DISABLE_TELEMETRY", "value": "1"} in container["env"]

    def test_probes_ask_the_port_that_is_served_and_wait_for_engines(self, kserve):
        container, _, _ = kserve(accelerator="tensorrt")
        port = int(value_of(container["args"], "http-port"))
        for probe, path in (("startup", "ready"), ("readiness", "ready"), ("liveness", "live")):
            asked = container[f"{probe}Probe"]["httpGet"]
            assert asked == {"path": f"/v2/health/{path}", "port": port}
        startup = container["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] == 3600

    def test_requests_under_way_are_finished_before_the_pod_is_killed(self, kserve):
        container, _, service = kserve()
        grace = service["spec"]["predictor"]["terminationGracePeriodSeconds"]
        assert int(value_of(container["args"], "exit-timeout-secs")) < grace

    def test_a_gpu_is_asked_for_where_the_model_runs_on_one(self, kserve):
        container, runtime, _ = kserve(accelerator="tensorrt")
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert container["volumeMounts"] == [{"name": "engines", "mountPath": "/engines"}]
        assert runtime["spec"]["volumes"][0]["name"] == "engines"
        container, runtime, _ = kserve(accelerator="cpu")
        assert "nvidia.com/gpu" not in container["resources"]["limits"]
        assert "volumes" not in runtime["spec"]

    def test_the_repository_may_lie_anywhere(self, kserve):
        _, _, service = kserve()
        assert service["spec"]["predictor"]["model"]["storageUri"] == "pvc://models/repo"
        _, _, service = kserve(storage="s3://bucket/repo")
        assert service["spec"]["predictor"]["model"]["storageUri"] == "s3://bucket/repo"

    def test_names_are_those_of_kubernetes(self, kserve):
        _, runtime, service = kserve(name="My_net.v2")
        assert service["metadata"]["name"] == "my-net-v2"
        assert runtime["metadata"]["name"] == "my-net-v2-triton"
        with pytest.raises(InputError, match="'2net' is no name for a resource of Kubernetes"):
            kserve(name="2net")
