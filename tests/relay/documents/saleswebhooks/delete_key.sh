curl -X DELETE https://api.saleswebhooks.com/v1/account/api-keys/key_8Yx9Kj2Mn \
  -H "X-API-Key: lwa.sk_live_YOUR_API_KEY"
