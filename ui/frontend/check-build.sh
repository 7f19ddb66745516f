#!/bin/sh
# Fails when a rebuild of the committed sources does not give the committed bytes.
set -eu
cd "$(dirname "$0")"
fresh="$(mktemp -d)"
trap 'rm -rf "$fresh"' EXIT
PFL_ASSETS="$fresh" node build.mjs
if diff -r "$fresh" ../../promptflow_lite/ui_assets; then
  echo "studio assets: the rebuild gives the same bytes"
else
  echo "studio assets: run 'make ui-build' and commit promptflow_lite/ui_assets" >&2
  exit 1
fi
