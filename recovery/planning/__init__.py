"""Facts to a plan: what `restore` and `open` would do, decided before anything is created.

It asks AWS and the original, writes nothing, and refuses whatever would fail later.

Read in this order: check_request (what was asked for), original_login, make_plan; then cost_limit,
reference_declarations.
"""
