"""Code sessions in Azure: a pool of Container Apps dynamic sessions, by its data-plane API (2025-10-02-preview).

A session begins with the first call that names it and ends some time after the last one, with all that is in it; the
API doesn't say so, so a variable of ours tells one incarnation from another. It runs a call for 220 s at most, takes
files of up to 128 MB, and can't be interrupted: a call whose caller has gone runs on, and those after it wait.
"""

import base64
import binascii
import logging
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import ClientAuthenticationError
from azure.identity.aio import DefaultAzureCredential
from yarl import URL

from ports.code_sessions import CodeUnavailable, Execution, FileRefused, SessionFile
from settings import Settings

API_VERSION = "2025-10-02-preview"
SCOPE = "https://dynamicsessions.io/.default"
LONGEST_CALL = 220  # seconds
LONGEST_OUTPUT = 100_000  # characters of stdout and of stderr that we ask for; 4,096 come if nothing is said
ANSWERS_WITHIN = 60.0  # seconds, beyond the time that a call may take; a new session may have to be started
BUSY = 5.0  # seconds to wait for a session where the service doesn't say how long
PIECE = 1 << 20
MOST_FILES = 1000

_INCARNATION = """
try:
    _incarnation_of_session
except NameError:
    import secrets
    _incarnation_of_session = secrets.token_hex(8)
print(_incarnation_of_session)
"""

logger = logging.getLogger("durable_assistants.code")


def dynamic_sessions(settings: Settings) -> "DynamicSessions":
    """Return the sessions of the pool that the settings name, opened by the app's identity."""
    return DynamicSessions(settings.code_sessions_endpoint, DefaultAzureCredential())


class DynamicSessions:
    def __init__(self, pool: str, credential: AsyncTokenCredential) -> None:
        """`pool` is the pool's poolManagementEndpoint."""
        self._pool = pool.rstrip("/")
        self._credential = credential
        self._made: aiohttp.ClientSession | None = None

    async def begin(self, session: str) -> str:
        done = await self._run(session, _INCARNATION, 30)
        if done.status != "ok" or not done.stdout.strip():
            raise CodeUnavailable(f"A session does not say which it is: {done.status}.")
        return done.stdout.strip()

    async def execute(self, session: str, call: str, code: str, timeout: float) -> Execution:
        return await self._run(session, code, min(round(timeout), LONGEST_CALL))

    async def _run(self, session: str, code: str, seconds: int) -> Execution:
        asked = {
            "codeInputType": "Inline",
            "executionType": "Synchronous",
            "code": code,
            "timeoutInSeconds": max(1, seconds),
            "outputStreamsMaxLength": LONGEST_OUTPUT,
        }
        async with self._ask("POST", "executions", session, within=seconds + ANSWERS_WITHIN, json=asked) as answer:
            return _execution(await _read_json(answer), seconds)

    async def put(self, session: str, name: str, content: AsyncIterable[bytes]) -> None:
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("file", content, filename=name, content_type="application/octet-stream")
        async with self._ask("POST", "files", session, refuses=(400, 409, 413), data=form):
            pass

    async def get(self, session: str, name: str) -> AsyncIterator[bytes]:
        asking = self._ask("GET", f"files/{quote(name, safe='')}/content", session, refuses=(400, 404))
        return _content(asking, await asking.__aenter__())

    async def files(self, session: str) -> list[SessionFile]:
        found: list[SessionFile] = []
        skipped: dict[str, str] = {}
        while True:
            async with self._ask("GET", "files", session, params=skipped) as answer:
                page = await _read_json(answer)
            try:
                found += [
                    SessionFile(str(file["name"]), int(file["sizeInBytes"]), str(file["lastModifiedAt"]))
                    for file in page["value"]
                    if file["type"] == "file"
                ]
            except (KeyError, TypeError, ValueError) as error:
                raise CodeUnavailable("The session pool's list of files can't be read.") from error
            following = page.get("nextLink")
            if not isinstance(following, str) or len(found) >= MOST_FILES:
                return found[:MOST_FILES]
            # Only what it adds to the address: a token is never sent to an address that an answer names.
            skipped = dict(URL(following).query)

    async def close(self) -> None:
        if self._made:
            await self._made.close()
        await self._credential.close()

    @asynccontextmanager
    async def _ask(
        self,
        method: str,
        path: str,
        session: str,
        *,
        within: float = ANSWERS_WITHIN,
        refuses: tuple[int, ...] = (),
        params: dict[str, str] | None = None,
        **what: Any,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield the answer. `refuses` are the statuses that speak of a file."""
        if self._made is None:
            self._made = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        query = {**(params or {}), "api-version": API_VERSION, "identifier": session}
        limit = aiohttp.ClientTimeout(total=None, sock_read=within, sock_connect=10)
        headers = {"authorization": f"Bearer {await self._token()}"}
        address = URL(f"{self._pool}/{path}", encoded=True)
        try:
            async with self._made.request(
                method, address, params=query, headers=headers, timeout=limit, allow_redirects=False, **what
            ) as answer:
                await _check(answer, refuses)
                yield answer
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CodeUnavailable(f"The session pool does not answer: {type(error).__name__}.") from error

    async def _token(self) -> str:
        try:
            return (await self._credential.get_token(SCOPE)).token
        except ClientAuthenticationError as error:
            raise CodeUnavailable("There is no token for the session pool: this identity has none.") from error


async def _check(answer: aiohttp.ClientResponse, refuses: tuple[int, ...]) -> None:
    status = answer.status
    if status < 300:
        return
    code, message = await _error_of(answer)
    if status in refuses:
        raise FileRefused("larger than 128 MB" if status == 413 else message or "the session refuses it")
    if status in (401, 403):
        raise CodeUnavailable("The session pool refuses this identity: it needs the role Session Executor.")
    wait = answer.headers.get("retry-after", "")
    busy = status in (404, 429)  # 404 is how the service says that no session is free
    raise CodeUnavailable(
        f"The session pool answers {status}{f' ({code})' if code else ''}.",
        retry_after=float(wait) if wait.isdigit() else BUSY if busy else 1.0,
    )


async def _error_of(answer: aiohttp.ClientResponse) -> tuple[str, str]:
    """Return code and message of an error's body, whatever it is."""
    try:
        error = (await answer.json(content_type=None))["error"]
        return str(error["code"])[:100], str(error["message"])[:500]
    except (ValueError, KeyError, TypeError):
        return "", ""


async def _read_json(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        read = await answer.json(content_type=None)
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise CodeUnavailable("The session pool's answer is no JSON object.")
    return read


async def _content(asking: Any, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.content.iter_chunked(PIECE):
            yield piece
    except aiohttp.ClientError as error:
        raise CodeUnavailable("The session pool broke off a file.") from error
    finally:
        await asking.__aexit__(None, None, None)


def _execution(told: dict[str, Any], seconds: int) -> Execution:
    given = told.get("result")
    result: dict[str, Any] = given if isinstance(given, dict) else {}
    stdout, stderr = (str(result.get(name) or "") for name in ("stdout", "stderr"))
    text, images = _shown(result.get("executionResult"))
    if told.get("status") == "Succeeded":
        return Execution("ok", stdout, stderr, text, images=images)
    lasted = result.get("executionTimeInMilliseconds")
    if told.get("status") == "Canceled" or (isinstance(lasted, int | float) and lasted >= seconds * 1000):
        return Execution("timeout", stdout, stderr, text, images=images)
    error = told.get("error")
    said = str(error.get("message") or "") if isinstance(error, dict) else ""
    return Execution("error", stdout, "", text, error=stderr or said or "The code failed.", images=images)


def _shown(result: Any) -> tuple[str | None, list[bytes]]:
    """The last expression's value: its text, or the picture that it is."""
    if isinstance(result, dict) and result.get("type") == "image":
        try:
            return None, [base64.b64decode(str(result.get("base64_data")), validate=True)]
        except binascii.Error:
            logger.warning("a session's picture can't be read")
            return None, []
    return (None if result in (None, "") else str(result)), []
