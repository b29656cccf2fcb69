"""The main job on real data: a trained ND network becomes a folded ONNX model, proven and timed.

Run by `make demo`; what it writes goes to out/.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

import nd_deploy
from nd_deploy import models
from nd_deploy.models import digits_data
from nd_deploy.naive_export import export_naively as export_module

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINT = Path("models/checkpoints/digits.pth.tar")
OUT = Path("out")
BUNDLE = OUT / "digits"
PARITY_SAMPLES = 64


def main() -> None:
    """Convert, explain, verify, classify, compare accuracy, compare speed."""
    images, labels = digits_data.held_out()
    (ROOT / OUT).mkdir(exist_ok=True)
    np.save(ROOT / OUT / "held_out.npy", images[:PARITY_SAMPLES])
    pictures = write_pictures(images, count=3)
    print(f"scikit-learn's handwritten digits: {len(images)} images that training never saw\n")
    nd_deploy_command(
        "convert", "digits", "--checkpoint", str(CHECKPOINT),
        "--reference-inputs", str(OUT / "held_out.npy"), "-o", str(BUNDLE), "--overwrite",
    )  # fmt: skip
    nd_deploy_command("inspect", str(BUNDLE))
    nd_deploy_command("run", str(BUNDLE), *map(str, pictures), "--top-k", "2")
    compare_accuracy(images, labels)
    compare_speed(images)


def nd_deploy_command(*arguments: str) -> None:
    """Show a command as a user would type it, and run it."""
    print(f"$ nd-deploy {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", "nd_deploy", *arguments], cwd=ROOT, check=True)
    print(flush=True)


def write_pictures(images: np.ndarray, count: int) -> list[Path]:
    """Write the first held-out digits as PNG files."""
    from PIL import Image

    paths = []
    for index, image in enumerate(images[:count]):
        path = OUT / f"digit_{index}.png"
        Image.fromarray(np.rint(image[0] * 255).astype(np.uint8)).save(ROOT / path)
        paths.append(path)
    return paths


def compare_accuracy(images: np.ndarray, labels: np.ndarray) -> None:
    """Print the accuracy of PyTorch and of the folded model; they have to agree on every image."""
    import torch

    with torch.no_grad():
        trained = load_network()(torch.from_numpy(images)).numpy().argmax(axis=1)
    (folded,) = session(ROOT / BUNDLE / "model.onnx").run(None, {"input": images})
    folded = folded.argmax(axis=1)
    print("accuracy on the held-out digits")
    print(f"  PyTorch              {(trained == labels).mean():.2%}")
    print(f"  folded, ONNX Runtime {(folded == labels).mean():.2%}")
    differing = int((trained != folded).sum())
    print(f"  images on which they differ: {differing} of {len(images)}\n")
    if differing:
        sys.exit("the folded model does not predict what the trained network predicts")


def compare_speed(images: np.ndarray) -> None:
    """Print the latency of the naive export and of the folded model, timed in turns."""
    sys.path.insert(0, str(ROOT / "tools"))
    from timing import interleave

    naive = session(export_naively(images[:2]))
    folded = session(ROOT / BUNDLE / "model.onnx")
    print("latency in ONNX Runtime, one thread, both in one interleaved run")
    for batch in (1, 8):
        feeds = {"input": images[:batch]}
        timings = interleave(
            {
                "naive": lambda feeds=feeds: naive.run(None, feeds),
                "folded": lambda feeds=feeds: folded.run(None, feeds),
            },
            rounds=60,
        )
        ratio, low, high = timings.ratio("folded", over="naive")
        print(
            f"  batch {batch}: torch.onnx.export as it is {timings.median('naive') * 1e6:6.0f} us, "
            f"folded {timings.median('folded') * 1e6:6.0f} us, "
            f"ratio {ratio:.2f} [{low:.2f}, {high:.2f}]"
        )


def export_naively(example: np.ndarray) -> Path:
    """What a user does without this tool: torch.onnx.export of the network in eval mode."""
    path = ROOT / OUT / "naive.onnx"
    export_module(load_network(), {"input": example}, path)
    return path


def load_network() -> object:
    """The trained network in eval mode."""
    checkpoint = nd_deploy.read_checkpoint(ROOT / CHECKPOINT)
    options = models.options_from_state_dict("digits", checkpoint.state_dict)
    network = models.build("digits", **options)
    nd_deploy.load_into(network, checkpoint)
    return network.eval()


def session(path: Path) -> object:
    """An ONNX Runtime session on one thread, everything else as it comes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main()
