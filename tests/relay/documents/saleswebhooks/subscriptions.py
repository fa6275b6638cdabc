import requests

response = requests.get(
    'https://api.saleswebhooks.com/v1/subscriptions',
    headers={
        'X-API-Key': 'lwa.sk_live_YOUR_API_KEY'
    }
)
