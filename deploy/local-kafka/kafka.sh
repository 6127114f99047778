#!/usr/bin/env bash
# A real Apache Kafka on this machine, without Docker: one KRaft node from Maven Central's jars.
# Standard output carries only results (the bootstrap address); progress and errors go to standard error.
set -euo pipefail

readonly VERSION=4.1.1
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly HERE
readonly CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/millstream/kafka-$VERSION"
readonly LIB="$CACHE/lib"
# A broker that starts in two seconds and stays near 250 MB; for throughput set KAFKA_JVM='-Xmx1g -Xms1g'.
readonly JVM="${KAFKA_JVM:--Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC}"
readonly START_SECONDS="${KAFKA_START_SECONDS:-90}"
readonly STOP_SECONDS=30

usage() {
  cat <<USAGE
usage: kafka.sh COMMAND [options]

  start    start the broker, wait until it answers, print its bootstrap address;
           a directory that was used before keeps its data and its ports
  stop     stop it cleanly (SIGTERM) and wait
  kill9    kill it (SIGKILL), as a power cut would; 'start' brings it back
  status   print the bootstrap address and exit 0, or exit 1 if it does not run
  clean    stop it and remove its data
  jars     only download the jars (about 55 MB, once)
  tool     run a command-line tool: kafka.sh tool TopicCommand --list

  --dir DIR              data, log and settings of this instance
                         (default: \${XDG_STATE_HOME:-~/.local/state}/millstream/local-kafka)
  --port P               client port (default: kept, else a free one; 9092 is preferred in the default directory)
  --controller-port P    port of the controller (default: kept, else a free one)
  --set KEY=VALUE        one more broker setting, may be repeated; holds for this start only
  --with-parent PID      stop the broker when process PID ends, however it ends
  --ephemeral            with --with-parent: remove the directory's contents then, too

  environment: KAFKA_JVM (JVM options), KAFKA_START_SECONDS (patience, default 90)
USAGE
}

say() { echo "local-kafka: $*" >&2; }
die() { say "$*"; exit 1; }

# --- processes -------------------------------------------------------------------------------------

command_line_of() { # PID
  if [ -r "/proc/$1/cmdline" ]; then tr '\0' ' ' <"/proc/$1/cmdline"; else ps -p "$1" -o command= 2>/dev/null || true; fi
}

# A process that still does something: a zombie waiting to be reaped has ended.
is_alive() { # PID
  kill -0 "$1" 2>/dev/null || return 1
  if [ -r "/proc/$1/stat" ]; then
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    stat=${stat##*) }
    [ "${stat%% *}" != Z ] || return 1
  fi
}

# The pid of this directory's broker, if it runs. The command line is compared: a pid file outlives a reboot, its number may be somebody else's.
broker_pid() {
  local pid
  [ -f "$DIR/kafka.pid" ] && pid=$(cat "$DIR/kafka.pid") && [ -n "$pid" ] || return 1
  is_alive "$pid" || return 1
  case "$(command_line_of "$pid")" in *"$DIR/server.properties"*) echo "$pid" ;; *) return 1 ;; esac
}

wait_gone() { # PID SECONDS
  local deadline=$((SECONDS + $2))
  while is_alive "$1"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.05
  done
}

# --- jars ------------------------------------------------------------------------------------------

need() { # COMMAND PACKAGE
  command -v "$1" >/dev/null || die "'$1' is missing; install it (Debian: apt-get install $2), or run deploy/setup.sh"
}

# Downloads into a directory of its own and renames it, so that no reader ever sees half a set.
ensure_jars() {
  [ -d "$LIB" ] && return
  need mvn maven
  mkdir -p "$CACHE"
  (
    # One download at a time: Maven's local repository is not safe under two writers.
    if command -v flock >/dev/null; then flock 9; fi
    [ -d "$LIB" ] && exit 0
    say "downloading Kafka $VERSION (about 55 MB, once) into $LIB"
    local fresh="$CACHE/lib.$$"
    trap 'rm -rf "$fresh"' EXIT
    mvn -q -B -Dstyle.color=never -f "$HERE/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$fresh" >&2 \
      || die "Maven could not download Kafka; its messages are above"
    mv "$fresh" "$LIB"
  ) 9>"$CACHE/lock"
}

java_with_jars() { java -cp "$LIB/*" "-Dlog4j2.configurationFile=$HERE/log4j2.properties" "$@"; }

# --- ports -----------------------------------------------------------------------------------------

is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Below the range from which the kernel takes ports of outgoing connections: it cannot be lost between this test and the bind.
free_port() {
  local port try
  for try in $(seq 200); do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    is_taken "$port" || { echo "$port"; return; }
  done
  die "no free port found after $try tries"
}

choose_ports() {
  CHOSEN=no
  if [ -f "$DIR/ports" ]; then
    local kept
    read -r -a kept <"$DIR/ports"
    PORT=${PORT:-${kept[0]}}
    CONTROLLER_PORT=${CONTROLLER_PORT:-${kept[1]}}
  fi
  if [ -z "$PORT" ] || [ -z "$CONTROLLER_PORT" ]; then CHOSEN=yes; fi
  if [ -z "$PORT" ] && [ "$DIR" = "$DEFAULT_DIR" ] && ! is_taken 9092; then PORT=9092; fi
  PORT=${PORT:-$(free_port)}
  CONTROLLER_PORT=${CONTROLLER_PORT:-$(free_port)}
}

# --- start -----------------------------------------------------------------------------------------

write_settings() {
  sed -e "s|@DIR@|$DIR|g" -e "s|@PORT@|$PORT|g" -e "s|@CONTROLLER_PORT@|$CONTROLLER_PORT|g" \
    "$HERE/server.properties" >"$DIR/server.properties"
  local setting
  for setting in ${SETTINGS[@]+"${SETTINGS[@]}"}; do echo "$setting" >>"$DIR/server.properties"; done
}

# 16 random bytes, url-safe; not beginning with '-', which would look like an option.
cluster_id() {
  local id
  while :; do
    id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 1-22)
    case "$id" in -*) ;; *) echo "$id"; return ;; esac
  done
}

format() {
  [ -f "$DIR/data/meta.properties" ] && return
  java_with_jars -XX:TieredStopAtLevel=1 -XX:+UseSerialGC kafka.tools.StorageTool format -t "$(cluster_id)" -c "$DIR/server.properties" \
    >"$DIR/format.log" 2>&1 || { cat "$DIR/format.log" >&2; die "formatting $DIR/data failed"; }
}

# Starts the JVM and waits for its own word: a TCP connect could be answered by somebody else's broker on that port.
launch() {
  : >"$DIR/kafka.log"
  # shellcheck disable=SC2086 # the JVM options are a list
  setsid_if_there java $JVM -cp "$LIB/*" "-Dlog4j2.configurationFile=$HERE/log4j2.properties" \
    kafka.Kafka "$DIR/server.properties" </dev/null >>"$DIR/kafka.log" 2>&1 9>&- &
  local pid=$! deadline=$((SECONDS + START_SECONDS))
  echo "$pid" >"$DIR/kafka.pid"
  until grep -q 'Kafka Server started' "$DIR/kafka.log"; do
    is_alive "$pid" || return 1
    if [ "$SECONDS" -ge "$deadline" ]; then
      kill -9 "$pid" 2>/dev/null || true
      say "the broker did not start within $START_SECONDS s"
      return 1
    fi
    sleep 0.05
  done
}

# A session of its own: Ctrl-C at the caller's terminal must not reach the broker.
setsid_if_there() { if command -v setsid >/dev/null; then exec setsid "$@"; else exec "$@"; fi; }

start() {
  need java openjdk-17-jre-headless
  ensure_jars
  mkdir -p "$DIR"
  if broker_pid >/dev/null; then
    guard
    cat "$DIR/bootstrap"
    return
  fi
  local wanted_port=$PORT wanted_controller=$CONTROLLER_PORT attempt
  for attempt in 1 2 3 4 5; do
    choose_ports
    write_settings
    format
    # Before and after: Ctrl-C may end this script, or the parent may die, while the broker is starting.
    guard
    if launch; then
      echo "$PORT $CONTROLLER_PORT" >"$DIR/ports"
      echo "127.0.0.1:$PORT" >"$DIR/bootstrap"
      guard
      cat "$DIR/bootstrap"
      return
    fi
    # Two starts at one moment may choose the same free port; only then another try makes sense.
    if [ "$CHOSEN" = yes ] && grep -q -i 'address already in use' "$DIR/kafka.log"; then
      say "port $PORT or $CONTROLLER_PORT was taken meanwhile, trying others (attempt $attempt)"
      PORT=$wanted_port CONTROLLER_PORT=$wanted_controller
      # The quorum's port is written into the log of a formatted directory's first start.
      rm -rf "$DIR/data"
      continue
    fi
    break
  done
  rm -f "$DIR/kafka.pid"
  tail -n 20 "$DIR/kafka.log" >&2
  die "the broker did not start; its whole log: $DIR/kafka.log"
}

# --- the parent's end ------------------------------------------------------------------------------

# One small process per directory that outlives the parent just long enough to take the broker down with it.
guard() {
  [ -n "$PARENT" ] || return 0
  if ! is_alive "$PARENT"; then
    # It died while we were starting: what its guard would do.
    watch_parent
    die "process $PARENT has ended"
  fi
  local old
  if [ -f "$DIR/guard.pid" ] && old=$(cat "$DIR/guard.pid") && is_alive "$old"; then
    case "$(command_line_of "$old")" in *"guard --dir $DIR --with-parent $PARENT "*) return 0 ;; esac
  fi
  local ephemeral=keep
  [ "$EPHEMERAL" = no ] || ephemeral=--ephemeral
  setsid_if_there "$HERE/kafka.sh" guard --dir "$DIR" --with-parent "$PARENT" "$ephemeral" \
    </dev/null >/dev/null 2>&1 9>&- &
  echo $! >"$DIR/guard.pid"
}

watch_parent() {
  while is_alive "$PARENT"; do sleep 0.3; done
  local pid
  # Nobody is left who could want a clean stop.
  if pid=$(broker_pid); then
    kill -9 "$pid" 2>/dev/null || true
    wait_gone "$pid" 10 || true
  fi
  [ "$EPHEMERAL" = no ] || remove
}

# --- stop ------------------------------------------------------------------------------------------

stop() {
  local pid
  if ! pid=$(broker_pid); then rm -f "$DIR/kafka.pid"; return 0; fi
  kill "$pid" 2>/dev/null || true
  if ! wait_gone "$pid" "$STOP_SECONDS"; then
    say "no clean stop within $STOP_SECONDS s, killing it"
    kill -9 "$pid" 2>/dev/null || true
    wait_gone "$pid" 10 || die "process $pid does not end"
  fi
  rm -f "$DIR/kafka.pid"
}

kill9() {
  local pid
  pid=$(broker_pid) || die "no broker runs in $DIR"
  kill -9 "$pid"
  wait_gone "$pid" 10 || die "process $pid does not end"
  rm -f "$DIR/kafka.pid"
}

# Only what this script made: DIR may be a directory that holds other things too.
remove() {
  rm -rf "$DIR/data"
  rm -f "$DIR/server.properties" "$DIR/kafka.log" "$DIR/format.log" "$DIR/kafka.pid" "$DIR/guard.pid" "$DIR/ports" "$DIR/bootstrap"
  rmdir "$DIR" 2>/dev/null || true
}

tool() { # CLASS ARGUMENTS...
  [ $# -ge 1 ] || die "which tool? for example: kafka.sh tool TopicCommand --list"
  local class=$1
  shift
  broker_pid >/dev/null || die "no broker runs in $DIR"
  need java openjdk-17-jre-headless
  exec java -XX:TieredStopAtLevel=1 -cp "$LIB/*" "-Dlog4j2.configurationFile=$HERE/log4j2.properties" \
    "org.apache.kafka.tools.$class" --bootstrap-server "$(cat "$DIR/bootstrap")" "$@"
}

# --- arguments -------------------------------------------------------------------------------------

readonly DEFAULT_DIR="${XDG_STATE_HOME:-$HOME/.local/state}/millstream/local-kafka"
DIR=$DEFAULT_DIR PORT='' CONTROLLER_PORT='' PARENT='' EPHEMERAL=no CHOSEN=no SETTINGS=() REST=()
COMMAND=${1:-help}
[ $# -eq 0 ] || shift
while [ $# -gt 0 ]; do
  case "$1" in
    --dir | --port | --controller-port | --set | --with-parent) [ $# -ge 2 ] || die "$1 needs a value" ;;
  esac
  case "$1" in
    --dir) DIR=$2; shift 2 ;;
    --port) PORT=$2; shift 2 ;;
    --controller-port) CONTROLLER_PORT=$2; shift 2 ;;
    --set) SETTINGS+=("$2"); shift 2 ;;
    --with-parent) PARENT=$2; shift 2 ;;
    --ephemeral) EPHEMERAL=yes; shift ;;
    *) REST+=("$1"); shift ;;
  esac
done
case "$DIR" in /*) ;; *) DIR=$PWD/$DIR ;; esac
case "$COMMAND" in tool | guard) ;; *) [ ${#REST[@]} -eq 0 ] || { usage >&2; die "unknown option '${REST[0]}'"; } ;; esac

case "$COMMAND" in
  start) start ;;
  stop) stop ;;
  kill9) kill9 ;;
  status) broker_pid >/dev/null || die "no broker runs in $DIR"; cat "$DIR/bootstrap" ;;
  clean) stop; remove ;;
  jars) ensure_jars; echo "$LIB" ;;
  tool) tool ${REST[@]+"${REST[@]}"} ;;
  guard) watch_parent ;;
  help | --help | -h) usage ;;
  *) usage >&2; die "unknown command '$COMMAND'" ;;
esac
