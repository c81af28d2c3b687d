"""Model artifacts that ship with the wheel, read with `importlib.resources.files("vm.inference.models")`."""
