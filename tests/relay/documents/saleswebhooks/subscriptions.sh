curl https://api.saleswebhooks.com/v1/subscriptions \
  -H "X-API-Key: lwa.sk_live_YOUR_API_KEY"
