"""What makes databases on a developer's machine."""

from __future__ import annotations

MAKES = {
    "psycopg": "import os, psycopg\ndef run(text, dsn=os.environ['TEST_DSN']):\n"
    "    with psycopg.connect(dsn, autocommit=True) as c:\n        c.execute(text)\n",
    "psycopg2": "import os, psycopg2\ndef run(text, dsn=os.environ['TEST_DSN']):\n    c = psycopg2.connect(dsn)\n"
    "    c.autocommit = True\n    c.cursor().execute(text)\n    c.close()\n",
    "asyncpg": "import asyncio, os, asyncpg\nfrom psycopg.conninfo import conninfo_to_dict\n"
    "def run(text, dsn=os.environ['TEST_DSN']):\n    async def go():\n        w = conninfo_to_dict(dsn)\n"
    "        w['database'] = w.pop('dbname')\n        c = await asyncpg.connect(**w)\n"
    "        await c.execute(text)\n        await c.close()\n    asyncio.run(go())\n",
}
