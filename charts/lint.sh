#!/usr/bin/env bash
# Lints both charts, and checks what they render against the schemas of the Kubernetes that the tests run.
# Usage: charts/lint.sh HELM KUBECONFORM
set -euo pipefail
cd "$(dirname "$0")/.."
helm=$1 kubeconform=$2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/rendered" "$work/schemas"

# The values of each case: the least there must be, the local cluster without a GPU, and every switch thrown.
least=(--set storage.outputUri=gs://b/o --set storage.inputUri=gs://b/i --set pools.image.modelUri=gs://b/m)
render() { # case values...
    local case=$1
    shift
    "$helm" lint --quiet --strict charts/trellis "${least[@]}" "$@"
    "$helm" template trellis charts/trellis --namespace trellis-system "${least[@]}" "$@" >"$work/rendered/$case.yaml"
}
render least
render local --values e2e/manifests/values.yaml --set pools.text.modelUri=gs://b/t --set pools.image.accelerator=null,pools.text.accelerator=null
render all --values charts/trellis/ci/all-values.yaml
"$helm" lint --quiet --strict charts/trellis-crds

# Offline: the schemas come with the pinned source of Kubernetes. Our own two kinds and those of the Prometheus operator are not among them;
# e2e/tests/crds.rs and e2e/tests/chart.rs give those to a real API server.
(cd e2e/tools/kubernetes && go mod download -json k8s.io/kubernetes) | python3 charts/schemas.py "$work/schemas"
"$kubeconform" -strict -summary -skip GenerationJob,WorkerPool,PodMonitor,PrometheusRule \
    -schema-location "$work/schemas/{{.Group}}_{{.ResourceAPIVersion}}_{{.ResourceKind}}.json" \
    "$work/rendered" e2e/manifests/fake-gcs.yaml
