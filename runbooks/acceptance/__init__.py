"""A first run on a real account: what rowback assumes of AWS is tried on instances that are made for it."""
