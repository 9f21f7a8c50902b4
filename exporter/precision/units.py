"""What a UNet is divided into: the modules that are kept in float32 or not, each whole."""

from __future__ import annotations

import torch


def units(unet: torch.nn.Module) -> tuple[str, ...]:
    """Paths of modules that share no parameter and hold all of them, in order.

    Blocks are divided into what they list: resnets, attentions, up- and downsamplers.
    Everything else that has parameters (embeddings, the first and last convolution) is one.
    """
    found = []
    for name, child in unet.named_children():
        if isinstance(child, torch.nn.ModuleList):
            for index, block in enumerate(child):
                found += _inside(f"{name}.{index}", block)
        elif any(isinstance(part, torch.nn.ModuleList) for part in child.children()):
            found += _inside(name, child)
        else:
            found.append((name, child))
    return tuple(path for path, module in found if any(True for _ in module.parameters()))


def _inside(path: str, block: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    found = []
    for name, child in block.named_children():
        if isinstance(child, torch.nn.ModuleList):
            found += [(f"{path}.{name}.{i}", part) for i, part in enumerate(child)]
        else:
            found.append((f"{path}.{name}", child))
    return found
