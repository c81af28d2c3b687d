#!/usr/bin/env bash
# Write requirements.lock: every package the checkout installs, with hashes, for Python 3.11 and newer.
# No index address is written: which mirror serves the files is the machine's business, the hashes say what they are.
# Arguments go to uv, e.g. `tools/lock.sh --upgrade-package aiohttp`.
set -euo pipefail
cd "$(dirname "$0")/.."
uv="$(command -v uv || echo "${XDG_CACHE_HOME:-$HOME/.cache}/bitai/uv/bin/uv")"
"$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
  --group dev "$@" pyproject.toml -o requirements.lock
# The web3.py before ours, for the test that drives the node with both.
"$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
  --no-annotate "$@" - -o tests/functional/web3-7.lock <<<"web3>=7.16,<8"
