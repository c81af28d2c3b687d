#!/usr/bin/env bash
# Rust's share of `make lint`: format, and clippy with warnings as errors.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cargo >/dev/null 2>&1 || { echo "lint: cargo is missing; install Rust's stable toolchain (rustup) with clippy and rustfmt" >&2; exit 1; }
cargo fmt --manifest-path vm/native/Cargo.toml --check
cargo clippy --quiet --manifest-path vm/native/Cargo.toml --all-targets --locked -- -D warnings
