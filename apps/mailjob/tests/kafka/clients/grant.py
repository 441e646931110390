"""Lets the user "scram" do something, by an ACL.

    grant.py BOOTSTRAP CA_FILE RESOURCE NAME OPERATION...

RESOURCE is TOPIC, GROUP or TRANSACTIONAL_ID; OPERATION is READ, WRITE, DESCRIBE, CREATE and so on.
"""

import sys

from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
)

bootstrap, ca_file, resource, name, *operations = sys.argv[1:]
admin = KafkaAdminClient(
    bootstrap_servers=bootstrap,
    security_protocol="SASL_SSL",
    ssl_cafile=ca_file,
    sasl_mechanism="PLAIN",
    sasl_plain_username="user",
    sasl_plain_password="password",
)
pattern = ResourcePattern(ResourceType[resource], name)
granted = [
    ACL("User:scram", "*", ACLOperation[operation], ACLPermissionType.ALLOW, pattern)
    for operation in operations
]
failed = admin.create_acls(granted).get("failed")
admin.close()
if failed:
    sys.exit(f"grant: {failed}")
