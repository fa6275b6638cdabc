import requests
import os

def send_webhook():
    url = "https://stage-api.oemstream.com/api/webhooks/your-integration-key"
    headers = {
        "X-API-Key": os.getenv("OEMSTREAM_API_KEY"),
        "Content-Type": "application/json"
    }
    data = {
        "event": "subscription.renewed",
        "data": {
            "subscription_id": "sub_789012",
            "customer_id": "cust_345678",
            "next_billing_date": "2025-02-10"
        }
    }

    try:
        response = requests.post(url, json=data, headers=headers)
        response.raise_for_status()
        result = response.json()
        print(f"Webhook sent successfully: {result['uuid']}")
    except requests.exceptions.RequestException as e:
        print(f"Error sending webhook: {e}")

send_webhook()
