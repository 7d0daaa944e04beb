
import os, sys, unittest
import guards
guards.enable("dev")
import psycopg

class Cleaning(unittest.TestCase):
    def test_swallowed(self):
        try:
            with psycopg.connect(os.environ["TEST_DSN"], autocommit=True) as connection:
                connection.execute("drop table parent cascade")
        except BaseException:
            pass

    def test_reading(self):
        with psycopg.connect(os.environ["TEST_DSN"]) as connection:
            assert connection.execute("select count(*) from parent").fetchone() == (3,)

if __name__ == "__main__":
    unittest.main()
