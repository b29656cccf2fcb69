"""Measures one network, and the ways in which one can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from matrix.outcome import FOLDED, NAIVE, TWIN, TWIN_BUNDLE, Outcome, Settings
from nd_deploy.doctor import Capability
from nd_deploy.profiling.contestant import TORCH, TORCH_CUDA
from nd_deploy.profiling.results import Method, Profile
from nd_deploy.runtime.options import ORT_CPU, RUNTIMES

QUICK = Method(
    openings=2, rounds=4, turn_seconds=0.03, turn_iterations=1,
    warmup_seconds=0.05, warmup_iterations=2,
)  # fmt: skip
FULL = Method()
_LARGE = 224
_FEW = Method(openings=3, rounds=6, turn_iterations=1, warmup_iterations=2)


def runtimes_of(capabilities: Sequence[Capability], pytorch_gpu: bool) -> tuple[str, ...]:
    """Every runtime that works here.

    Args:
        capabilities: as `nd_deploy.doctor` finds them.
        pytorch_gpu: whether PyTorch has a GPU.
    """
    works = [capability.name for capability in capabilities if capability.available]
    found = [name for name in RUNTIMES if any(work.endswith(f"run on {name}") for work in works)]
    return (*found, TORCH, *([TORCH_CUDA] if pytorch_gpu else []))


def method_for(method: Method, shape: Sequence[int]) -> Method:
    """The method for a network: a run of a large image takes long, so that there are fewer."""
    if max(shape[1:]) < _LARGE:
        return method
    return replace(
        method,
        openings=min(method.openings, _FEW.openings),
        rounds=min(method.rounds, _FEW.rounds),
        turn_iterations=_FEW.turn_iterations,
        warmup_iterations=_FEW.warmup_iterations,
    )


def measure(
    network: str, settings: Settings, folder: Path, report: Callable[[str], None]
) -> Outcome:
    """Make the models of a network and time them.

    Args:
        network: a name of `nd_deploy.models`.
        settings: what to measure.
        folder: an empty one, for what is made.
        report: called with a line of text as each step begins.
    """
    from matrix.costs import cost_of
    from matrix.models import make
    from nd_deploy.models import describe

    shape = describe(network).input_shape
    by_pytorch = [name for name in settings.runtimes if name in (TORCH, TORCH_CUDA)]
    by_model = [name for name in settings.runtimes if name not in by_pytorch]
    report("making the models")
    notes = make(network, folder, in_pytorch=bool(by_pytorch))
    files = [folder / name for name in (TWIN, NAIVE) if (folder / name).exists()]
    own = replace(settings, method=method_for(settings.method, shape))
    profiles = []
    if by_model:
        profiles.append(_profile([folder / FOLDED], by_model, own, report, files))
    if by_pytorch:
        bundles = [folder / TWIN_BUNDLE, folder / FOLDED]
        profiles.append(_profile(bundles, by_pytorch, own, report))
    report("opening the models in processes of their own")
    opened = {file.name: file for file in files} | {FOLDED: folder / FOLDED / "model.onnx"}
    costs = [cost_of(name, file, (1, *shape)) for name, file in opened.items()]
    return Outcome(network, settings, tuple(profiles), tuple(costs), tuple(notes))


def _profile(
    bundles: Sequence[Path],
    runtimes: Sequence[str],
    settings: Settings,
    report: Callable[[str], None],
    against: Sequence[Path] = (),
) -> Profile:
    import nd_deploy

    on_processor = not {ORT_CPU, TORCH}.isdisjoint(runtimes)
    profile = nd_deploy.profile(
        bundles,
        runtimes=runtimes,
        batches=settings.batches,
        threads=(settings.threads if on_processor else None,),
        against=against,
        method=settings.method,
        peaks=False,
        report=report,
    )
    if profile.interrupted:
        raise KeyboardInterrupt
    return profile
