"""On what and how it was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nd_deploy.bundle.files import readable_size
from nd_deploy.page.markup import details, facts, section
from nd_deploy.page.picture import draw_both
from nd_deploy.profiling.environment.record import Cpu, Environment, Gpu, Jetson, Sample
from nd_deploy.profiling.results import Method, Profile
from nd_deploy.report.numbers import percent, significant
from nd_deploy.report.page.charts.clocks import clock_chart
from nd_deploy.report.page.charts.paper import DENSITY
from nd_deploy.report.page.fared import Panel, panels_of, throttle_reasons, throttled_spans
from nd_deploy.report.page.pieces import chart, table


def environment_section(profile: Profile, level: int, prefix: str) -> str:
    """The machine, the method, and how the device fared meanwhile."""
    environment = profile.environment
    return section(
        "Environment",
        facts(_known({**_machine(environment), **_how(profile)})),
        _fared(environment.samples),
        details(
            "Versions, models and command",
            facts(_known(dict(sorted(environment.versions.items())))),
            _models(profile),
            facts(_known({"command": profile.command})),
        ),
        level=level,
        name=f"{prefix}environment",
    )


def _known(values: Mapping[str, str | None]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in values.items() if value]


def _machine(environment: Environment) -> dict[str, str | None]:
    return {
        "machine": f"{environment.machine}, {environment.system}, Python {environment.python}",
        "processor": _cpu(environment.cpu),
        "GPU": None if environment.gpu is None else _gpu(environment.gpu),
        "board": None if environment.jetson is None else _board(environment.jetson),
    }


def _cpu(cpu: Cpu) -> str:
    turbo = None if cpu.turbo is None else "on" if cpu.turbo else "off"
    return _listed(
        cpu.model,
        f"{len(cpu.affinity)} of {cpu.logical} logical processors",
        _with("quota", cpu.quota),
        _after("governor", cpu.governor),
        _after("turbo", turbo),
        _with("", cpu.mhz, " MHz before"),
        None if cpu.load is None else f"load {cpu.load:.2g} before",
        None if cpu.busy is None else f"{percent(cpu.busy)} busy with others",
    )


def _gpu(gpu: Gpu) -> str:
    return _listed(
        gpu.name,
        _after("compute capability", gpu.compute_capability),
        _after("driver", gpu.driver),
        _after("CUDA", gpu.cuda),
        None if gpu.memory_bytes is None else f"{readable_size(gpu.memory_bytes)} of memory",
        None if gpu.l2_bytes is None else f"{readable_size(gpu.l2_bytes)} of L2",
        _with("up to", gpu.max_sm_mhz, " MHz"),
        _with("up to", gpu.power_limit_w, " W"),
        _after("locked clocks", gpu.locked_clocks),
        _after("persistence mode", gpu.persistence),
        _with("", gpu.utilisation, " % busy before"),
        None if gpu.other_processes is None else f"{gpu.other_processes} other processes on it",
    )


def _board(jetson: Jetson) -> str:
    return _listed(
        jetson.model,
        _after("Jetson Linux", jetson.release),
        _after("power mode", jetson.power_mode),
        _after("clocks", jetson.clocks),
    )


def _how(profile: Profile) -> dict[str, str | None]:
    return {"method": _method(profile.method), "measured": profile.created}


def _method(method: Method) -> str:
    where = "all in one process" if method.processes == "one" else "in a process each"
    return (
        f"each model opened {method.openings} times, with {method.rounds} turns an opening beside "
        f"the others of its batch, {where}; a turn takes about "
        f"{method.turn_seconds:g} s and at least {method.turn_iterations} iterations; "
        f"warmed up for {method.warmup_seconds:g} s and {method.warmup_iterations} "
        f"iterations; {method.clock}"
    )


def _models(profile: Profile) -> str:
    return table(
        "Models",
        ("model", "kind", "file", ">ND layers", "sha256 of its ONNX file"),
        [
            (
                model.name,
                model.kind,
                model.path or "",
                "" if model.nd_layers is None else str(model.nd_layers),
                (model.sha256 or "")[:16],
            )
            for model in profile.models
        ],
    )


def _fared(samples: Sequence[Sample]) -> str:
    panels = panels_of(samples)
    if not panels:
        return ""
    throttled = throttled_spans(samples)
    reasons = ", ".join(f"{name} in {n}" for name, n in throttle_reasons(samples).items())
    held = f" Shaded: its clocks were held down ({reasons} samples)." if throttled else ""
    picture = draw_both(
        lambda theme: clock_chart(panels, throttled, theme),
        f"Lines over {samples[-1].seconds:.3g} seconds. {'. '.join(map(_range, panels))}.{held}",
        DENSITY,
    )
    caption = f"How the device fared, sampled {len(samples)} times, after each turn.{held}"
    return chart(picture, caption, _panel_table(panels))


def _range(panel: Panel) -> str:
    low, high = map(significant, panel.span())
    return f"{panel.title}: {low} to {high}"


def _panel_table(panels: Iterable[Panel]) -> str:
    return table(
        "Over the whole measurement",
        ("what", "of", ">first", ">least", ">most", ">last"),
        [
            (panel.title, name, *_summary([value for _, value in points]))
            for panel in panels
            for name, points in panel.lines.items()
        ],
    )


def _summary(values: Sequence[float]) -> tuple[str, ...]:
    return tuple(map(significant, (values[0], min(values), max(values), values[-1])))


def _listed(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)


def _after(name: str, value: str | None) -> str | None:
    return None if value is None else f"{name} {value}"


def _with(name: str, value: float | None, unit: str = "") -> str | None:
    return None if value is None else f"{name} {value:.4g}{unit}".strip()
