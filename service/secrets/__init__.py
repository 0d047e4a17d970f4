"""Secrets by reference: what a pack or a setting names instead of holding a secret, and how it is looked up.

`secret://env/SENTINAI_SECRET_…`, `secret://file/shared/…`, `secret://file/tenants/<tenant>/…`, and whatever a
plug-in of the entry point group `sentinai.secrets` adds. Resolved at the last moment, remembered for seconds,
masked wherever they turn up. docs/security.md says who may read which.
"""

from service.secrets.masking import KnownSecrets, mask_log_records
from service.secrets.references import Owner, SecretUnavailableError
from service.secrets.resolution import Secrets, build_secrets

__all__ = ["KnownSecrets", "Owner", "SecretUnavailableError", "Secrets", "build_secrets", "mask_log_records"]
