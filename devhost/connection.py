"""One client connection: HTTP/1.1 read as strictly as the Functions host reads it.

uvicorn's protocol on httptools, whose parser (llhttp) refuses most of what is malformed. Here it is
bounded, goes on after an offer to upgrade, and answers what it can't read as that host does: with a status
and no more, before anything of the app runs.
"""

import asyncio
import http
import logging
import re
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

# What the Functions host takes.
MAX_REQUEST_LINE = 8 << 10  # bytes, with its line break
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 << 10  # of all headers together, each with ": " and a line break

SILENCE = 60.0  # seconds without a byte, after which a half-sent request is given up
LINGER = 2.0  # seconds: a client that is cut off while it sends never sees the answer

_FRAMING = frozenset([b"content-length", b"transfer-encoding"])

# What the parser knows; it would refuse others, which here are methods that no function takes.
_METHODS = frozenset(
    b"GET POST PUT PATCH DELETE HEAD OPTIONS TRACE CONNECT PRI COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK"
    b" BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PURGE MKCALENDAR"
    b" LINK UNLINK SOURCE".split()
)
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}")

logger = logging.getLogger("devhost.http")


class Refused(Exception):
    """Raised in the parser's callbacks: the request is answered with this status, unread."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class HttpConnection(HttpToolsProtocol):
    """Pipelining, flow control and the keep-alive time are uvicorn's."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.parser = _parser(self)
        self._running: RequestResponseCycle | None = None
        self._refusal = 0  # the status; once it is set nothing is read any more
        self._half_sent = self._in_head = False
        self._header_count = self._header_bytes = self._host_count = self._framing_count = 0
        # Bytes that came since the parser last told of a new request or of a part of a body.
        self._untold = 0
        self._told = False
        self._heard_at = 0.0
        self._made_up_method = self._early = b""
        self._patience: asyncio.TimerHandle | None = None

    # Called by the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport, on_resume=self._hear)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        if self._patience:
            self._patience.cancel()
        if self._running:  # of several pipelined requests uvicorn tells only the last
            _disconnect(self._running)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._refusal:
            return
        self._told = False
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            self._refuse(self._status_of(error))
            return
        if self._half_sent or self._early:
            self._bear_with(len(data))
        elif self._is_idle():
            self._await_request()

    def _feed(self, data: bytes) -> None:
        if not self._half_sent:
            data = self._beginning(data)
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                self._ignore_offer()
                data = data[offer.args[0] :]

    def _beginning(self, data: bytes) -> bytes:
        """Return a request's beginning as the parser takes it: its method whole, known, with one blank behind it."""
        data, self._early = self._early + data, b""
        method, blank, rest = data[:42].partition(b" ")
        if not blank and _METHOD.fullmatch(method):
            self._early = data
            return b""
        if rest.startswith(b" "):
            return b"(" + data  # which the parser refuses; it would let the blank pass
        if not blank or method in _METHODS or not _METHOD.fullmatch(method):
            return data
        self._made_up_method = method
        return b"POST" + data[len(method) :]

    def _ignore_offer(self) -> None:
        """Go on with a request that offers an upgrade (RFC 9110, section 7.8).

        For llhttp it ends with its head. A new parser that is told how the body is framed reads on.
        """
        framing = [b"%b: %b\r\n" % header for header in self.headers if header[0] in _FRAMING]
        if not framing:
            self._end_request()
            return
        ear = _Ear(self)
        self.parser = _parser(ear)
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(framing))
        ear.is_open = True

    def _should_upgrade(self) -> bool:
        return False

    # Called by the parser

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._half_sent = self._in_head = self._told = True
        self._header_count = self._header_bytes = self._host_count = self._framing_count = 0

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > MAX_REQUEST_LINE:
            raise Refused(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_count += 1
        self._header_bytes += len(name) + len(value) + 4
        if self._header_count > MAX_HEADERS or self._header_bytes > MAX_HEADER_BYTES:
            raise Refused(431)
        if not self._in_head:
            return  # a trailer, which nobody reads
        name = name.lower()
        if name == b"host":
            self._host_count += 1
        elif name in _FRAMING:
            self._framing_count += 1
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._check_head()
        if framed_twice := self._framing_count > 1:  # chunks count
            self.headers[:] = [header for header in self.headers if header[0] != b"content-length"]
        self.headers[:] = self._as_the_app_sees(self.headers)
        super().on_headers_complete()
        self._in_head = False
        if framed_twice:
            self.cycle.keep_alive = False
        if self._made_up_method:
            self.scope["method"], self._made_up_method = self._made_up_method.decode(), b""

    def _as_the_app_sees(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The host is a proxy: it joins headers of one name, and its own address and names stand for the client's."""
        seen: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in seen:
                value = seen[name] + (b"; " if name == b"cookie" else b",") + value
            if not name.startswith(b"x-forwarded-"):
                seen[name] = value
        port = self.server[1] if self.server else None
        seen[b"host"] = b"localhost" if port is None else b"127.0.0.1:%d" % port
        return list(seen.items())

    def _check_head(self) -> None:
        """Raises Refused for what llhttp lets pass and the Functions host doesn't."""
        version, method, url = self.parser.get_http_version(), self.parser.get_method(), self.url
        if version not in ("1.1", "1.0"):
            raise Refused(505)
        if len(b"%b %b HTTP/1.1\r\n" % (method, url)) > MAX_REQUEST_LINE:
            raise Refused(414)
        if self._host_count != 1 and (self._host_count or version == "1.1"):
            raise Refused(400)
        if self._framing_count and not self._ends_its_body():
            raise Refused(400)  # llhttp would say so too, but when the app has been called
        if method == b"CONNECT" or (b"%00" in url and b"%00" in url.partition(b"?")[0]):
            raise Refused(400)
        if not url.startswith((b"/", b"*")) and _authority(url) != _without_port_80(self._header(b"host")):
            raise Refused(400)

    def _ends_its_body(self) -> bool:
        codings = self._header(b"transfer-encoding")
        return not codings or codings.lower().rpartition(b",")[2].strip() == b"chunked"

    def _header(self, wanted: bytes) -> bytes:
        return next((value for name, value in self.headers if name == wanted), b"")

    def on_body(self, body: bytes) -> None:
        self._told = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            self._end_request()

    def _end_request(self) -> None:
        self._half_sent = False
        super().on_message_complete()

    # Called by cycles of request and response

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._refusal and self._is_idle() and not self.transport.is_closing():
            self._answer_refusal()

    # Time

    def _is_idle(self) -> bool:
        return not self.pipeline and (self._running is None or _is_over(self._running))

    def _await_request(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _bear_with(self, size: int) -> None:
        """Wait for the rest of a request, of which `size` bytes have just come."""
        # A header, a trailer or a chunk's extension in the making is told by nobody before it ends.
        self._untold = 0 if self._told else self._untold + size
        if self._untold > MAX_REQUEST_LINE + MAX_HEADER_BYTES:
            self._refuse(431)
            return
        self._hear()
        if self._patience is None:
            self._patience = self.loop.call_later(SILENCE, self._look_for_silence)

    def _hear(self) -> None:
        self._heard_at = self.loop.time()

    def _look_for_silence(self) -> None:
        self._patience = None
        if not (self._half_sent or self._early) or self._refusal or self.transport.is_closing():
            return
        in_body = self._half_sent and not self._in_head
        if self.flow.read_paused or (in_body and self.cycle.waiting_for_100_continue):
            self._hear()  # it is the client that waits
        left = self._heard_at + SILENCE - self.loop.time()
        if left > 0:
            self._patience = self.loop.call_later(left, self._look_for_silence)
        else:
            self._refuse(408)

    # Refusals

    def _status_of(self, error: httptools.HttpParserError) -> int:
        if isinstance(error.__context__, Refused):
            return error.__context__.status
        return 505 if self.parser.get_method() == b"PRI" else 400  # PRI begins HTTP/2

    def _refuse(self, status: int) -> None:
        """Read no more; answer the request with the status when those before it have been answered."""
        logger.info("a request that was refused unread %d", status, extra={"colour": "33"})
        self._refusal = status
        if self._half_sent and not self._in_head:
            self._refuse_body(self.cycle)
        elif self._is_idle():
            self._answer_refusal()

    def _refuse_body(self, cycle: RequestResponseCycle) -> None:
        if self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()  # it hasn't begun
        elif cycle.response_started:
            _disconnect(cycle)
            self._leave()
        else:
            _disconnect(cycle)
            self._answer_refusal()

    def _answer_refusal(self) -> None:
        phrase = http.HTTPStatus(self._refusal).phrase
        headers = [*self.server_state.default_headers, (b"content-length", b"0"), (b"connection", b"close")]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(b"HTTP/1.1 %d %b\r\n%b\r\n" % (self._refusal, phrase.encode(), lines))
        self._leave()

    def _leave(self) -> None:
        """Close the connection; what the client still sends is read and thrown away for a moment."""
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER, self.transport.close)


class _Flow(FlowControl):
    def __init__(self, transport: asyncio.Transport, on_resume: Callable[[], None]) -> None:
        super().__init__(transport)
        self._on_resume = on_resume

    def resume_reading(self) -> None:
        if self.read_paused:
            self._on_resume()
        super().resume_reading()


class _Ear:
    """Hears a parser for a connection, but not the head that the parser is given first."""

    def __init__(self, connection: HttpConnection) -> None:
        self.is_open = False
        self._connection = connection
        self.on_body = connection.on_body
        self.on_message_complete = connection.on_message_complete

    def on_message_begin(self) -> None:
        if self.is_open:
            self._connection.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self.is_open:
            self._connection.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.is_open:
            self._connection.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.is_open:
            self._connection.on_headers_complete()


def _parser(protocol: Any) -> httptools.HttpRequestParser:
    parser = httptools.HttpRequestParser(protocol)
    # What follows a request that ends the connection is ignored. A length beside chunks doesn't count.
    parser.set_dangerous_leniencies(lenient_data_after_close=True, lenient_chunked_length=True)
    return parser


def _disconnect(cycle: RequestResponseCycle) -> None:
    if not cycle.response_complete:
        cycle.disconnected = True
    cycle.message_event.set()


def _is_over(cycle: RequestResponseCycle) -> bool:
    return cycle.response_complete or cycle.disconnected


def _authority(url: bytes) -> bytes:
    return _without_port_80(url.partition(b"://")[2].partition(b"/")[0])


def _without_port_80(authority: bytes) -> bytes:
    return authority.lower().removesuffix(b":80")
