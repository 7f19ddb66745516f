"""Which deployment answers: weights, sessions that stay, a header that overrides, shadows that listen in. Pure."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.errors import EndpointNotFoundError, OverloadedError, ServingError
from promptflow_lite.records import DeploymentSpec, EndpointSpec


def check_endpoint(spec: EndpointSpec) -> None:
    """Refuse a spec that could not answer. Raises `ServingError`."""
    names = [deployment.name for deployment in spec.deployments]
    if len(set(names)) != len(names):
        raise ServingError(f"Endpoint {spec.name!r} has two deployments of one name.")

    for deployment in spec.deployments:
        if deployment.weight < 0 or not 0 <= deployment.mirror_fraction <= 1:
            raise ServingError(
                f"Deployment {deployment.name!r} has weight {deployment.weight:g} and mirror fraction "
                f"{deployment.mirror_fraction:g}.",
                hint="A weight is not negative, a mirror fraction lies in 0..1.",
            )
    if spec.deployments and not any(d.weight > 0 and not d.is_draining for d in spec.deployments):
        raise ServingError(f"No deployment of endpoint {spec.name!r} takes traffic.", hint="Give one a weight above 0.")


class Router:
    """Chooses deployments of one version of an endpoint.

    A session is placed by a hash of its name on the line of weights. Growing one weight therefore moves only sessions
    near the borders, and every replica places a session alike without sharing any state.
    """

    def __init__(self, spec: EndpointSpec, *, draw: Callable[[], float] = random.random) -> None:
        self.spec = spec
        self._draw = draw
        self._open = [d for d in spec.deployments if d.weight > 0 and not d.is_draining]
        self._total = sum(d.weight for d in self._open)
        self._shadows = [d for d in spec.deployments if d.mirror_fraction > 0 and not d.is_draining]

    def choose(self, *, session: str | None = None, wanted: str | None = None) -> DeploymentSpec:
        """The deployment that answers.

        Args:
            session: Requests with the same one go to the same deployment while weights stand.
            wanted: Name of a deployment asked for by header; also one of weight 0.

        Raises:
            EndpointNotFoundError: no deployment is named `wanted`.
            OverloadedError: nothing takes traffic, or `wanted` is draining.
        """
        if wanted is not None:
            return self._wanted(wanted)

        if not self._open:
            raise OverloadedError(f"No deployment of endpoint {self.spec.name!r} takes traffic.")

        if len(self._open) == 1:
            return self._open[0]

        is_placed = session is not None and self.spec.is_sticky
        point = (_place(f"{self.spec.name}\0{session}") if is_placed else self._draw()) * self._total
        for deployment in self._open:
            point -= deployment.weight
            if point < 0:
                return deployment
        return self._open[-1]

    def shadows(self, answering: DeploymentSpec) -> list[DeploymentSpec]:
        """Deployments that also run this request, unseen."""
        return [d for d in self._shadows if d.name != answering.name and self._draw() < d.mirror_fraction]

    def _wanted(self, name: str) -> DeploymentSpec:
        deployment = self.spec.deployment(name)
        if deployment is None:
            known = [d.name for d in self.spec.deployments]
            raise EndpointNotFoundError(
                f"Endpoint {self.spec.name!r} has no deployment {name!r}.", hint=did_you_mean(name, known)
            )

        if deployment.is_draining:
            raise OverloadedError(f"Deployment {name!r} is draining.")

        return deployment


def _place(key: str) -> float:
    """A stable point in 0.0-1.0."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:8], "big") / 2**64
