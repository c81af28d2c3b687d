"""The BitAI virtual machine: blocks in, state and receipts out, with models that contracts can ask."""
