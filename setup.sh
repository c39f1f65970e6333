#!/usr/bin/env bash
# bash setup.sh [run|test|models]: install into .venv what is missing, then do it.
#   run [--port N --host H]   start the web app on http://127.0.0.1:7860 (the default)
#   test [--slow]             ruff, mypy and all tests, a real browser included; --slow adds sweeps, soaks and whole judgements
#   models NAME…              download models, resuming what was begun; licence, access and disk are checked first
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export PIP_DISABLE_PIP_VERSION_CHECK=1 HF_HUB_DISABLE_TELEMETRY=1 GRADIO_ANALYTICS_ENABLED=False

say() { printf '%s\n' "$*" >&2; }
die() { say "setup.sh: $*"; exit 1; }

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.12 python3.11 python3 python; do
    [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 || continue
    "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' && { echo "$candidate"; return; }
  done
  die "Python 3.10 to 3.13 is needed and was not found. Name one: PYTHON=/path/to/python bash setup.sh"
}

# Install the packages of one purpose (run or test), unless exactly this was installed before.
install() {
  local purpose=$1 stamp wanted
  if [ ! -x .venv/bin/python ]; then
    local python; python=$(find_python)
    say "Making .venv with $python"
    "$python" -m venv .venv || die "could not make a virtual environment (on Debian and Ubuntu: apt-get install python3-venv)"
  fi
  stamp=.venv/installed-$purpose
  wanted=$(cat requirements.txt constraints.txt pyproject.toml setup.sh | cksum)
  [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
  [ "$purpose" = run ] && [ "$(cat .venv/installed-test 2>/dev/null)" = "$wanted" ] && return  # tests need more
  local pins=(-c constraints.txt) what=(-e .)
  # The exact versions were tested on 3.11; a wheel of each need not exist for every other Python.
  .venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || pins=()
  [ "$purpose" = test ] && what=(-e '.[test]')
  say "Installing what is missing (a first time takes minutes and about 6 GB of disk)"
  .venv/bin/python -m pip install --quiet "${pins[@]}" "${what[@]}" || die "the installation failed; run the same command again to go on"
  printf '%s' "$wanted" > "$stamp"
}

find_browser() {
  local candidate
  for candidate in "${FLUX_SVD_BROWSER:-}" chromium chromium-browser google-chrome chrome; do
    [ -n "$candidate" ] && command -v "$candidate" 2>/dev/null && return
  done
  return 1
}

# Make sure that the tests find a browser: one that is there, Debian's, or the one Playwright downloads. The first two need
# nothing of .venv and are looked after while that is filled.
debian_browser() {
  find_browser >/dev/null && return
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || return
  say "Installing Chromium for the browser tests"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >&2
}
playwright_browser() {
  find_browser >/dev/null && return
  .venv/bin/python -m playwright install chromium >&2 || die "the browser tests need Chromium: install it, or set FLUX_SVD_BROWSER"
}

purpose=${1:-run}
[ $# -gt 0 ] && shift
case "$purpose" in
  run)
    install run
    exec .venv/bin/flux-svd app "$@"
    ;;
  test)
    marks="not slow and not gpu"
    if [ "${1:-}" = "--slow" ]; then marks="not gpu"; shift; fi
    debian_browser &
    browser=$!
    install test
    wait "$browser" || true
    playwright_browser
    .venv/bin/ruff check .
    .venv/bin/mypy
    # Tiny models gain nothing from threads and lose much when the cores are busy: cores go to whole files of tests instead, the
    # longest first. Each process holds torch and models, up to 2.5 GB; `-n 0` at the end runs all in one, for a debugger.
    parallel=(-n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder)
    FLUX_SVD_BROWSER=$(find_browser || true) OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 \
      exec .venv/bin/python -m pytest "${parallel[@]}" -m "$marks" "$@"
    ;;
  models)
    install run
    [ $# -gt 0 ] || exec .venv/bin/flux-svd models list
    exec .venv/bin/flux-svd models download "$@"
    ;;
  *)
    die "unknown: $purpose; say run, test or models"
    ;;
esac
