"""Parameter values: reading, generating, writing."""
