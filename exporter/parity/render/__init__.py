"""An outcome for people and for CI: one format a file; nothing here decides anything."""
