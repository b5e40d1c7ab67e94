"""Holds objects against the schemas of kubernetes-validate, strictly, for every Kubernetes from 1.28 on.

Standard input: a JSON list of [where, "before-1.30" or "from-1.30", object]. Standard output: a line for each fault, then how many
objects were held against how many versions.
"""

import functools
import json
import sys

import kubernetes_validate
from kubernetes_validate import utils

# Each call reads the definitions of its version anew, which is nearly all it does.
utils.schema_contents = functools.lru_cache(maxsize=None)(utils.schema_contents)

# Each is listed twice, for its plain and its strict schemas.
versions = sorted({v for v in utils.all_versions() if int(v.split(".")[1]) >= 28})
seen = set()
checked = 0
for where, era, document in json.load(sys.stdin):
    kind = document.get("kind")
    key = (era, json.dumps(document, sort_keys=True))
    if key in seen:
        continue
    seen.add(key)
    checked += 1
    for version in versions:
        if (int(version.split(".")[1]) < 30) != (era == "before-1.30"):
            continue
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(str(part) for part in error.path)
            print(f"{where}: {kind} {document['metadata']['name']}, {version}: {path}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError as error:
            print(f"{where}: {kind}, {version}: {error.message}")
print(f"{checked} objects, {len(versions)} versions")
