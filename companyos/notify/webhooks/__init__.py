"""Signed webhooks: Standard Webhooks signatures, CloudEvents bodies, and addresses that are looked at before use."""

from companyos.notify.webhooks.addresses import AddressRule
from companyos.notify.webhooks.client import Answer, Client
from companyos.notify.webhooks.receiving import Incoming, verify_webhook
from companyos.notify.webhooks.signatures import sign

__all__ = ("AddressRule", "Answer", "Client", "Incoming", "sign", "verify_webhook")
