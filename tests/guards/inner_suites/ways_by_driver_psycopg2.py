
import io, psycopg2
from psycopg2 import extensions, extras
def connected(**options):
    c = psycopg2.connect(DSN, **options); c.autocommit = True
    return c
def execute(t):
    connected().cursor().execute(f"delete from {t}")
def parameters(t):
    connected().cursor().execute(f"delete from {t} where %s = 1", (1,))
def raw_sql_as_a_parameter(t):
    connected().cursor().execute("select 1 %s", (extensions.AsIs(f"; delete from {t}"),))
def executemany(t):
    connected().cursor().executemany(f"delete from {t} where 1 = %s", [(1,), (1,)])
def execute_values(t):
    extras.execute_values(connected().cursor(), f"delete from {t} using (values %s) v", [(1,), (1,)])
def execute_batch(t):
    extras.execute_batch(connected().cursor(), f"delete from {t} where 1 = %s", [(1,)])
def copy_from(t):
    connected().cursor().copy_from(io.StringIO("1\n"), t)
def copy_expert(t):
    connected().cursor().copy_expert(f"copy {t} from stdin", io.StringIO("1\n"))
def named_cursor(t):
    c = psycopg2.connect(DSN)
    c.cursor("named").execute(f"with q as (delete from {t} returning 1) select * from q")
def dict_cursor(t):
    connected(cursor_factory=extras.DictCursor).cursor().execute(f"delete from {t}")
def logging_connection(t):
    c = connected(connection_factory=extras.LoggingConnection); c.initialize(io.StringIO())
    c.cursor().execute(f"delete from {t}")
def transaction_block(t):
    with psycopg2.connect(DSN) as c, c.cursor() as cursor:
        cursor.execute(f"delete from {t}")
def set_session_read_write_autocommit(t):
    c = psycopg2.connect(DSN); c.set_session(readonly=False, autocommit=True)
    extensions.cursor(c).execute(f"delete from {t}")
def readonly_off_in_autocommit(t):
    c = psycopg2.connect(DSN); c.autocommit = True; c.readonly = False
    extensions.cursor(c).execute(f"delete from {t}")
def readonly_on_and_out_of_autocommit(t):
    c = psycopg2.connect(DSN); c.autocommit = True; c.readonly = True; c.autocommit = False; c.readonly = None
    extensions.cursor(c).execute(f"delete from {t}"); c.commit()
def two_phase(t):
    c = psycopg2.connect(DSN); c.tpc_begin("x"); c.cursor().execute(f"delete from {t}")
def asynchronous(t):
    c = psycopg2.connect(DSN, async_=True); extras.wait_select(c)
    cursor = c.cursor(); cursor.execute(f"delete from {t}"); extras.wait_select(c)
def class_itself(t):
    c = extensions.connection(DSN); c.cursor().execute(f"delete from {t}"); c.commit()
def logging_class_itself(t):
    c = extras.LoggingConnection(DSN); c.initialize(io.StringIO()); c.cursor().execute(f"delete from {t}"); c.commit()
def cursor_class_itself(t):
    extensions.cursor(connected()).execute(f"delete from {t}")
def lower_level(t):
    c = psycopg2._psycopg._connect(DSN); c.cursor().execute(f"delete from {t}"); c.commit()
