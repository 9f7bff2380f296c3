# Shared by the scripts of this folder: sourced, never run. Every phase says what it does and how long it took.
# shellcheck shell=bash

say()  { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }

# die MESSAGE HINT: every failure names the next thing to do.
die() {
  printf 'error: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf '  hint: %s\n' "$2" >&2
  exit 1
}

now_ms() { date +%s%3N; }

# phase NAME COMMAND...: runs the command, then prints its seconds. It stands bare, never in a condition: the shell's
# `set -e` would be off inside it, and a failed step would be followed by the next.
phase() {
  local name=$1 began ms
  shift
  say "==> $name"
  began=$(now_ms)
  "$@"
  ms=$(($(now_ms) - began))
  printf '    %s: %d.%d s\n' "$name" $((ms / 1000)) $((ms % 1000 / 100))
}

# as_root COMMAND...: through sudo only where it is needed.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -- "$@"
  else
    die "'$1' needs root and sudo is missing" "run this as root, or install sudo"
  fi
}

# The daemon's socket belongs to root and the group docker; a new member of the group is one only after the next login.
docker_cmd() {
  if [ "$(id -u)" -eq 0 ] || [ -n "${DOCKER_HOST:-}" ] || [ -w /var/run/docker.sock ]; then
    docker "$@"
  else
    as_root docker "$@"
  fi
}

# Seconds are bounded: a socket without a daemon behind it may accept and never answer.
docker_answers() { timeout 10 "$(command -v docker || echo false)" version --format '{{.Server.Version}}' >/dev/null 2>&1 || as_root_quiet_docker; }
as_root_quiet_docker() {
  [ "$(id -u)" -ne 0 ] && command -v sudo >/dev/null && command -v docker >/dev/null &&
    sudo -n timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}
