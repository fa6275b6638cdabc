"""Judges deliveries as a receiver would, with the library that Standard Webhooks publishes for Python.

Reads a list of {"secret", "headers", "body"} and prints a list of true and false.
"""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


def verified(delivery):
    try:
        Webhook(delivery["secret"]).verify(delivery["body"], delivery["headers"])
    except WebhookVerificationError:
        return False
    return True


print(json.dumps([verified(delivery) for delivery in json.load(sys.stdin)]))
