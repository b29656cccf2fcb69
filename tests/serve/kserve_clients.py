"""KServe's own clients, run by a Python that has them, which need not be that of the tests.

python kserve_clients.py HTTP_ADDRESS GRPC_ADDRESS MODEL INPUT reads rows of floats as JSON from
its standard input, and prints what each client gave.
"""

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.inference_client import InferenceGRPCClient


async def ask(http_address, grpc_address, model, name):
    x = np.array(json.load(sys.stdin), np.float32)
    rest = InferenceRESTClient(RESTConfig(protocol="v2"))
    channel = InferenceGRPCClient(grpc_address)
    url = f"http://{http_address}"
    answers = {
        "live": [await rest.is_server_live(url), await channel.is_server_live()],
        "ready": [await rest.is_server_ready(url), await channel.is_server_ready()],
        "model ready": [
            await rest.is_model_ready(url, model),
            await channel.is_model_ready(model),
        ],
        "outputs": [
            _told(await rest.infer(url, _request(model, name, x, binary), model_name=model))
            for binary in (False, True)
        ],
    }
    answers["outputs"].append(_told(await channel.infer(_request(model, name, x, True))))
    await rest.close()
    await channel.close()
    return answers


def _request(model, name, x, binary):
    given = InferInput(name, list(x.shape), "FP32")
    given.set_data_from_numpy(x, binary_data=binary)
    return InferRequest(model, [given], request_id="mine")


def _told(response):
    (output,) = response.outputs
    return {
        "id": response.id,
        "model": response.model_name,
        "name": output.name,
        "values": output.as_numpy().tolist(),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(ask(*sys.argv[1:]))))
