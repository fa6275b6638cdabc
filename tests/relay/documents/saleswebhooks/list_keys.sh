curl https://api.saleswebhooks.com/v1/account/api-keys \
  -H "X-API-Key: lwa.sk_live_YOUR_API_KEY"
