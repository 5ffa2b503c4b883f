"""Black-box checks of serving engines: what a server returns must not depend on what is in its caches."""

from rnneval.servers.check import check_server

__all__ = ["check_server"]
