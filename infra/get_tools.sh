#!/bin/sh
# Puts promtool, prometheus, alertmanager, kustomize and compose-spec (the reader of compose files that docker compose is
# built on) into DIR/bin, for the tests of rules, monitoring and manifests: those that are installed, else Debian's
# prometheus (unpacked, not installed: no daemon is started), and builds with go. Nothing needs root. Debian's
# alertmanager is used where it is installed; unpacked it does not find its templates, whose place is compiled in.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 DIR" >&2
    exit 2
fi
kustomize=sigs.k8s.io/kustomize/kustomize/v5@v5.7.1
alertmanager=github.com/prometheus/alertmanager/cmd/alertmanager@v0.27.0
compose_spec=github.com/compose-spec/compose-go/v2/cmd@v2.10.1
mkdir -p "$1/bin"
bin=$(cd "$1/bin" && pwd)

# there NAME…: whether DIR/bin has the first NAME; what is installed under any of them becomes it
there() {
    wanted=$bin/$1
    if [ -x "$wanted" ]; then
        return 0
    fi
    for name; do
        if installed=$(command -v "$name"); then
            ln -sf "$installed" "$wanted"
            return 0
        fi
    done
    return 1
}

build() {
    command -v go >/dev/null || { echo "$0 needs $1, or go to build it" >&2; exit 1; }
    GOBIN="$bin" go install "$2"
}

if ! there promtool || ! there prometheus; then
    command -v apt-get >/dev/null || { echo "$0 needs prometheus and promtool, or apt-get to fetch them" >&2; exit 1; }
    unpacked=$(mktemp -d)
    trap 'rm -rf "$unpacked"' EXIT
    (cd "$unpacked" && apt-get -qq download prometheus && dpkg-deb -x prometheus_*.deb .) ||
        { echo "$0 can't fetch Debian's package prometheus (apt-get update?)" >&2; exit 1; }
    mv "$unpacked/usr/bin/promtool" "$unpacked/usr/bin/prometheus" "$bin/"
fi
there alertmanager prometheus-alertmanager || build alertmanager "$alertmanager"
there kustomize || build kustomize "$kustomize"
if ! there compose-spec; then
    build compose-spec "$compose_spec"
    mv "$bin/cmd" "$bin/compose-spec" # a program of go is called as its directory
fi
