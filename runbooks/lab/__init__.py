"""Amazon RDS on a laptop: the RDS API in front of real PostgreSQL clusters with real point-in-time recovery.

    from runbooks.lab.lab_server import Lab
    with Lab.start() as lab:
        lab.environment()      # AWS_ENDPOINT_URL, dummy credentials, region: boto3 needs nothing else

Stands alone: imports nothing of `recovery` or `guards`.

Read in this order: lab_server, engine, lab_cluster, lab_state, endpoint, query_protocol, views, ops_instances; then the
other ops_*.
"""
