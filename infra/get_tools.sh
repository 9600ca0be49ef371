#!/bin/sh
# Puts promtool and kustomize into DIR/bin, for the tests of rules and manifests: those that are installed, else
# Debian's package (unpacked, not installed: no daemon is started) and a build with go. Nothing needs root.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 DIR" >&2
    exit 2
fi
kustomize_version=v5.7.1
mkdir -p "$1/bin"
bin=$(cd "$1/bin" && pwd)

if [ ! -x "$bin/promtool" ]; then
    if installed=$(command -v promtool); then
        ln -s "$installed" "$bin/promtool"
    else
        command -v apt-get >/dev/null || { echo "$0 needs promtool, or apt-get to fetch it" >&2; exit 1; }
        unpacked=$(mktemp -d)
        trap 'rm -rf "$unpacked"' EXIT
        (cd "$unpacked" && apt-get -qq download prometheus && dpkg-deb -x prometheus_*.deb .) ||
            { echo "$0 can't fetch Debian's package prometheus (apt-get update?)" >&2; exit 1; }
        mv "$unpacked/usr/bin/promtool" "$bin/promtool"
    fi
fi

if [ ! -x "$bin/kustomize" ]; then
    if installed=$(command -v kustomize); then
        ln -s "$installed" "$bin/kustomize"
    else
        command -v go >/dev/null || { echo "$0 needs kustomize, or go to build it" >&2; exit 1; }
        GOBIN="$bin" go install "sigs.k8s.io/kustomize/kustomize/v5@$kustomize_version"
    fi
fi
