"""The Python denoising loop, diffusers' schedulers and what a UNet is conditioned on."""
