"""Checks a JobSet without a cluster: against the models of JobSet's own API, and its job against Kubernetes' schemas.

    python3 deploy/check/jobset.py FILE...

JobSet's models are in kubeflow-trainer-api, which is generated from its OpenAPI document; Kubernetes' are in kubernetes-validate,
in whose strict form an unknown key is a mistake.
"""

import sys

import kubernetes_validate
import yaml
from kubeflow_trainer_api.models.jobset_v1alpha2_job_set import JobsetV1alpha2JobSet

KUBERNETES = "1.34"


def unknown(given, known, path):
    """The keys of the document that the model dropped."""
    if isinstance(given, dict) and isinstance(known, dict):
        for key, value in given.items():
            if key not in known:
                yield f"{path}.{key}"
            else:
                yield from unknown(value, known[key], f"{path}.{key}")
    elif isinstance(given, list) and isinstance(known, list):
        for place, (one, other) in enumerate(zip(given, known)):
            yield from unknown(one, other, f"{path}[{place}]")


def problems(document):
    """What is wrong with a JobSet."""
    read = JobsetV1alpha2JobSet.from_dict(document)
    for key in unknown(document, read.to_dict(), "JobSet"):
        yield f"{key}: JobSet has no such key"
    if document.get("apiVersion") != "jobset.x-k8s.io/v1alpha2" or document.get("kind") != "JobSet":
        yield "apiVersion and kind: this is no JobSet of v1alpha2"
    for job in document["spec"]["replicatedJobs"]:
        template = job["template"]
        metadata = {"name": f"{document['metadata']['name']}-{job['name']}", **template.get("metadata", {})}
        inner = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]}
        try:
            kubernetes_validate.validate(inner, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{'.'.join(str(part) for part in error.path)}: {error.message}"


def main():
    found = 0
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            for document in yaml.safe_load_all(file):
                for problem in problems(document):
                    print(f"{path}: {problem}", file=sys.stderr)
                    found += 1
    sys.exit(1 if found else 0)


main()
