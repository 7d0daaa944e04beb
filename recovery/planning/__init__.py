"""Facts to a plan: what `restore` and `open` would do, decided before anything is created. It asks AWS and the
original, writes nothing, and refuses whatever would fail later.

Read in this order: request (what was asked for), access (how to log in), plan; then cost_limit, references.
"""
