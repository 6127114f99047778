#!/usr/bin/env bash
# Runs the named suites (unit, integration, campaign) and ends with one line, "N passed, N failed"; the exit code says the same.
# A suite that does not compile, or whose process dies without a result, counts as one failure.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/millstream/target}"
export MILLSTREAM_BIN="${MILLSTREAM_BIN:-$CARGO_TARGET_DIR/release/millstream}"

readonly STARTED=$SECONDS
LOG=$(mktemp)
KAFKA=$(mktemp -d)
trap 'rm -rf "$LOG" "$KAFKA"' EXIT
PASSED=0 FAILED=0 COMPILES=yes

# Runs a command, shows its output and adds its results to the sums.
suite() { # COMMAND...
  echo "==> $*"
  "$@" 2>&1 | tee "$LOG"
  local status=${PIPESTATUS[0]} passed failed
  # test result: FAILED. 3 passed; 1 failed; 0 ignored; ...
  read -r passed failed < <(awk '/^test result: / { passed += $4; failed += $6 } END { print passed + 0, failed + 0 }' "$LOG")
  if [ "$status" -ne 0 ] && [ $((passed + failed)) -eq 0 ]; then COMPILES=no; fi
  if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
  PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed))
  return "$status"
}

# The broker traits' contract runs on a real Kafka: on the one that is named, else on one of our own.
unit() {
  local brokers="${MILLSTREAM_TEST_BROKERS:-}"
  # Before the broker starts: a build would starve it. What does not compile is counted below.
  cargo test --release --workspace --lib --bins --no-run || true
  if [ -z "$brokers" ] && ! brokers=$(deploy/local-kafka/kafka.sh start --dir "$KAFKA" --with-parent $$ --ephemeral); then
    echo "no Kafka for the broker contract: see above" >&2
    FAILED=$((FAILED + 1))
    return
  fi
  MILLSTREAM_TEST_BROKERS="$brokers" suite cargo test --release --workspace --lib --bins --no-fail-fast
  [ -n "${MILLSTREAM_TEST_BROKERS:-}" ] || deploy/local-kafka/kafka.sh clean --dir "$KAFKA"
}

# What only campaigns run: the sizes of millions. One test at a time, there and here: each runs several worker processes and kills them, and on two
# cores two of them would measure each other's patience.
readonly LONG=(event_time::two_million restore::memory::four_million restore::memory::ten_million)

integration() {
  suite deploy/build.sh || return
  suite cargo test --release --workspace --test main --no-fail-fast -- --test-threads=1 "${LONG[@]/#/--skip=}"
}

# Every integration test there is, the long ones too.
campaign() {
  suite deploy/build.sh || return
  suite cargo test --release --workspace --test main --no-fail-fast -- --test-threads=1
}

for name in "$@"; do
  # What does not compile once fails once.
  [ "$COMPILES" = yes ] || break
  case "$name" in
    unit | integration | campaign) "$name" || true ;;
    *) echo "unknown suite '$name'"; FAILED=$((FAILED + 1)) ;;
  esac
done

echo "took $((SECONDS - STARTED)) s"
# Nothing passed and nothing failed is not a success.
if [ "$PASSED" -eq 0 ] && [ "$FAILED" -eq 0 ]; then FAILED=1; fi
echo "$PASSED passed, $FAILED failed"
[ "$FAILED" -eq 0 ]
