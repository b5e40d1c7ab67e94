#!/usr/bin/env bash
# Guess: a definition that passed a validator has no two paths that match the same requests: the Paths Object says that templated
#        paths with the same hierarchy and other names of parameters MUST NOT exist.
# Truth: openapi-spec-validator 0.9.0 takes /u/{id} beside /u/{ID}, /u beside /u/, and /a beside /a?x=1, each with a security
#        requirement of its own, in 3.0 and in 3.1.
# Why it matters: a gateway that goes through paths in any order asks for the scopes of one of them. Which one, the definition
#        does not say, so whoever routes by it has to look for such pairs and refuse them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openapi-spec-validator==0.9.0
cat >"$folder/look.py" <<'EOF'
from openapi_spec_validator import validate

def definition(version, one, two):
    def item(path, scope):
        names = [part.strip("{}") for part in path.split("/") if part.startswith("{")]
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
        operation = {"security": [{"o": [scope]}], "responses": {"200": {"description": "ok"}}}
        return {"parameters": parameters, "get": operation}
    flow = {"clientCredentials": {"tokenUrl": "https://a.test", "scopes": {"admin": "a", "read": "r"}}}
    return {
        "openapi": version,
        "info": {"title": "T", "version": "1"},
        "paths": {one: item(one, "admin"), two: item(two, "read")},
        "components": {"securitySchemes": {"o": {"type": "oauth2", "flows": flow}}},
    }

for version in ("3.0.3", "3.1.0"):
    for one, two in (("/u/{id}", "/u/{ID}"), ("/u", "/u/"), ("/a", "/a?x=1")):
        try:
            validate(definition(version, one, two))
            print(f"{version} {one} beside {two}: accepted")
        except Exception as error:
            print(f"{version} {one} beside {two}: {type(error).__name__}")
EOF
"$folder/venv/bin/python" "$folder/look.py" | tee "$folder/seen"
cat >"$folder/expected" <<'EOF'
3.0.3 /u/{id} beside /u/{ID}: accepted
3.0.3 /u beside /u/: accepted
3.0.3 /a beside /a?x=1: accepted
3.1.0 /u/{id} beside /u/{ID}: accepted
3.1.0 /u beside /u/: accepted
3.1.0 /a beside /a?x=1: accepted
EOF
diff "$folder/expected" "$folder/seen" || { echo "openapi-spec-validator behaves otherwise now" >&2; exit 1; }
echo "openapi-spec-validator 0.9.0: as described"
