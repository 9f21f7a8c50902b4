"""Drift over a sampling run as one SVG: a line for each scheduler, its noise floor dashed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from exporter.parity.trajectory import Trajectory

_WIDTH, _HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 170, 50, 50
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by the colour-blind too
_LEAST = 1e-12


def svg(runs: Sequence[Trajectory], title: str) -> str:
    """A self-contained plot; relative drift on a logarithmic axis against the step.

    Args:
        runs: At least one trajectory.
        title: What is drawn above it.
    """
    values = [
        value
        for run in runs
        for step in run.steps
        for value in (step.rel_l2, step.floor)
        if value is not None and math.isfinite(value)
    ]
    low = math.floor(math.log10(max(min(values, default=_LEAST), _LEAST)))
    high = max(math.ceil(math.log10(max(max(values, default=1), _LEAST))), low + 1)
    axes = _Axes(max(len(run.steps) for run in runs), low, high)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12" role="img">',
        f"<title>{escape(title)}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="24" font-size="15">{escape(title)}</text>',
        *axes.frame(),
    ]
    for index, run in enumerate(runs):
        colour = _COLOURS[index % len(_COLOURS)]
        parts += axes.line([step.floor for step in run.steps], colour, "4 4")
        parts += axes.line([step.rel_l2 for step in run.steps], colour, "")
        parts += _legend(index, colour, run)
    return "\n".join([*parts, "</svg>", ""])


class _Axes:
    def __init__(self, steps: int, low: int, high: int) -> None:
        self.steps, self.low, self.high = steps, low, high

    def x(self, index: int) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * index / max(self.steps - 1, 1)

    def y(self, value: float) -> float:
        share = (math.log10(max(value, _LEAST)) - self.low) / (self.high - self.low)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * min(max(share, 0), 1)

    def frame(self) -> list[str]:
        parts = []
        for power in range(self.low, self.high + 1):
            y = self.y(10.0**power)
            parts.append(
                f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>'
                f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">1e{power}</text>'
            )
        for index in range(0, self.steps, max(1, self.steps // 10)):
            y = _HEIGHT - _BOTTOM + 18
            x = f"{self.x(index):.1f}"
            parts.append(f'<text x="{x}" y="{y}" text-anchor="middle">{index + 1}</text>')
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        parts.append(
            f'<text x="{middle}" y="{_HEIGHT - 12}" text-anchor="middle">step</text>'
            f'<text x="18" y="{_HEIGHT / 2}" text-anchor="middle" '
            f'transform="rotate(-90 18 {_HEIGHT / 2})">relative drift of the latents</text>'
        )
        return parts

    def line(self, values: Sequence[float | None], colour: str, dash: str) -> list[str]:
        points = [
            f"{self.x(index):.1f},{self.y(value):.1f}"
            for index, value in enumerate(values)
            if value is not None and math.isfinite(value)
        ]
        if not points:
            return []
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        return [
            f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" '
            f'stroke-width="2"{dashed}/>'
        ]


def _legend(index: int, colour: str, run: Trajectory) -> list[str]:
    x, y = _WIDTH - _RIGHT + 16, _TOP + 40 * index + 10
    floor = f"{run.ratio:.2g}x the floor" if run.ratio is not None else "no floor"
    return [
        f'<path d="M{x} {y}h22" stroke="{colour}" stroke-width="2"/>'
        f'<text x="{x + 28}" y="{y + 4}">{escape(run.scheduler)}</text>'
        f'<path d="M{x} {y + 16}h22" stroke="{colour}" stroke-width="2" '
        f'stroke-dasharray="4 4"/><text x="{x + 28}" y="{y + 20}">{floor}</text>'
    ]
