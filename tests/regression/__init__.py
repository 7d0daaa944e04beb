"""PostgreSQL's own regression database as a subject: hundreds of tables that nobody wrote with rowback in mind."""
