"""Trains the network of the demo and writes its checkpoint, in under two minutes on a CPU.

Run it from the root of the repository: `python tools/train_demo.py`.
"""

import argparse
import math
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from nd_deploy import models

CHECKPOINT = Path(__file__).parents[1] / "models" / "checkpoints" / "digits.pth.tar"


def main() -> None:
    """Trains as the authors do: SGD with momentum, a cosine schedule, weight decay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=CHECKPOINT)
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    images, labels = map(torch.from_numpy, models.digits_data.training())
    test_images, test_labels = map(torch.from_numpy, models.digits_data.held_out())
    network = models.build("digits")
    optimizer = torch.optim.SGD(
        network.parameters(), lr=arguments.lr, momentum=0.9, weight_decay=1e-3
    )
    steps = math.ceil(len(images) / arguments.batch_size) * arguments.epochs
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    train_losses: list[float] = []
    test_losses: list[float] = []
    best = 0.0
    start = time.perf_counter()
    for epoch in range(arguments.epochs):
        network.train()
        losses = []
        for batch in torch.randperm(len(images)).split(arguments.batch_size):
            loss = F.cross_entropy(network(shifted(images[batch])), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        train_losses.append(sum(losses) / len(losses))
        test_loss, accuracy = evaluate(network, test_images, test_labels)
        test_losses.append(test_loss)
        best = max(best, accuracy)
        print(f"epoch {epoch + 1:2}: loss {train_losses[-1]:.4f}, held out {accuracy:.2f} %")

    # The layout of the authors' main.py, so that the demo walks the way of a real checkpoint.
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(
        {
            "state_dict": network.state_dict(),
            "epoch": arguments.epochs,
            "arch": "digits",
            "best_acc": best,
            "train_losses": train_losses,
            "optimizer": optimizer.state_dict(),
            "valid_losses": [],
            "test_losses": test_losses,
        },
        arguments.out,
    )
    size = arguments.out.stat().st_size / 1e3
    print(f"{accuracy:.2f} % held out, {time.perf_counter() - start:.0f} s, {size:.0f} kB")


def shifted(images: Tensor) -> Tensor:
    """Moves every image by up to one pixel each way."""
    padded = F.pad(images, (1, 1, 1, 1))
    moves = torch.randint(3, (len(images), 2)).tolist()
    return torch.stack(
        [image[:, y : y + 8, x : x + 8] for image, (y, x) in zip(padded, moves, strict=True)]
    )


@torch.no_grad()
def evaluate(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Returns the mean loss and the accuracy in percent with running statistics."""
    logits = network.eval()(images)
    accuracy = (logits.argmax(1) == labels).float().mean().item() * 100
    return F.cross_entropy(logits, labels).item(), accuracy


if __name__ == "__main__":
    main()
