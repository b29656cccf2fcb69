"""The server of our own, asked without a socket."""

import asyncio
import json


async def answers(app, path, bodies):
    """What an ASGI application answers to JSON bodies, between its start and its end."""
    told, happened = asyncio.Queue(), asyncio.Queue()
    life = asyncio.create_task(app({"type": "lifespan"}, told.get, happened.put))
    await told.put({"type": "lifespan.startup"})
    started = await happened.get()
    assert started["type"] == "lifespan.startup.complete", started
    found = [await _answer(app, path, json.dumps(body).encode()) for body in bodies]
    await told.put({"type": "lifespan.shutdown"})
    await life
    return found


async def _answer(app, path, body):
    asked, sent = asyncio.Queue(), []
    await asked.put({"type": "http.request", "body": body, "more_body": False})

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-length", str(len(body)).encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    await app(scope, asked.get, send)
    assert sent[0]["status"] == 200, sent
    return json.loads(b"".join(message.get("body", b"") for message in sent))
