#!/usr/bin/env bash
# Makes sure that everything needed to build and test is there. On Debian and its kin as root it installs what is missing; elsewhere it
# names what is missing and how to get it. Quiet and quick when nothing is missing: only files and commands are looked at.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$HOME/.cargo/bin:$PATH"

readonly RUST=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml)
readonly JAVA_AT_LEAST=17
MISSING=() # Debian package names

have() { command -v "$1" >/dev/null 2>&1; }
want() { have "$1" || MISSING+=("$2"); } # COMMAND PACKAGE
exists() { compgen -G "$1" >/dev/null; }  # GLOB

# The version stands in a file of the Java home, which is quicker to read than to ask a JVM.
java_is_recent() {
  have java || return 1
  local home release version
  home=$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")
  release="$home/release"
  [ -r "$release" ] || release="$home/../release"
  if [ -r "$release" ]; then
    version=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$release")
  else
    version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
  fi
  [ "${version:-0}" -ge "$JAVA_AT_LEAST" ]
}

find_libclang() {
  [ -z "${LIBCLANG_PATH:-}" ] || return 0
  exists '/usr/lib/llvm-*/lib/libclang*.so*' || exists '/usr/lib/*/libclang*.so*' || exists '/usr/lib64/libclang*.so*' ||
    exists '/usr/lib/libclang*.so*' || exists '/opt/homebrew/opt/llvm/lib/libclang.dylib' || exists '/Library/Developer/CommandLineTools/usr/lib/libclang.dylib'
}

find_missing() {
  MISSING=()
  want git git
  want curl curl
  want make make
  want cmake cmake
  want g++ g++
  want pkg-config pkg-config
  find_libclang || MISSING+=(libclang-dev)
  pkg-config --exists openssl 2>/dev/null || MISSING+=(libssl-dev)
  pkg-config --exists zlib 2>/dev/null || MISSING+=(zlib1g-dev)
  java_is_recent || MISSING+=(openjdk-17-jdk-headless)
  want mvn maven
  if [ -f /etc/debian_version ]; then
    [ -e /etc/ssl/certs/ca-certificates.crt ] || MISSING+=(ca-certificates)
  fi
}

can_install() { [ -f /etc/debian_version ] && have apt-get && [ "$(id -u)" -eq 0 ]; }

apt_has() { apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [^(]'; }

install() { # PACKAGES...
  local package packages=()
  echo "setup: installing $* (a minute or two)"
  apt-get update -qq
  for package in "$@"; do
    # Newer Debian releases carry a newer JDK only.
    if [ "$package" = openjdk-17-jdk-headless ] && ! apt_has "$package"; then package=default-jdk-headless; fi
    packages+=("$package")
  done
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}"
}

tell() { # PACKAGES...
  {
    echo "setup: missing: $*   (Debian's package names)"
    if [ -f /etc/debian_version ]; then
      echo "  install them as root:  apt-get update && apt-get install -y $*"
    else
      echo "  Fedora:  dnf install git curl make cmake gcc-c++ pkgconf clang-devel openssl-devel zlib-devel java-17-openjdk-devel maven"
      echo "  macOS:   xcode-select --install && brew install cmake pkg-config llvm openssl openjdk@17 maven"
    fi
  } >&2
}

# rustup reads rust-toolchain.toml and fetches that toolchain by itself; a cargo without rustup must be new enough.
rust_is_there() {
  have cargo || return 1
  have rustup && return
  local version
  version=$(cargo --version | awk '{ print $2 }')
  [ "$(printf '%s\n%s\n' "$RUST" "$version" | sort -V | head -n 1)" = "$RUST" ]
}

ensure_rust() {
  rust_is_there && return
  if can_install && ! have cargo && apt_has rustup; then
    install rustup
    rust_is_there && return
  fi
  {
    echo "setup: no Rust toolchain $RUST was found (Debian's own rustc is too old). Install rustup, which fetches the version pinned in rust-toolchain.toml:"
    echo "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --default-toolchain none"
    echo "  then run the command again (a new shell is not needed)"
  } >&2
  return 1
}

find_missing
if [ ${#MISSING[@]} -gt 0 ]; then
  if can_install; then
    install "${MISSING[@]}"
    find_missing
  fi
  if [ ${#MISSING[@]} -gt 0 ]; then
    tell "${MISSING[@]}"
    exit 1
  fi
fi
ensure_rust

# Cargo tells whether a source has changed by its time, and clones that share the target directory share its records: after building
# another clone, all of ours count as changed.
own_the_target() {
  local target="${CARGO_TARGET_DIR:-$HOME/.cache/millstream/target}" root owner
  root=$(pwd -P)
  owner="$target/built-last-from"
  mkdir -p "$target"
  if [ "$(cat "$owner" 2>/dev/null)" != "$root" ]; then
    find src integration-tests -name '*.rs' -exec touch {} +
    echo "$root" >"$owner"
  fi
}
own_the_target
