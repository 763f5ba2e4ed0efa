"""What a Deployment lacks: pods of deterministic names and uids, a rolling update, its status. Pure."""

import hashlib
import json
import math
import re
from collections.abc import Callable, Collection, Container, Iterable, Sequence
from typing import Any

import msgspec

from edged.control.pods import ENDED, PENDING, Owned, next_uid
from edged.model.apps import Deployment, DeploymentStatus
from edged.model.deletion import marked
from edged.model.limits import MAX_REPLICAS
from edged.model.meta import Condition
from edged.model.names import SUBDOMAIN_MAX
from edged.model.objects import Key, Object, dump, typed, whole
from edged.model.times import format_time
from edged.store.writes import Create, Delete, Put, PutStatus, Write

HASH_LABEL = "pod-template-hash"
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels, no digits that look like letters: as Kubernetes' own hashes
HASH_LENGTH = 10
_PERCENT = re.compile("[0-9]{1,9}", re.ASCII)


def reconcile(
    deployment: Object,
    owned: Sequence[Owned],
    last_uid: Callable[[Key], str | None],
    now: float,
    silent: Collection[str] = (),
) -> list[Write]:
    """The writes that bring `deployment` closer to what it asks for. `owned` are the pods that it controls.

    Pods on the nodes `silent` are not ready, whatever they said last: nobody sees those nodes.

    `last_uid` gives the uid of the last object of a key: the next one's is made from it, so two nodes that know the same
    history make the very same pod.
    """
    parsed = typed(deployment, Deployment)
    template = whole(deployment).get("spec", {}).get("template", {})
    digest = template_hash(template)
    current = [each for each in owned if not each.going]
    fresh = [each for each in current if each.pod.metadata.labels.get(HASH_LABEL) == digest]
    stale = [each for each in current if each.pod.metadata.labels.get(HASH_LABEL) != digest]
    count = min(parsed.spec.replicas, MAX_REPLICAS)
    wanted = dict.fromkeys(_name(parsed.metadata.name, digest, index) for index in range(count))

    leaving = [each for each in fresh if each.pod.metadata.name not in wanted]
    ready = {each.object.uid for each in current if each.ready and each.pod.spec.node_name not in silent}
    leaving += _replaceable(parsed, stale, ready)
    ended = [each for each in owned if each.going and each.pod.metadata.deletion_timestamp is None]
    room = _room(parsed, current, stale)
    taken = {each.pod.metadata.name for each in owned}
    making = [name for name in wanted if name not in taken][: max(0, room)]

    writes: list[Write] = [_end(each, now) for each in leaving + ended]
    writes += [_make(deployment, parsed, template, digest, name, last_uid, now) for name in making]
    status = _status(parsed, len(current), len(fresh), len(ready), now)
    if status != parsed.status:
        writes.append(PutStatus(deployment.key, dump(status), uid=deployment.uid))
    return writes


def orphans(pods: Iterable[Owned], owners: Container[str], now: float) -> list[Write]:
    """The end of pods whose owning Deployment is gone: `owners` are the uids of all that are there."""
    lost = []
    for each in pods:
        owner = each.controller
        if owner is None or owner.kind != "Deployment" or owner.uid in owners:
            continue
        if each.pod.metadata.deletion_timestamp is None:
            lost.append(_end(each, now))
    return lost


def template_hash(template: dict[str, Any]) -> str:
    """Ten characters that stand for a pod template: equal for equal ones on every node and in every version."""
    canonical = json.dumps(template, sort_keys=True, separators=(",", ":")).encode()
    number = int.from_bytes(hashlib.sha256(canonical).digest(), "big")
    letters = []
    for _ in range(HASH_LENGTH):
        number, index = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[index])
    return "".join(letters)


def _name(deployment: str, digest: str, index: int) -> str:
    """A pod's name: a long one of the deployment is cut, so that every node takes the pod's."""
    suffix = f"-{digest}-{index}"
    return deployment[: SUBDOMAIN_MAX - len(suffix)].rstrip("-.") + suffix


def _room(parsed: Deployment, current: list[Owned], stale: list[Owned]) -> int:
    """How many pods may be made now."""
    if parsed.spec.strategy.type == "Recreate":
        return 0 if stale else parsed.spec.replicas
    return parsed.spec.replicas + _surge_and_unavailable(parsed)[0] - len(current)


def _replaceable(parsed: Deployment, stale: list[Owned], ready: set[str]) -> list[Owned]:
    """The old pods that may go now: those that serve nobody, and as many ready ones as may be missing."""
    if parsed.spec.strategy.type == "Recreate":
        return stale
    least = parsed.spec.replicas - _surge_and_unavailable(parsed)[1]
    spare = max(0, len(ready) - least)
    unready = [each for each in stale if each.object.uid not in ready]
    return unready + [each for each in stale if each.object.uid in ready][:spare]


def _surge_and_unavailable(parsed: Deployment) -> tuple[int, int]:
    """Both as numbers; never both nothing, else no update would ever move (apps/v1 RollingUpdateDeployment)."""
    rolling = parsed.spec.strategy.rolling_update
    surge = _number(rolling.max_surge, parsed.spec.replicas, math.ceil)
    unavailable = _number(rolling.max_unavailable, parsed.spec.replicas, math.floor)
    return surge, unavailable if surge or unavailable else 1


def _number(value: int | str, of: int, rounded: Callable[[float], int]) -> int:
    """A number of pods; none for a share that is no percentage, which only another version of edged takes."""
    if isinstance(value, int):
        return value
    percent = value.removesuffix("%")
    return rounded(int(percent) * of / 100) if _PERCENT.fullmatch(percent) else 0


def _end(each: Owned, now: float) -> Write:
    """Remove a pod: at once when nothing of it runs, else in its own time on its node."""
    if not each.pod.spec.node_name or each.pod.status.phase in ENDED:
        return Delete(each.object.key, uid=each.object.uid)
    return Put(each.object.key, marked(each.object, each.pod.spec.termination_grace_period_seconds, now), rv=each.object.rv)


def _make(
    deployment: Object,
    parsed: Deployment,
    template: dict[str, Any],
    digest: str,
    name: str,
    last_uid: Callable[[Key], str | None],
    now: float,
) -> Create:
    key = Key("pods", parsed.metadata.namespace, name)
    uid = next_uid(parsed.metadata.uid, name, last_uid(key))
    metadata = template.get("metadata", {})
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": key.namespace,
            "uid": uid,
            "creationTimestamp": format_time(now),
            "labels": {**metadata.get("labels", {}), HASH_LABEL: digest},
            **({"annotations": metadata["annotations"]} if metadata.get("annotations") else {}),
            "ownerReferences": [
                {
                    "apiVersion": parsed.api_version,
                    "kind": parsed.kind,
                    "name": parsed.metadata.name,
                    "uid": deployment.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": template.get("spec", {}),
    }
    return Create(key, uid, dump(body), PENDING)


def _status(parsed: Deployment, current: int, fresh: int, ready: int, now: float) -> DeploymentStatus:
    wanted = parsed.spec.replicas
    available = Condition("Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    if ready >= wanted - _surge_and_unavailable(parsed)[1]:
        available = Condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    progressing = Condition("Progressing", "True", "ReplicaSetUpdated", f"{fresh} of {wanted} replicas are updated.")
    if fresh == current == wanted == ready:
        progressing = Condition("Progressing", "True", "NewReplicaSetAvailable", "All replicas are updated and ready.")
    said = {each.type: each for each in parsed.status.conditions}
    conditions = tuple(_condition(said.get(each.type), each, now) for each in (available, progressing))
    return DeploymentStatus(
        observed_generation=parsed.metadata.generation,
        replicas=current,
        updated_replicas=fresh,
        ready_replicas=ready,
        available_replicas=ready,
        unavailable_replicas=max(0, wanted - ready),
        conditions=conditions,
    )


def _condition(before: Condition | None, after: Condition, now: float) -> Condition:
    """`after` with its times: the transition is the last change of `status`, the update the last change of anything."""
    if before is not None:
        times = {"last_transition_time": before.last_transition_time, "last_update_time": before.last_update_time}
        if msgspec.structs.replace(after, **times) == before:
            return before
        if after.status == before.status:
            at = before.last_transition_time
            return msgspec.structs.replace(after, last_transition_time=at, last_update_time=format_time(now))
    return msgspec.structs.replace(after, last_transition_time=format_time(now), last_update_time=format_time(now))
