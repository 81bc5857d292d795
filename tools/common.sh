# Shared by the scripts of this folder; sourced, never run.

DEBIAN_PG_CONFIG=/usr/lib/postgresql/15/bin/pg_config
DEBIAN_PYTHON=/usr/bin/python3

say() { echo "setup: $*"; }
die() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}
have() { command -v "$1" >/dev/null; }

# A folder that PG_CONFIG names; one that does not exist if there is no such PostgreSQL yet.
pg_path() { "$PG_CONFIG" "$1" 2>/dev/null || echo /nonexistent; }

# sudo may ask for a password only where somebody can type it.
may_become_root() {
  [ "$(id -u)" = 0 ] && return
  have sudo || return
  sudo -n true 2>/dev/null || { { : </dev/tty; } 2>/dev/null && sudo -v; }
}
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
