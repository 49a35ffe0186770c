#!/bin/sh
# Checks alerts, dashboards, runbooks and the documents about them, without a running server.
#
#   scripts/check-observability.sh         everything that can be known from the files
#   scripts/check-observability.sh URL     also that each panel has data in this running Prometheus
#
# Needs promtool and amtool (Debian's prometheus and prometheus-alertmanager) and Node.
set -eu
cd "$(dirname "$0")/.."

for tool in promtool amtool npm; do
    command -v "$tool" >/dev/null 2>&1 || {
        echo "check-observability: there is no $tool; install prometheus," \
            "prometheus-alertmanager and npm" >&2
        exit 1
    }
done

# Runs a command and shows what it says only if it fails.
quietly() {
    said=$("$@" 2>&1) || {
        printf '%s\n' "$said" >&2
        exit 1
    }
}

grafana=deploy/grafana
if ! cmp -s "$grafana/package-lock.json" "$grafana/node_modules/installed.json"; then
    (cd "$grafana" && npm ci --silent --no-audit --no-fund)
    cp "$grafana/package-lock.json" "$grafana/node_modules/installed.json"
fi

quietly promtool check config deploy/prometheus/prometheus.yml
quietly promtool check rules deploy/prometheus/rules/*.yml
quietly promtool test rules deploy/prometheus/tests/*.yml
quietly amtool check-config deploy/alertmanager/alertmanager.yml

npm --prefix "$grafana" --silent run check
npm --prefix "$grafana" --silent run build
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
node deploy/check.mjs rules >"$made/dashboards.yml"
quietly promtool check rules "$made/dashboards.yml"

node deploy/check.mjs names
[ $# -eq 0 ] || node deploy/check.mjs live "$1"
