import dataclasses
import sys
import types
from pathlib import Path

import pytest

from nd_deploy.errors import BundleError, InputError
from nd_deploy.rayserve.deployment import build, read_arguments
from nd_deploy.rayserve.export import export_ray, parse_replicas
from nd_deploy.serve.settings import Settings

yaml = pytest.importorskip("yaml", reason="needs PyYAML")


def document(bundle, output, **how):
    (path,) = export_ray(bundle, output, **how)
    return yaml.safe_load(path.read_text())


class TestFile:
    def test_the_application_is_the_servers_own_and_scales(self, bundle, tmp_path):
        found = document(bundle, tmp_path / "app", replicas="2:8", cpus=4, port=9000)
        (application,) = found["applications"]
        assert application["name"] == "tiny"
        assert application["import_path"] == "nd_deploy.rayserve.deployment:build"
        (deployment,) = application["deployments"]
        scaling = deployment["autoscaling_config"]
        assert (scaling["min_replicas"], scaling["max_replicas"]) == (2, 8)
        # Threads that have no processor of their own would only be in each other's way.
        assert deployment["ray_actor_options"]["num_cpus"] == 4
        assert application["args"]["settings"]["threads"] == 4

    def test_it_binds_to_this_machine_and_tells_nobody(self, bundle, tmp_path):
        found = document(bundle, tmp_path / "app")
        assert found["http_options"] == {"host": "127.0.0.1", "port": 8000}
        variables = found["applications"][0]["runtime_env"]["env_vars"]
        assert variables == {"ORT_DISABLE_TELEMETRY": "1"}

    def test_requests_wait_in_a_bounded_queue(self, bundle, tmp_path):
        (deployment,) = document(bundle, tmp_path / "app")["applications"][0]["deployments"]
        target = deployment["autoscaling_config"]["target_ongoing_requests"]
        assert 0 < target < deployment["max_ongoing_requests"]
        assert deployment["max_queued_requests"] > 0

    def test_its_arguments_are_what_the_application_reads(self, bundle, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        found = document(bundle.relative_to(tmp_path), "app", cpus=2)
        bundles, settings = read_arguments(found["applications"][0]["args"])
        # Replicas have other current folders.
        assert bundles == (bundle,)
        assert settings == Settings(threads=2)

    def test_only_what_an_export_wrote_is_replaced(self, bundle, tmp_path):
        export_ray(bundle, tmp_path / "app")
        with pytest.raises(InputError, match="exists already"):
            export_ray(bundle, tmp_path / "app")
        export_ray(bundle, tmp_path / "app", overwrite=True)
        (tmp_path / "app" / "notes.txt").touch()
        with pytest.raises(InputError, match=r"not the Ray application's: notes\.txt"):
            export_ray(bundle, tmp_path / "app", overwrite=True)

    @pytest.mark.parametrize(
        ("how", "problem"),
        [
            ({"replicas": "0:2"}, "--replicas 0:2 is no range of at least 1"),
            ({"replicas": "many"}, "--replicas many is no MIN:MAX"),
            ({"replicas": "1:2:3"}, "--replicas 1:2:3 is no MIN:MAX"),
            ({"cpus": 0}, "--cpus is 0"),
            ({"port": 70000}, "--port is 70000"),
            ({"name": "a/b"}, "'a/b' is no name for an application"),
        ],
    )
    def test_options_that_make_no_sense_are_refused(self, bundle, tmp_path, how, problem):
        with pytest.raises(InputError) as caught:
            export_ray(bundle, tmp_path / "app", **how)
        assert problem in str(caught.value)
        assert not (tmp_path / "app").exists()

    def test_a_damaged_bundle_is_refused(self, bundle, tmp_path):
        (bundle / "model.onnx").write_bytes(b"something else")
        with pytest.raises(BundleError, match="has changed since it was written"):
            export_ray(bundle, tmp_path / "app")

    def test_one_number_is_always_that_many(self):
        assert dataclasses.astuple(parse_replicas("3")) == (3, 3)


class TestArguments:
    @pytest.mark.parametrize(
        ("args", "problem"),
        [
            ({}, "bundles is None"),
            ({"bundles": "/a"}, "bundles is '/a'"),
            ({"bundles": []}, "bundles is []"),
            ({"bundles": ["/a"], "port": 1}, "there is no 'port'"),
            ({"bundles": ["/a"], "settings": {"thread": 1}}, "there is no setting 'thread'"),
        ],
    )
    def test_what_the_application_does_not_know_is_refused(self, args, problem):
        with pytest.raises(InputError) as caught:
            read_arguments(args)
        assert problem in str(caught.value)


def test_each_replica_makes_the_servers_application(monkeypatch):
    """With a stand-in for Ray, which is not installed where this runs."""
    made = []
    ray, serve = types.ModuleType("ray"), types.ModuleType("ray.serve")
    serve.ingress = lambda make: lambda: make
    serve.deployment = lambda make, name: types.SimpleNamespace(bind=lambda: (name, make))
    ray.serve = serve
    server = types.ModuleType("nd_deploy.serve.application")
    server.make_asgi = lambda bundles, settings: made.append((bundles, settings))
    for module in (ray, serve, server):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    name, make = build({"bundles": ["/a"], "settings": {"threads": 2}})
    assert (name, made) == ("Server", [])
    make()
    assert made == [((Path("/a"),), Settings(threads=2))]
