
import asyncio, psycopg, psycopg.raw_cursor
from psycopg import sql, pq
def connected(**options):
    return psycopg.connect(DSN, autocommit=True, **options)
def execute(t):
    connected().execute(f"delete from {t}")
def parameters(t):
    connected().execute(f"delete from {t} where %s = 1", (1,))
def composed(t):
    connected().execute(sql.SQL("delete from {}").format(sql.Identifier(t)))
def several_statements(t):
    connected().execute(f"select 1; delete from {t}")
def executemany(t):
    connected().cursor().executemany(f"delete from {t} where 1 = %s", [(1,), (1,)])
def stream(t):
    list(connected().cursor().stream(f"delete from {t} returning 1"))
def prepared_binary(t):
    connected().execute(f"delete from {t} returning 1", prepare=True, binary=True)
def server_cursor(t):
    with psycopg.connect(DSN) as c, c.cursor("named") as cursor:
        cursor.execute(f"with q as (delete from {t} returning 1) select * from q")
def client_cursor(t):
    psycopg.ClientCursor(connected()).execute(f"delete from {t} where %s = 1", (1,))
def raw_cursor(t):
    psycopg.RawCursor(connected()).execute(f"delete from {t} where $1 = 1", (1,))
def pipeline(t):
    c = connected()
    with c.pipeline():
        c.execute(f"delete from {t}")
def copy_in(t):
    with connected().cursor().copy(f"copy {t} from stdin") as copy:
        copy.write_row((1,))
def transaction_block(t):
    with psycopg.connect(DSN) as c, c.transaction():
        c.execute(f"delete from {t}")
def read_write_transaction(t):
    c = psycopg.connect(DSN); c.read_only = False
    c.execute(f"delete from {t}"); c.commit()
def set_read_write(t):
    c = connected(); c.execute("set default_transaction_read_only = off"); c.execute(f"delete from {t}")
def options_in_the_dsn(t):
    c = psycopg.connect(DSN + " options='-c default_transaction_read_only=off'", autocommit=True)
    c.execute(f"delete from {t}")
def asynchronous(t):
    async def go():
        async with await psycopg.AsyncConnection.connect(DSN, autocommit=True) as c:
            await c.execute(f"delete from {t}")
    asyncio.run(go())
def other_client_encoding(t):
    c = psycopg.connect(DSN + " client_encoding=SJIS", autocommit=True)
    psycopg.ClientCursor(c).execute("select E'\u8868'; delete from " + t + "; --'")
def pgconn(t):
    result = connected().pgconn.exec_(f"delete from {t}".encode())
    if result.status == pq.ExecStatus.FATAL_ERROR:
        raise RuntimeError(result.error_message.decode())
def libpq_alone(t):
    result = pq.PGconn.connect(DSN.encode()).exec_(f"delete from {t}".encode())
    if result.status == pq.ExecStatus.FATAL_ERROR:
        raise RuntimeError(result.error_message.decode())
