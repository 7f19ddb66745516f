"""Cell accounting: which tokens have KV cells, which sequences hold them, and what may be dropped.

Tokens that sequences have in common form a prefix tree. A node is a run of tokens; a sequence is attached to the node
where its prompt ends, and thereby to every node above. Cells of a node are counted from the moment it is planned, so
admission never promises room twice. Pure bookkeeping: it emits `Copy` and `Remove` operations and calls nothing.

**Why this shape.** A cell costs memory, and every cell in use costs attention time for every token of every row. So the
tree keeps what was shared at least once, and of the rest only a small recent part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count


@dataclass(frozen=True, slots=True)
class Copy:
    """Tag the cells of `source` in positions [start, end) with `target` too; computes nothing."""

    source: int
    target: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Remove:
    """Take `seq` off its cells from position `start` on; cells nobody holds become free."""

    seq: int
    start: int


Operation = Copy | Remove


@dataclass(slots=True, eq=False)
class Node:
    """A run of tokens below a parent."""

    depth: int
    """Position of the first token."""
    tokens: list[int]
    parent: Node | None
    children: dict[int, Node] = field(default_factory=dict)
    n_ready: int = 0
    """Tokens whose cells are computed; 0 <= n_ready <= len(tokens)."""
    owner: int = -1
    """Sequence that computes the rest; meaningful while not ready."""
    seqs: set[int] = field(default_factory=set)
    """Sequences attached here or below."""
    n_uses: int = 0
    """Rows that came through so far."""

    @property
    def end(self) -> int:
        return self.depth + len(self.tokens)

    @property
    def is_ready(self) -> bool:
        return self.n_ready == len(self.tokens)


def common_length(left: Sequence[int], right: Sequence[int]) -> int:
    """Length of the common prefix. Cost: O(log n) slice comparisons."""
    low, high = 0, min(len(left), len(right))
    if left[:high] == right[:high]:
        return high

    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class PrefixTree:
    """The cells of one context, by prefix.

    Args:
        allow_partial: Whether a sequence's end can be removed. Without it (recurrent models) nothing below a whole
            sequence can be shared or trimmed.
    """

    def __init__(self, *, allow_partial: bool = True) -> None:
        self.allow_partial = allow_partial
        self.operations: list[Operation] = []
        """Operations to perform, in order, before the next decode; drained by the scheduler."""
        self.n_cells = 0
        """Equal to the sum of `len(node.tokens)` over all nodes."""
        self._roots: dict[str, Node] = {}
        self._tips: dict[int, Node] = {}
        self._have: dict[int, int] = {}
        """Sequence -> leading tokens whose cells carry its tag."""
        self._idle: dict[int, int] = {}
        """Sequence that no row uses -> when it became idle; ordered by that."""
        self._clock = count()

    # --- reading -------------------------------------------------------------------------------------------------

    def path(self, seq: int) -> list[Node]:
        """Nodes from the root's child down to where `seq` is attached."""
        nodes: list[Node] = []
        node: Node | None = self._tips[seq]
        while node is not None and node.parent is not None:
            nodes.append(node)
            node = node.parent
        nodes.reverse()
        return nodes

    def tip(self, seq: int) -> Node:
        return self._tips[seq]

    def have(self, seq: int) -> int:
        return self._have[seq]

    def ready_depth(self, seq: int) -> int:
        """Leading tokens of the sequence's path that are computed."""
        for node in self.path(seq):
            if not node.is_ready:
                return node.depth + node.n_ready

        return self._tips[seq].end

    def match(self, adapter: str, tokens: Sequence[int]) -> int:
        """Leading tokens that are in the tree, computed or planned."""
        return self._descend(adapter, tokens)[1]

    def pinned_cells(self, adapter: str, tokens: Sequence[int]) -> int:
        """Cells that stay when everything idle goes, except what `tokens` would share."""
        node, depth = self._descend(adapter, tokens)
        mine: set[int] = set()
        partial = 0
        while node is not None and node.parent is not None:
            if depth >= node.end:
                mine.add(id(node))
            elif not self._is_pinned(node):
                partial = depth - node.depth
            node = node.parent
        return partial + sum(len(node.tokens) for node in self.nodes() if id(node) in mine or self._is_pinned(node))

    def nodes(self) -> Iterator[Node]:
        stack = [child for root in self._roots.values() for child in root.children.values()]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children.values())

    @property
    def idle(self) -> list[int]:
        """Idle sequences, the longest idle first."""
        return list(self._idle)

    def _is_pinned(self, node: Node) -> bool:
        return any(seq not in self._idle for seq in node.seqs)

    def _descend(self, adapter: str, tokens: Sequence[int]) -> tuple[Node | None, int]:
        node = self._roots.get(adapter)
        if node is None:
            return None, 0

        depth = 0
        while depth < len(tokens) and (child := node.children.get(tokens[depth])) is not None:
            n_common = common_length(child.tokens, tokens[depth : depth + len(child.tokens)])
            depth += n_common
            node = child
            if n_common < len(child.tokens):
                break
        return node, depth

    # --- attaching -----------------------------------------------------------------------------------------------

    def attach(self, seq: int, adapter: str, tokens: Sequence[int]) -> int:
        """Plan `tokens` for a new sequence, sharing what is there; returns how many tokens were there."""
        root = self._roots.setdefault(adapter, Node(depth=0, tokens=[], parent=None))
        if self.allow_partial:
            node, depth = self._descend(adapter, tokens)
        else:
            node, depth = self._whole_match(root, tokens)
        node = root if node is None else node
        if depth < node.end and node.parent is not None:
            node = self._split(node, node.parent, depth)
        if depth < len(tokens):
            child = Node(depth=depth, tokens=list(tokens[depth:]), parent=node, owner=seq)
            node.children[self._child_key(tokens[depth])] = child
            self.n_cells += len(child.tokens)
            node = child
        self._tips[seq] = node
        self._have[seq] = 0
        for part in self.path(seq):
            part.seqs.add(seq)
            part.n_uses += 1
        return depth

    def _child_key(self, token: int) -> int:
        """Children are found by first token; without partial sharing equal tokens may stand side by side."""
        return token if self.allow_partial else -1 - next(self._clock)

    def _whole_match(self, root: Node, tokens: Sequence[int]) -> tuple[Node, int]:
        """The longest whole, computed sequence that starts `tokens`: what a recurrent state allows to reuse."""
        best, depth = root, 0
        for seq, tip in self._tips.items():
            path = self.path(seq)
            if seq in self._idle and path and path[0].parent is root and depth < tip.end <= len(tokens):
                stored = [token for node in path for token in node.tokens]
                if stored == list(tokens[: tip.end]):
                    best, depth = tip, tip.end
        return best, depth

    def _split(self, node: Node, parent: Node, depth: int) -> Node:
        """Cut a node at `depth`; returns the upper part."""
        cut = depth - node.depth
        upper = Node(
            depth=node.depth,
            tokens=node.tokens[:cut],
            parent=parent,
            n_ready=min(node.n_ready, cut),
            owner=node.owner,
            seqs=set(node.seqs),
            n_uses=node.n_uses,
        )
        key = next(key for key, child in parent.children.items() if child is node)
        parent.children[key] = upper
        node.depth, node.tokens, node.parent, node.n_ready = (
            depth,
            node.tokens[cut:],
            upper,
            node.n_ready - upper.n_ready,
        )
        upper.children[node.tokens[0]] = node
        return upper

    # --- computing -----------------------------------------------------------------------------------------------

    def sync(self, seq: int) -> None:
        """Tag every computed token of the sequence's path with it."""
        ready = self.ready_depth(seq)
        have = self._have[seq]
        if ready > have:
            source = self._holder(seq, ready)
            self.operations.append(Copy(source, seq, have, ready))
            self._have[seq] = ready

    def _holder(self, seq: int, depth: int) -> int:
        """Another sequence that carries the first `depth` tokens of this one's path."""
        node = next(node for node in self.path(seq) if node.end >= depth)
        return next(other for other in sorted(node.seqs) if other != seq and self._have[other] >= depth)

    def computed(self, seq: int, node: Node, n_tokens: int) -> None:
        """Record that `seq` computed the next `n_tokens` of `node`."""
        node.n_ready += n_tokens
        self._have[seq] += n_tokens

    # --- letting go ----------------------------------------------------------------------------------------------

    def retire(self, seq: int, tail: Sequence[int]) -> None:
        """A row is done: keep its sequence as a starting point, with `tail` computed below its path."""
        self.sync(seq)
        tip = self._tips[seq]
        if tail and not (self.allow_partial and tail[0] in tip.children):
            child = Node(
                depth=tip.end, tokens=list(tail), parent=tip, n_ready=len(tail), owner=seq, seqs={seq}, n_uses=1
            )
            tip.children[self._child_key(tail[0])] = child
            self._tips[seq] = child
            self._have[seq] = child.end
            self.n_cells += len(tail)
        elif tail:
            self.operations.append(Remove(seq, tip.end))
        self._idle[seq] = next(self._clock)

    def release(self, seq: int) -> None:
        """Give up a sequence: its unshared cells become free, unfinished shared work passes to another row."""
        path = self.path(seq)
        for other in {other for node in path for other in node.seqs} - {seq}:
            self._inherit(other)
        for node in path:
            node.seqs.discard(seq)
            if not node.is_ready and node.owner == seq and node.seqs:
                node.owner = min(node.seqs)
        self._prune(self._tips.pop(seq))
        del self._have[seq]
        self._idle.pop(seq, None)
        self.operations.append(Remove(seq, 0))

    def _inherit(self, seq: int) -> None:
        if seq not in self._idle and self._have[seq] < self.ready_depth(seq):
            self.sync(seq)

    def _prune(self, node: Node) -> None:
        while node.parent is not None and not node.seqs:
            parent = node.parent
            key = next(key for key, child in parent.children.items() if child is node)
            del parent.children[key]
            self.n_cells -= len(node.tokens)
            node = parent

    def trim_idle(self, budget: int) -> None:
        """Shorten idle sequences, the oldest first, until cells used once so far fit the budget.

        The most recent one is left alone, so that a conversation finds its history whatever its length.
        """
        loose = {seq: self._loose_cells(seq) for seq in self._idle}
        total = sum(loose.values())
        for seq in self.idle[:-1]:
            if total <= budget:
                return

            if loose[seq]:
                total -= loose[seq]
                self._trim(seq)

    def _loose_cells(self, seq: int) -> int:
        return sum(len(node.tokens) for node in self.path(seq) if node.seqs == {seq} and node.n_uses < 2)

    def _trim(self, seq: int) -> None:
        node = self._tips[seq]
        while node.parent is not None and node.n_uses < 2:
            node = node.parent
        if node.parent is None or len(node.seqs) > 1 or not self.allow_partial:
            self.release(seq)
            return

        self._cut(seq, node)

    def _cut(self, seq: int, tip: Node) -> None:
        old = self._tips[seq]
        self._tips[seq] = tip
        self._have[seq] = tip.end
        self.operations.append(Remove(seq, tip.end))
        node: Node | None = old
        while node is not None and node is not tip:
            node.seqs.discard(seq)
            node = node.parent
        self._prune(old)
