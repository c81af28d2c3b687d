"""`python -m neuron`."""

from neuron.cli import main

if __name__ == "__main__":
    main(prog_name="python -m neuron")
