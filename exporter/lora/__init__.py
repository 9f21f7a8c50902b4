"""LoRAs for files with low-rank branches: checked, renamed, blended."""
