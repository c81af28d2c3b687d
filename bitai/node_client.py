"""How the other commands talk to the running node: one short HTTP request to its loopback door."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from bitai.datadir import DataDir
from bitai.run_file import RunFile, find_running
from primitives.errors import Rejected, Temporary

_TIMEOUT_S = 30.0
_MAX_ANSWER_BYTES = 16 * 1024 * 1024


class NodeClient:
    """The admin door of the node that runs on one data folder."""

    def __init__(self, datadir: DataDir) -> None:
        """Find the node; raises Temporary `node.not_running`."""
        self._datadir = datadir
        self.running: RunFile = find_running(datadir)

    def get(self, path: str) -> Any:
        """Fetch a page as JSON, whatever its HTTP status means; see `_ask` for what it raises."""
        return self._ask("GET", path, None)

    def post(self, path: str, content: dict[str, object]) -> Any:
        """Ask for something to be done, as the owner of the data folder."""
        return self._ask("POST", path, json.dumps(content).encode())

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        """Make the request.

        Raises Temporary `node.unreachable` or `node.slow`, and Rejected with the node's own code when it refuses.
        """
        address = urlsplit(self.running.admin_url)
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if body is not None:
            headers["Authorization"] = f"Bearer {self._datadir.read_cookie() or ''}"
        connection = http.client.HTTPConnection(
            address.hostname or "127.0.0.1", address.port, timeout=_TIMEOUT_S
        )
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            answer = json.loads(response.read(_MAX_ANSWER_BYTES))
        except TimeoutError as error:
            raise Temporary(
                "node.slow",
                f"the node (process {self.running.pid}) gave no answer within {_TIMEOUT_S:.0f} s",
                why="it may still do what was asked",
                fix="bitai-node status",
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Temporary(
                "node.unreachable",
                f"the node (process {self.running.pid}) does not answer at {self.running.admin_url}",
                why=str(error) or type(error).__name__,
                fix="bitai-node doctor",
            ) from error
        finally:
            connection.close()
        if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
            raise _refusal(answer["error"])
        return answer


def _refusal(error: dict[str, str]) -> Rejected:
    code, what = error.get("code", "node.refused"), error.get("what", "the node refused")
    return Rejected(code, what, why=error.get("why", ""), fix=error.get("fix", ""))
