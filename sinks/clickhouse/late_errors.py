"""Errors that come when the answer has begun: ClickHouse has said that all is well by then, and says them in its text.

A last header tells the driver, which looks at nothing else: where a proxy in front of ClickHouse takes its headers out,
a block that is not in would pass for one that is.
"""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clickhouse_connect.driver.httpclient import HttpClient
    from urllib3 import BaseHTTPResponse

_HEADER = "X-ClickHouse-Exception-Code"
_ERROR = re.compile(rb"\s*Code: (\d+)\. DB::")


def heed_late_errors(client: "HttpClient") -> None:
    """Give the driver that header wherever the text of an answer is an error.

    Answers that are read as they come (those of queries) are left alone: the driver looks for errors in them.
    """
    pool = client.http
    send = pool.request

    def request(method: str, url: str, **options: Any) -> "BaseHTTPResponse":  # noqa: ANN401 - the library's own
        answer = send(method, url, **options)
        if options.get("preload_content", True) and _HEADER not in answer.headers:
            found = _ERROR.match(answer.data)
            if found is not None:
                answer.headers[_HEADER] = found.group(1).decode()
        return answer

    pool.request = request  # type: ignore[method-assign,assignment] # the driver takes a pool, and none with a say in answers
