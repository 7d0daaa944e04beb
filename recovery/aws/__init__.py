"""Everything that is said to AWS: sessions and credentials, instances, log files, prices, permissions. The only room
that imports boto3. A copy is deleted here and nowhere else, under the guard of model/deletion.

Read in this order: session, credentials, instances, instance_errors; then the rest as needed.
"""
