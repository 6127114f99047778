#!/usr/bin/env bash
# Builds all binaries, and says beforehand what a first build costs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/millstream/target}"

if ! compgen -G "$CARGO_TARGET_DIR/release/deps/librocksdb-*.rlib" >/dev/null; then
  echo "First build into $CARGO_TARGET_DIR: RocksDB (C++), DataFusion and librdkafka are compiled once." >&2
  echo "That takes about 25 minutes on two cores, a few on a large machine; later builds take seconds to two minutes." >&2
fi
exec cargo build --release --workspace --bins
