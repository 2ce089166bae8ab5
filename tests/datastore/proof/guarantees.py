"""The six guarantees that etcd gives to who watches, held against what watches brought.

- Ordered: an event never comes after one with a later revision.
- Unique: an event never comes twice, also not to a watch that was broken and resumed.
- Reliable: between two events that came there is none that did not.
- Atomic: all of one revision comes in one piece.
- Resumable: a watch that goes on after the last revision it saw brings what comes next, or is told
  that this is compacted.
- Bookmarkable: at the end of each batch everything up to its last revision has come, so that this
  revision may be told as a bookmark (which is what the watch cache of the API server does).

Beside these, all watches and the log that is read in the end tell one and the same story: what a
watch brought is never taken back, and what was acknowledged is in it.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from minikube_py.datastore.kv import Event
from tests.datastore.proof.history import History, Stretch


class BrokenGuaranteeError(AssertionError):
    """A watch brought what it must not, or not what it must."""


Place = tuple[int, str]
"""Revision and key of an event."""


def check(history: History, log: Sequence[Event], *, oldest: int) -> None:
    """Raise BrokenGuaranteeError; `log` is all there is after the revision `oldest` in the end."""
    truth = _one_story((*history.events, *log))
    in_log = {_place(event) for event in log}
    for event in history.events:
        if event.revision > oldest and _place(event) not in in_log:
            raise BrokenGuaranteeError(f"taken back: {event}")
    for write in history.operations:
        if write.ended == "done" and write.kind != "get" and write.revision > oldest:
            event = truth.get((write.revision, write.key))
            if event is None or event.deleted != (write.kind == "delete"):
                raise BrokenGuaranteeError(f"acknowledged: {write}, in the log: {event}")
    places = sorted(truth)
    for stretch in history.stretches:
        where = f"{stretch.watch} after {stretch.after}"
        batches = [[_place(event) for event in batch] for batch in stretch.batches]
        _check_order(where, stretch.after, batches)
        _check_bookmarks(where, batches, [place for place in places if place[0] > stretch.after])
    _check_resumed(history.stretches)


def _place(event: Event) -> Place:
    return event.revision, event.key


def _one_story(events: Iterable[Event]) -> dict[Place, Event]:
    truth: dict[Place, Event] = {}
    for event in events:
        if truth.setdefault(_place(event), event) != event:
            raise BrokenGuaranteeError(f"two stories: {event} and {truth[_place(event)]}")
    return truth


def _check_order(where: str, after: int, batches: Sequence[Sequence[Place]]) -> None:
    came = [place for batch in batches for place in batch]
    if len(came) != len(set(came)):
        raise BrokenGuaranteeError(f"{where}: not unique: {sorted(came)}")
    for before, place in pairwise([(after, ""), *came]):
        if place[0] < before[0] or place[0] == after:
            raise BrokenGuaranteeError(f"{where}: not ordered: {place} after {before}")
    for before, batch in pairwise(batches):
        if before[-1][0] == batch[0][0]:
            raise BrokenGuaranteeError(f"{where}: not atomic: {before[-1]} and {batch[0]}")


def _check_bookmarks(
    where: str, batches: Sequence[Sequence[Place]], coming: Sequence[Place]
) -> None:
    """Check that at the end of each batch everything came that was due."""
    came: set[Place] = set()
    for batch in batches:
        came.update(batch)
        bookmark = batch[-1][0]
        missing = [place for place in coming if place[0] <= bookmark and place not in came]
        if missing:
            raise BrokenGuaranteeError(
                f"{where}: not reliable, and {bookmark} is no bookmark: missing {missing[:5]}"
            )


def _check_resumed(stretches: Sequence[Stretch]) -> None:
    watches: dict[str, list[Stretch]] = defaultdict(list)
    for stretch in stretches:
        watches[stretch.watch].append(stretch)
    for name, parts in watches.items():
        reached = 0
        for number, part in enumerate(parts):
            if number and part.after < reached:
                raise BrokenGuaranteeError(f"{name}: resumed at {part.after}, was at {reached}")
            came = [event.revision for batch in part.batches for event in batch]
            reached = max([part.after, *came])
            if part.compacted and part.compacted <= reached:
                raise BrokenGuaranteeError(f"{name}: not resumable at {reached}")
            reached = max(reached, part.compacted)
