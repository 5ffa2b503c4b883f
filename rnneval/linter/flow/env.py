"""Variables in scopes that branch and meet again, without copying what a branch does not touch."""

from rnneval.linter.flow.values import Value, join


class Env:
    """Names to values; a branch is a child that holds only what it changed.

    Names that begin with `self.` are attributes of the object a method belongs to; they are seen through the wall that
    an inlined call puts around its own names.
    """

    __slots__ = ("dead", "names", "parent", "wall")

    def __init__(self, parent: "Env | None" = None, wall: bool = False) -> None:
        self.names: dict[str, Value] = {}
        self.parent = parent
        self.wall = wall
        self.dead = False

    def get(self, name: str) -> Value | None:
        """Look a name up through the branches around."""
        env: Env | None = self
        attribute = name.startswith("self.")
        while env is not None:
            if name in env.names:
                return env.names[name]
            if env.wall and not attribute:
                return None
            env = env.parent
        return None

    def replace(self, old: Value, new: Value, near: int = 64) -> None:
        """Rebind every near name that holds this very object: a list has been changed under all its names."""
        env: Env | None = self
        found: dict[str, Value] = {}
        while env is not None and near > 0:
            for name, value in env.names.items():
                near -= 1
                if value is old and self.get(name) is old:
                    found[name] = new
            env = None if env.wall else env.parent
        self.names.update(found)

    def meet(self, branches: "list[Env]") -> None:
        """Take over what the branches that reach this place have changed."""
        alive = [branch for branch in branches if not branch.dead]
        if not alive:
            self.dead = True
            return
        if len(alive) == 1:
            self.names.update(alive[0].names)
            return
        for name in {name: None for branch in alive for name in branch.names}:
            held = [value for branch in alive if (value := branch.get(name)) is not None]
            value = held[0]
            for other in held[1:]:
                value = join(value, other)
            self.names[name] = value

    def flattened(self, top: "Env") -> "Env":
        """Give one branch of `top` with all that was changed on the way from there to here."""
        flat = Env(top)
        env: Env | None = self
        while env is not None and env is not top:
            for name, value in env.names.items():
                flat.names.setdefault(name, value)
            env = env.parent
        return flat
