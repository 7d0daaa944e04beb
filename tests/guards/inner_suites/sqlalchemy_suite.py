
import asyncio, os, pytest, sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.ext.asyncio import create_async_engine
from guards.guard_session import active, Refused
URL = os.environ["TEST_DSN"].replace("postgresql://", "postgresql+DRIVER://")
metadata = sa.MetaData()
parent = sa.Table("parent", metadata, sa.Column("id", sa.Integer, primary_key=True))
child = sa.Table("child", metadata, sa.Column("id", sa.Integer), sa.Column("p", sa.ForeignKey("parent.id")))
mapper = orm.registry()

class Parent:
    pass

mapper.map_imperatively(Parent, parent)

def drop_all(engine):
    metadata.drop_all(engine)

def tables_deleted(engine):
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())

def text(engine):
    with engine.begin() as connection:
        connection.execute(sa.text("truncate parent cascade"))

def driver_sql(engine):
    with engine.begin() as connection:
        connection.exec_driver_sql("delete from child")

def query_delete(engine):
    with orm.Session(engine) as session:
        session.query(Parent).delete()
        session.commit()

def raw(engine):
    connection = engine.raw_connection()
    connection.cursor().execute("delete from child")
    connection.commit()

def many(engine):
    with engine.begin() as connection:
        connection.execute(parent.insert(), [{"id": n} for n in range(10, 20)])

def flushed(engine):
    with orm.Session(engine) as session:
        session.delete(session.get(Parent, 2))
        session.commit()

SYNC = [flushed, drop_all, tables_deleted, text, driver_sql, query_delete, raw, many]

@pytest.mark.parametrize("act", SYNC, ids=lambda act: act.__name__)
def test_sync(act):
    engine = sa.create_engine(URL)
    with engine.connect() as connection:
        before = connection.scalar(sa.text("select count(*) from parent"))
    attempt(act, engine)
    with engine.connect() as connection:
        if REFUSED:
            assert connection.scalar(sa.text("select count(*) from parent")) == before
    engine.dispose()

def attempt(act, *arguments):
    if REFUSED:
        with pytest.raises(Refused) as told:
            act(*arguments)
        assert "at test_inner.py:" in str(told.value)
    else:
        act(*arguments)
        if act is drop_all:
            metadata.create_all(*arguments)
