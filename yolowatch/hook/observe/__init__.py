"""One file a trainer family: where in its own terms the training stands."""
