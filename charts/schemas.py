"""Writes a JSON schema for each kind of Kubernetes, as kubeconform reads them, from the API description in Kubernetes' source.

Usage: go mod download -json k8s.io/kubernetes | schemas.py FOLDER
"""

import json
import pathlib
import sys

source = pathlib.Path(json.load(sys.stdin)["Dir"])
folder = pathlib.Path(sys.argv[1])
definitions = json.loads((source / "api/openapi-spec/swagger.json").read_text())["definitions"]

# Both are given as strings, though YAML may hold a number.
definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] = {"type": ["string", "integer"]}
definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"] = {"type": ["string", "number"]}
for definition in definitions.values():
    # A misspelt field is a mistake.
    if "properties" in definition:
        definition.setdefault("additionalProperties", False)


def reachable(name, found):
    """Adds to `found` the definition called `name` and all that it refers to."""
    if name in found:
        return found
    found[name] = definitions[name]
    pending = [definitions[name]]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                reachable(node["$ref"].rsplit("/", 1)[1], found)
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
    return found


for name, definition in definitions.items():
    kinds = definition.get("x-kubernetes-group-version-kind", [])
    # DeleteOptions and the like belong to every group.
    if len(kinds) == 1 and "metadata" in definition.get("properties", {}):
        kind = kinds[0]
        # kubeconform calls the core group by its version.
        group = kind["group"] or kind["version"]
        file = folder / f"{group}_{kind['version']}_{kind['kind'].lower()}.json"
        schema = {"$ref": f"#/definitions/{name}", "definitions": reachable(name, {})}
        file.write_text(json.dumps(schema))
