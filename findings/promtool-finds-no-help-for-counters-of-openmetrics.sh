#!/usr/bin/env bash
# Guess: `promtool check metrics` reads whatever Prometheus scrapes, so the OpenMetrics page of an instrumented process passes when its
#        text page of the same registry does.
# Truth: it reads standard input by the older text format alone. There a figure is described under its own name; OpenMetrics describes a
#        counter without `_total`, so every counter has "no help text", and the exit status is 3. The same registry in the text format passes.
# Why it matters: a process that answers OpenMetrics whatever is accepted fails `curl … | promtool check metrics` in somebody's pipeline,
#        however well its metrics are described; answer the text format unless OpenMetrics is asked for.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
version=2.42.0+ds-5+deb12u1
# The program alone: the package would start a server.
apt-get -qq -o APT::Sandbox::User=root download "prometheus=$version"
dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xOf - ./usr/bin/promtool >promtool
chmod +x promtool
./promtool --version 2>&1 | grep -q '^promtool, version 2\.42\.0'
python3 -m pip install --quiet --disable-pip-version-check --target packages prometheus-client==0.21.1

PYTHONPATH=packages python3 - <<'PY'
import prometheus_client, prometheus_client.openmetrics.exposition as openmetrics

registry = prometheus_client.CollectorRegistry()
ships = prometheus_client.Counter("harbour_ships", "Ships that came in", registry=registry)
berths = prometheus_client.Gauge("harbour_berths", "Berths that are free", registry=registry)
ships.inc(3)
berths.set(2)
# Times of creation are series of their own, which are not meant here.
lines = openmetrics.generate_latest(registry).decode().splitlines(True)
open("openmetrics", "w").writelines(line for line in lines if "_created" not in line)
lines = prometheus_client.generate_latest(registry).decode().splitlines(True)
open("text", "w").writelines(line for line in lines if "_created" not in line)
PY
grep -qx '# HELP harbour_ships Ships that came in' openmetrics
grep -qx '# HELP harbour_ships_total Ships that came in' text
grep -qx 'harbour_ships_total 3.0' openmetrics
grep -qx 'harbour_ships_total 3.0' text

status=0
told=$(./promtool check metrics <openmetrics 2>&1) || status=$?
[ "$status" = 3 ]
[ "$told" = "harbour_ships_total no help text" ]
told=$(./promtool check metrics <text 2>&1)
[ -z "$told" ]
echo "promtool 2.42.0, prometheus-client 0.21.1: a counter of OpenMetrics has \"no help text\" (exit status 3), the same in the text format passes"
