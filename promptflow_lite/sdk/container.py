"""Files that run a built flow: Dockerfile, start script, compose file and Kubernetes manifests. Pure."""

from __future__ import annotations

import re
from typing import Any

from promptflow_lite.flow import dump_yaml_text

DEFAULT_IMAGE = "python:3.11-slim"
PORT = 8080
_PROBE = (
    f"import sys, urllib.request as r; sys.exit(r.urlopen('http://127.0.0.1:{PORT}/health', timeout=3).status != 200)"
)

START = f"""\
#!/bin/sh
# Creates the connections, then serves the flow on port {PORT}.
#
# Callers need a key. Either give one in PFL_SERVE_KEY, or keep keys in the database (PFL_DATABASE_URL or the folder
# PFL_HOME) and make them with: docker exec CONTAINER pfl endpoint keys create
set -e
for file in connections/*.yaml; do
  [ -e "$file" ] && pfl connection create -f "$file" > /dev/null
done
exec pfl serve "$PROMPTFLOW_PROJECT_PATH" --host 0.0.0.0 --port {PORT} --auth keys
"""

COMMAND = '#!/bin/sh\nexec python -m promptflow_lite.cli.main "$@"\n'
"""`pfl` inside the image, where the package is copied and not installed."""


def dockerfile(environment: dict[str, Any], *, requirements: str | None, entry: str) -> str:
    """A Dockerfile in two stages: packages are built in one and only copied into the other; nobody is root.

    Args:
        environment: The flow's `environment`: `image`, `setup_sh`.
        requirements: The flow's requirements file inside its folder, if it has one.
        entry: Path of the flow in the image.
    """
    base = environment.get("image") or DEFAULT_IMAGE
    lines = [
        f"FROM {base} AS build",
        "WORKDIR /build",
        "RUN python -m venv /opt/venv",
        "ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1",
        "COPY package/requirements.txt package/requirements.txt",
        "RUN pip install -r package/requirements.txt",
    ]
    if requirements:
        lines += [f"COPY flow/{requirements} flow/{requirements}", f"RUN pip install -r flow/{requirements}"]

    lines += [
        "",
        f"FROM {base}",
        "WORKDIR /app",
        "RUN useradd --create-home --uid 10001 flow && mkdir -p /app/home && chown flow /app /app/home",
        "COPY --from=build /opt/venv /opt/venv",
        "COPY package/promptflow_lite package/promptflow_lite",
        "COPY --chmod=755 pfl /usr/local/bin/pfl",
        "COPY --chown=flow flow flow",
        "COPY connections* connections/",
        "COPY settings.json start.sh ./",
    ]
    if environment.get("setup_sh"):
        lines.append(f"RUN sh flow/{environment['setup_sh']}")

    lines += [
        "ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app/package PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \\",
        f"    PFL_HOME=/app/home PROMPTFLOW_PROJECT_PATH={entry}",
        "USER 10001",
        f"EXPOSE {PORT}",
        "VOLUME /app/home",
        f'HEALTHCHECK --interval=15s --timeout=4s --start-period=20s CMD ["python", "-c", "{_PROBE}"]',
        "STOPSIGNAL SIGTERM",
        'CMD ["sh", "./start.sh"]',
    ]
    return "\n".join(lines) + "\n"


def compose(name: str, settings: dict[str, str]) -> str:
    """A compose file: the flow, and PostgreSQL for its records."""
    environment = {variable: f"${{{variable}}}" for variable in ("PFL_SERVE_KEY", *settings)}
    environment["PFL_DATABASE_URL"] = "postgresql://pfl:${POSTGRES_PASSWORD}@database/pfl"
    document = {
        "services": {
            "flow": {
                "build": ".",
                "image": image_name(name),
                "ports": [f"127.0.0.1:{PORT}:{PORT}"],
                "environment": environment,
                "depends_on": {"database": {"condition": "service_healthy"}},
                "read_only": True,
                "tmpfs": ["/tmp"],  # noqa: S108  # inside the container
                "volumes": ["home:/app/home"],
                "cap_drop": ["ALL"],
                "security_opt": ["no-new-privileges:true"],
                "stop_grace_period": "40s",
                "restart": "unless-stopped",
            },
            "database": {
                "image": "postgres:17-alpine",
                "environment": {
                    "POSTGRES_USER": "pfl",
                    "POSTGRES_DB": "pfl",
                    "POSTGRES_PASSWORD": "${POSTGRES_PASSWORD}",
                },
                "volumes": ["database:/var/lib/postgresql/data"],
                "healthcheck": {"test": ["CMD-SHELL", "pg_isready -U pfl"], "interval": "5s", "retries": 12},
            },
        },
        "volumes": {"home": {}, "database": {}},
    }
    return dump_yaml_text(document)


def kubernetes(name: str, settings: dict[str, str]) -> list[dict[str, Any]]:
    """Deployment, Service and HorizontalPodAutoscaler; replicas share PostgreSQL, named in the Secret.

    The autoscaler follows `pfl_requests_in_flight`, which every replica exports on `/metrics`.
    """
    app = label(name)
    labels = {"app.kubernetes.io/name": app, "app.kubernetes.io/managed-by": "promptflow-lite"}
    selector = {"app.kubernetes.io/name": app}
    return [
        _deployment(app, name, labels, selector, settings),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": app, "labels": labels},
            "spec": {"selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        },
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": app, "labels": labels},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": app},
                "minReplicas": 2,
                "maxReplicas": 10,
                "metrics": [
                    {
                        "type": "Pods",
                        "pods": {
                            "metric": {"name": "pfl_requests_in_flight"},
                            "target": {"type": "AverageValue", "averageValue": "8"},
                        },
                    }
                ],
            },
        },
    ]


def _deployment(
    app: str, name: str, labels: dict[str, str], selector: dict[str, str], settings: dict[str, str]
) -> dict[str, Any]:
    def from_secret(variable: str) -> dict[str, Any]:
        return {"name": variable, "valueFrom": {"secretKeyRef": {"name": app, "key": variable}}}

    probe = {"httpGet": {"path": "/health", "port": "http"}}
    container = {
        "name": "flow",
        "image": image_name(name),
        "ports": [{"name": "http", "containerPort": PORT}],
        "env": [from_secret(variable) for variable in ("PFL_DATABASE_URL", "PFL_SERVE_KEY", *settings)],
        "readinessProbe": {**probe, "periodSeconds": 5},
        "livenessProbe": {**probe, "periodSeconds": 15, "failureThreshold": 4},
        "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "home", "mountPath": "/app/home"}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }
    annotations = {"prometheus.io/scrape": "true", "prometheus.io/port": str(PORT), "prometheus.io/path": "/metrics"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": app, "labels": labels},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {
                    "terminationGracePeriodSeconds": 40,
                    "securityContext": {"fsGroup": 10001},
                    "containers": [container],
                    "volumes": [{"name": "home", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
                },
            },
        },
    }


def kubernetes_text(name: str, settings: dict[str, str]) -> str:
    """The manifests as one file."""
    return "---\n".join(dump_yaml_text(document) for document in kubernetes(name, settings))


def label(name: str) -> str:
    """A name that Kubernetes takes (RFC 1123 label)."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-") or "flow"


def image_name(name: str) -> str:
    return f"{label(name)}:latest"
