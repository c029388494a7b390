"""``make demo``: the main job, on real systems, told step by step."""
