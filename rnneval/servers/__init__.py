"""Black-box checks of serving engines: what a server returns must not depend on what is in its caches."""

from rnneval.servers.check import HistoryResult, ServerCheck, check_server

__all__ = ["HistoryResult", "ServerCheck", "check_server"]
