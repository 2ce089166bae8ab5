"""Webhooks: HTTPS services that are asked about admission, conversion, users and rights."""
