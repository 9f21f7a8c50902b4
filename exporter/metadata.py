"""The metadata keys of an annotated file; docs/FORMAT.md says what each one holds."""

from __future__ import annotations

from collections.abc import Mapping

PREFIX = "atlas."

MODULE = PREFIX + "module"
CLASS = PREFIX + "class"
SOURCE = PREFIX + "source"
ROLE = PREFIX + "role"
SIDE = PREFIX + "side"
LEVEL = PREFIX + "level"
SKIP = PREFIX + "skip"
SKIP_END = PREFIX + "skip_end"
SKIP_SOURCE = PREFIX + "skip.source"
SKIP_SINK = PREFIX + "skip.sink"
RESNET = PREFIX + "resnet"
CONDITION = PREFIX + "condition"
Q, K, V = PREFIX + "q", PREFIX + "k", PREFIX + "v"
HEADS = PREFIX + "heads"
HEAD_DIM = PREFIX + "head_dim"
PARAMS = PREFIX + "params"
VARIANT = PREFIX + "variant"

FORMAT_VERSION = "1"

ROLES = {
    "time_embedding": "timestep (or another conditioning vector) becoming a vector",
    "time_injection": "where that vector is added to the image, once in every resnet",
    "text": "encoder_hidden_states before any attention",
    "cross_attention": "Q from the image, K and V from the text",
    "image_prompt": "the image of an IP-Adapter, and the attention whose K and V it is",
    "self_attention": "Q, K and V from the image",
    "joint_attention": "K and V from the text and the image together",
    "skip": "the Concat that takes a skip connection",
    "condition": "where a residual of a ControlNet or an adapter is added to the image",
    "control_image": "the control image becoming features as large as the latents",
    "zero_convolution": "a convolution of one pixel, once zeros: what a ControlNet hands on",
    "lora": "a low-rank branch beside a layer, its factors inputs of the graph",
    "resnet": "a residual block that receives a time injection",
    "feed_forward": "the MLP of a transformer block",
    "transformer": "image to tokens and back, residual sums between attentions",
    "downsample": "resolution halves",
    "upsample": "resolution doubles",
    "conv_in": "image to features",
    "conv_out": "features to prediction",
    "block": "a call that holds several of these",
    "shape": "bookkeeping that no data passes through",
}
"""Every value of ``atlas.role`` and what it means."""

SAMPLER_ROLES = {
    "sampler": "the loop of the sampling stage, and the UNet in it",
    "guidance": "the halves without and with text, their conditions, and their meeting",
    "scheduler_step": "from latents and prediction to the latents of the next timestep",
    "loop_state": "timesteps, tables and noise, and what one step leaves to the next",
}
"""Those that a sampler's file has besides."""

PICTURE_ROLES = {
    "text_encoder": "from token ids to what the UNet reads of the text",
    "image_decoder": "from the last latents to the image",
}
"""Those that a text-to-image file has besides."""


def legend(*roles: Mapping[str, str]) -> str:
    """The line of a file that says what its roles mean; docs/FORMAT.md.

    Args:
        roles: Meaning of each role, by name, for every layer that the file has.
    """
    return "; ".join(f"{role}: {text}" for layer in roles for role, text in layer.items())
