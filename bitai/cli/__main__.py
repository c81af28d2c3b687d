"""`python -m bitai.cli` is `bitai-node`."""

from bitai.cli import main

if __name__ == "__main__":
    main()
