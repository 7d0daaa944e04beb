"""Values that all rooms share: frozen, validated, with units in their names. They do no input or output."""
