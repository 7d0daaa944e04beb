"""Amazon RDS on a laptop: the RDS API in front of real PostgreSQL clusters with real point-in-time recovery.

    from runbooks.lab.server import Lab
    with Lab.start() as lab:
        lab.environment()      # AWS_ENDPOINT_URL, dummy credentials, region: boto3 needs nothing else

Stands alone: imports nothing of `recovery` or `guards`.
"""
