"""Conditions from outside the UNet: what each one feeds, and what "off" means."""
