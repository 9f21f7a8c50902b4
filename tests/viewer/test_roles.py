"""Roles look alike wherever they are shown: page, Netron, figures on paper."""

from __future__ import annotations

import re

import pytest

from viewer.outputs.roles import LOOKS
from viewer.serve.pages import WEB

ROLES_CSS = (WEB / "page/roles.css").read_text()
OVERLAY_CSS = (WEB / "netron/overlay.css").read_text()
DARK = ':root[data-theme="dark"]'


def colours(css: str, selector: str) -> dict[str, str]:
    body = css.partition(f"{selector} {{\n")[2].partition("}")[0]
    return dict(re.findall(r"--(\w+): (#\w{6});", body))


def contrast(one: str, other: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""

    def light(colour: str) -> float:
        channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
        ]
        return sum(c * part for c, part in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_paper_has_the_colours_of_the_page():
    page = colours(ROLES_CSS, ":root")
    assert page.pop("none") not in page.values()
    assert page == {role: look.colour for role, look in LOOKS.items()}


@pytest.mark.parametrize(
    "known",
    [
        set(colours(ROLES_CSS, DARK)) - {"none"},
        set(colours(OVERLAY_CSS, DARK)),
        set(re.findall(r"^\.role-(\w+) \{", ROLES_CSS, re.MULTILINE)) - {"none"},
        set(re.findall(r"^\.node-item-type-atlas-(\w+) path", OVERLAY_CSS, re.MULTILINE)),
        set(re.findall(r"^  (\w+): \[", (WEB / "page/roles.js").read_text(), re.MULTILINE)),
    ],
    ids=["dark page", "dark Netron", "classes", "Netron's headers", "labels"],
)
def test_every_role_is_known_everywhere(known):
    assert known == set(LOOKS)


def test_white_text_can_be_read_on_netrons_headers():
    light, dark = colours(ROLES_CSS, ":root"), colours(OVERLAY_CSS, DARK)
    for role in LOOKS:
        assert contrast(light[role], "#ffffff") > 4, role
        assert contrast(dark[role], "#ffffff") > 4, role
