"""Every limit of the server, and its default."""

from __future__ import annotations

from dataclasses import dataclass

_MIB = 2**20


@dataclass(frozen=True)
class Settings:
    """How the server is run. Times are seconds, sizes bytes.

    Attributes:
        host: the address to bind; anything but a loopback address is warned about.
        http_port: of REST, metrics and the page; 0 for any that is free.
        grpc_port: 0 for any that is free; None for no gRPC.
        body_limit: of a request, after decompression too; a model's largest batch raises it.
        header_limit: of all headers of a request together.
        header_timeout: until the headers of a request have come, from the connection's first byte
            on, or from its start if none comes.
        body_timeout: until the body of a request has come.
        keep_alive: until an idle connection is closed.
        connection_limit: at once.
        queue_limit: requests that wait, by model.
        queue_bytes: of their inputs.
        deadline: of a request, from its last byte to its answer; a client may ask for less.
        max_batch: the largest batch that requests are joined to, and that one may have.
        batch_delay: how long the first request of a batch may wait for others.
        instances: sessions of a model that run at once.
        threads: of one operator; None for the processors there are, shared among the instances.
        json_depth: nesting of a JSON body.
        json_values: numbers in a JSON body.
        allow_nonfinite: whether inputs may hold NaN and infinity.
        image_bytes: of an image file.
        image_pixels: of a decoded image.
        drain_delay: how long requests are still taken after SIGTERM, while the server says that it
            is not ready.
        drain_timeout: how long requests under way may take after that.
        reload_interval: between looks whether a bundle has changed; 0 for never.
        token: that clients have to show as "Authorization: Bearer ..."; None for nobody's.
        page: whether to serve the page at /.
        access_log: whether to log each request.
        json_log: whether to log as JSON, a line an event.
    """

    host: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int | None = 8001
    body_limit: int = 32 * _MIB
    header_limit: int = 32 * 2**10
    header_timeout: float = 5.0
    body_timeout: float = 15.0
    keep_alive: float = 75.0
    connection_limit: int = 512
    queue_limit: int = 256
    queue_bytes: int = 256 * _MIB
    deadline: float = 30.0
    max_batch: int = 32
    batch_delay: float = 0.0
    instances: int = 1
    threads: int | None = None
    json_depth: int = 32
    json_values: int = 10_000_000
    allow_nonfinite: bool = False
    image_bytes: int = 20 * 10**6
    image_pixels: int = 25 * 10**6
    drain_delay: float = 0.0
    drain_timeout: float = 25.0
    reload_interval: float = 2.0
    token: str | None = None
    page: bool = True
    access_log: bool = False
    json_log: bool = False
