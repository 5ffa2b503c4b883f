"""Graphs of TensorFlow in files of their own, told by the first bytes of the protocol buffer; none is ever run."""


def graph_in(head: bytes) -> str | None:
    r"""Say what a `.pb` file is and what to give instead; None where it is none.

    >>> graph_in(b"\n\x0b\n\x01a\x12\x05Const")[:14], graph_in(b"\n\na\n")
    ('a frozen graph', None)
    """
    if head.startswith((b"\x08\x01\x12", b"\x08\x00\x12")):
        return (
            "the graph of a SavedModel (saved_model.pb): give its folder, in which variables/ lies beside it, and "
            "--builder FILE.py:NAME"
        )
    if _is_node(head):
        return (
            "a frozen graph of TensorFlow (GraphDef): its weights are constants between operations, and it would have "
            "to be run: give the checkpoint it was frozen from (model.ckpt-… with its .index and .data files) and "
            "--builder FILE.py:NAME"
        )
    return None


def _is_node(head: bytes) -> bool:
    """Whether a GraphDef begins here: field 1, a node, whose field 1 is its name and field 2 its operation."""
    place = _after_length(head, 0)
    name_ends = None if place is None else _after_length(head, place)
    if name_ends is None or place is None:
        return False
    name_ends += head[name_ends - 1]
    return head[name_ends : name_ends + 1] == b"\x12"


def _after_length(head: bytes, place: int) -> int | None:
    """Where the content of a field 1 of bytes begins; its length may take several bytes."""
    if head[place : place + 1] != b"\x0a":
        return None
    place += 1
    while place < len(head) and head[place] & 0x80:
        place += 1
    return place + 1 if place < len(head) else None
