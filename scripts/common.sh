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

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# without_services COMMAND...: what it installs does not start: tests and measurements start it themselves, on their own ports.
without_services() {
  local policy=/usr/sbin/policy-rc.d status=0
  if [ -e $policy ]; then
    "$@"
    return
  fi
  printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
  as_root chmod 755 $policy
  "$@" || status=$?
  as_root rm -f $policy
  return $status
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

# as_root_here PROGRAM ARGUMENTS...: as_root, keeping what the program is told by the environment.
as_root_here() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  else
    as_root env ${ATOLL_STATE:+ATOLL_STATE="$ATOLL_STATE"} ${ATOLL_PLATFORM:+ATOLL_PLATFORM="$ATOLL_PLATFORM"} ${ATOLL_BIN:+ATOLL_BIN="$ATOLL_BIN"} "$@"
  fi
}

# Pid of the Docker daemon that was started by hand, so that `make down` ends that one and no other.
# shellcheck disable=SC2034 # used by the scripts that source this
started_record=/var/run/atoll-dockerd.pid

# timed NAME BEGAN: remembers how long a phase took; summary BEGAN: prints all of them in minutes.
phases=()
timed() { phases+=("$1 $(($(now_ms) - $2))"); }
summary() {
  local entry
  say ""
  for entry in "${phases[@]}"; do minutes "${entry% *}" "${entry##* }"; done
  minutes "in all" $(($(now_ms) - $1))
}
minutes() { printf '    %-20s %2d:%02d min\n' "$1" $(($2 / 60000)) $(($2 / 1000 % 60)); }
