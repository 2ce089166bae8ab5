"""Encryption at rest: what the datastore holds of secrets can be read with a key file alone.

`configuration` reads upstream's EncryptionConfiguration, `providers` and `kms` turn bytes into
sealed bytes and back, `keyring` decides who seals a key, `backend` puts that before any datastore,
and `keeper` follows the file: it re-encrypts what is stored otherwise and drops keys that nothing
needs any more.
"""
