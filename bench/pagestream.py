"""A plain libpq client of a pageserver: connects, asks for pages, looks at no more than it must."""

from psycopg import pq
from psycopg.pq.abc import PGconn

from devstack.compute import TENANT, TIMELINE
from devstack.postgres import Postgres
from pg_hook.pagestream import Request, RequestType, encode_request, pagestream_query

TABLESPACE_OID = 1663  # pg_default
PAGE_ANSWER = 102


def connect(url: str) -> PGconn | None:
    """Open a pagestream; None where the pageserver is not to be had."""
    stream: PGconn = pq.PGconn.connect(url.encode())
    if stream.status == pq.ConnStatus.OK:
        result = stream.exec_(pagestream_query(TENANT, TIMELINE).encode())
        if result.status == pq.ExecStatus.COPY_BOTH:
            return stream
    stream.finish()
    return None


def must_connect(url: str) -> PGconn:
    """Open a pagestream. Raises RuntimeError where there is none."""
    stream = connect(url)
    if stream is None:
        raise RuntimeError(f'no pagestream at "{url}"')
    return stream


def page_requests(server: Postgres, table: str, pages: int) -> list[bytes]:
    """Return the requests for the first *pages* pages of a table."""
    database = server.value("select oid::int from pg_database where datname = 'postgres'")
    node = server.value(f"select pg_relation_filenode('{table}')::int")
    return [
        encode_request(
            Request(
                type=RequestType.GET_PAGE,
                request_id=block + 1,
                tablespace_oid=TABLESPACE_OID,
                database_oid=database,
                rel_number=node,
                block=block,
            )
        )
        for block in range(pages)
    ]


def read_page(stream: PGconn, request: bytes) -> None:
    """Ask for one page, and wait for it. Raises RuntimeError where something else comes."""
    stream.put_copy_data(request)
    stream.flush()
    _, data = stream.get_copy_data(0)
    if data[0] != PAGE_ANSWER:
        raise RuntimeError(f"no page, but {bytes(data)[:100]!r}")
