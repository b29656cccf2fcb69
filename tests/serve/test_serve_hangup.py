"""A server of a user's is told by a signal to look at its bundles."""

import signal

from served_bundle import write
from whole_server import ServeProcess, ask


def test_a_hangup_has_a_changed_bundle_served(tmp_path):
    live = write(tmp_path / "live", factor=1.0)
    other = write(tmp_path / "other", factor=2.0)
    with ServeProcess(
        live, "--http-port", "0", "--grpc-port", "0", "--limit", "reload_interval=0"
    ) as server:
        address, _ = server.wait_until_ready()
        live.rename(tmp_path / "old")
        other.rename(live)
        server.process.send_signal(signal.SIGHUP)
        server.line("stderr", "version 2 is served")
        (model,) = ask(address, "POST", "/v2/repository/index").json
        assert (model["version"], model["state"]) == ("2", "READY")
        assert server.end() == 0
