"""The control loops; `CONTROLLERS` is all of them."""
