
import io, os, psycopg2, psycopg2.extras, psycopg2.pool, pytest
from psycopg2 import extensions, extras, sql
from guards.guard_session import Refused
DSN = os.environ["TEST_DSN"]
BAD = "delete from parent"

def run(connection, text, *rest, **options):
    connection.cursor(**options).execute(text, *rest)

class Mine(extensions.connection):
    pass

def waited(connection, text):
    extras.wait_select(connection)
    cursor = connection.cursor()
    cursor.execute(text)
    extras.wait_select(connection)

WAYS = {
    "execute": lambda c: run(c, BAD),
    "parameters": lambda c: run(c, "delete from parent where %s", (True,)),
    "raw sql as a parameter": lambda c: run(c, "select 1 %s", (extensions.AsIs("; " + BAD),)),
    "composed": lambda c: run(c, sql.SQL("truncate {} cascade").format(sql.Identifier("parent"))),
    "bytes": lambda c: run(c, BAD.encode()),
    "executemany": lambda c: c.cursor().executemany("update parent set id = %s", [(1,), (2,)]),
    "executemany, one bad": lambda c: c.cursor().executemany(
        "select 1 %s", [(extensions.AsIs(""),), (extensions.AsIs("; " + BAD),)]),
    "execute_batch": lambda c: extras.execute_batch(c.cursor(), "update parent set id = %s", [(1,), (2,)]),
    "execute_values": lambda c: extras.execute_values(c.cursor(), "insert into parent values %s", [(9,)]),
    "named": lambda c: run(c, "with g as (delete from parent returning *) select * from g", name="n"),
    "dict cursor": lambda c: run(c, BAD, cursor_factory=extras.DictCursor),
    "named tuples": lambda c: run(c, BAD, cursor_factory=extras.NamedTupleCursor),
    "callproc": lambda c: c.cursor().callproc("wipe"),
    "copy_expert": lambda c: c.cursor().copy_expert("copy (delete from parent returning *) to stdout", io.StringIO()),
    "copy_from": lambda c: c.cursor().copy_from(io.StringIO("9"), "parent"),
    "several": lambda c: run(c, "select 1; drop table parent cascade"),
    "function": lambda c: run(c, "select wipe()"),
    "large object": lambda c: c.lobject(0, "w"),
    "prepared transaction": lambda c: c.tpc_commit(c.xid(1, "a", "b")),
    "prepared transaction rolled back": lambda c: c.tpc_rollback(c.xid(1, "a", "b")),
    "function as cursor factory": lambda c: run(c, BAD, cursor_factory=lambda *a, **k: extras.RealDictCursor(*a, **k)),
}

@pytest.mark.parametrize("how", WAYS)
def test_way(how):
    connection = psycopg2.connect(DSN)
    with pytest.raises(Refused):
        WAYS[how](connection)
    connection.rollback()
    cursor = connection.cursor()
    cursor.execute("select count(*) from parent")
    assert cursor.fetchone() == (3,)
    connection.close()

READ_WRITE = {
    "set_session": lambda c: c.set_session(readonly=False),
    "readonly": lambda c: setattr(c, "readonly", False),
    "on and off": lambda c: (setattr(c, "readonly", True), setattr(c, "readonly", None)),
}

@pytest.mark.parametrize("how", READ_WRITE)
def test_read_write_is_left_to_the_session(how):
    connection = psycopg2.connect(DSN)
    READ_WRITE[how](connection)
    cursor = connection.cursor()
    cursor.execute("show transaction_read_only")
    assert cursor.fetchone() == ("on",)
    connection.close()

class Early(extensions.connection):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.cursor().execute("select 1")

def test_a_class_that_asks_while_it_is_made():
    connection = psycopg2.connect(DSN, connection_factory=Early)
    with pytest.raises(Refused):
        run(connection, BAD)
    connection.close()

def test_reloaded():
    import importlib
    importlib.reload(psycopg2)
    connection = psycopg2.connect(DSN)
    with pytest.raises(Refused):
        run(connection, BAD)
    connection.close()

MADE = {
    "class": lambda: psycopg2.connect(DSN, connection_factory=Mine),
    "extras": lambda: psycopg2.connect(DSN, connection_factory=extras.RealDictConnection),
    "function": lambda: psycopg2.connect(DSN, connection_factory=lambda dsn, **o: Mine(dsn, **o)),
    "cursor": lambda: psycopg2.connect(DSN, cursor_factory=extras.RealDictCursor),
    "pool": lambda: psycopg2.pool.SimpleConnectionPool(1, 1, DSN).getconn(),
}

@pytest.mark.parametrize("how", MADE)
def test_made(how):
    connection = MADE[how]()
    assert isinstance(connection, extensions.connection)
    with pytest.raises(Refused):
        run(connection, BAD)
    connection.close()

def test_async():
    connection = psycopg2.connect(DSN, async_=True)
    with pytest.raises(Refused):
        waited(connection, BAD)
    waited(connection, "select count(*) from parent")
    connection.close()

def test_reset_keeps_it_read_only():
    connection = psycopg2.connect(DSN)
    connection.reset()
    bare = extensions.cursor(connection)
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        bare.execute(BAD)
    connection.rollback()
    bare.execute("show lock_timeout")
    assert bare.fetchone() == ("5s",)
    assert not connection.autocommit
    connection.close()
