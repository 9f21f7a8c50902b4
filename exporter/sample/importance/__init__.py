"""Which part does what, and when: each is switched off in turn, over a set of prompts."""
