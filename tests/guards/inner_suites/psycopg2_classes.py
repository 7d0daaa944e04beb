
import abc, io, os, psycopg2
from psycopg2 import extensions, extras
DSN = os.environ["TEST_DSN"]
class Abstract(extensions.connection, abc.ABC):
    pass
class OfExtras(extras.RealDictConnection, abc.ABC):
    pass
class Own(extensions.connection):
    def cursor(self, *arguments, **named):
        return extensions.connection.cursor(self, *arguments, **named)
for made in (Abstract, OfExtras, Own, extras.MinTimeLoggingConnection, extras.LoggingConnection, None):
    c = psycopg2.connect(DSN, connection_factory=made)
    if hasattr(c, "initialize"):
        c.initialize(io.StringIO())
    c.cursor().execute("select 1")
    assert isinstance(c, extensions.connection) and isinstance(c, made or extensions.connection), made
    c.close()
assert issubclass(extras.LoggingConnection, extensions.connection)
assert issubclass(Abstract, extensions.connection) and not issubclass(int, extensions.connection)
print("whole")
