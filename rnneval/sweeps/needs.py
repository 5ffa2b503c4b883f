"""What must be installed before a cluster is started, said in one line."""

from importlib.util import find_spec

from rnneval.errors import UsageError


def require_dask() -> None:
    """Refuse an environment without Dask.

    Raises:
        UsageError: Dask's distributed, or cryptography, which keeps other users of the machine out, is not installed.
    """
    missing = [name for name in ("distributed", "cryptography") if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{' and '.join(missing)} not installed, and work in several processes needs it: "
            "pip install 'rnneval[sweep]'"
        )
