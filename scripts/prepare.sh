# What a machine needs before it can build or test the project. Sourced by the scripts beside it.
#
# Each function looks first and changes nothing where everything is there already. A step that cannot be done here ends the
# script with a sentence that says what to do by hand. Debian and Ubuntu are known; elsewhere the sentence names the packages.

fail() {
  printf '\nerror: %s\n' "$*" >&2
  exit 1
}

# Runs a command as root: directly, or by sudo where there is one.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "this step needs root and there is no sudo; run as root: $*"
  fi
}

# need_packages NAME...: installs those Debian packages that are missing, and keeps their daemons from being started:
# while policy-rc.d answers 101 nothing is started, and units that came with the packages are disabled afterwards.
need_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || fail "please install (names as in Debian): ${missing[*]}"
  echo "installing: ${missing[*]}"

  local policy=/usr/sbin/policy-rc.d own_policy=no
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    own_policy=yes
  fi
  local installed=yes
  { as_root apt-get update -qq &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
      >/dev/null; } || installed=no
  [ "$own_policy" = no ] || as_root rm -f "$policy"
  [ "$installed" = yes ] || fail "apt-get could not install: ${missing[*]}"

  if [ -d /run/systemd/system ]; then
    for package in "${missing[@]}"; do
      as_root systemctl disable --quiet "$package" 2>/dev/null || true
    done
  fi
}

# A C compiler for the few dependencies with C in them, and cargo. The toolchain's version stands in rust-toolchain.toml;
# rustup fetches it at the first call of cargo.
need_toolchain() {
  if ! command -v cc >/dev/null || ! command -v make >/dev/null; then
    need_packages build-essential
  fi
  [ ! -e "$HOME/.cargo/env" ] || . "$HOME/.cargo/env"
  if ! command -v cargo >/dev/null; then
    need_packages ca-certificates curl
    echo "installing: rustup"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
      sh -s -- -y --quiet --profile minimal --default-toolchain none ||
      fail "rustup could not be installed; see https://rustup.rs, then run this again"
    . "$HOME/.cargo/env"
  fi
  cargo --version || fail "cargo does not work; the toolchain in rust-toolchain.toml is needed (rustup fetches it)"
}
