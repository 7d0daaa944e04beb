
import os, psycopg2, threading
c = psycopg2.connect(os.environ["TEST_DSN"]); c.autocommit = True
seen, done = [], threading.Event()
def read():
    while not done.is_set():
        try:
            c.cursor().execute("select * from v_purge")
            seen.append("written")
        except psycopg2.errors.ReadOnlySqlTransaction:
            pass
threads = [threading.Thread(target=read) for _ in range(6)]
for thread in threads:
    thread.start()
for n in range(6):
    c.cursor().execute(f"create database shared_{n}")
    c.cursor().execute(f"drop database shared_{n}")
done.set()
for thread in threads:
    thread.join()
print(seen)
