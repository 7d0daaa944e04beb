"""Everything that is said to AWS: clients and credentials, instances, log files, prices, permissions.

The only room that imports boto3. A copy is deleted here and nowhere else, under the guard of model/deletion.

Read in this order: clients, credentials, instances, instance_status, instance_errors,
log_files.
"""
