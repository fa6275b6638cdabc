curl -X POST https://api.saleswebhooks.com/v1/account/api-keys \
  -H "X-API-Key: lwa.sk_live_YOUR_EXISTING_KEY" \
  -H "Content-Type: application/json" \
  -d '{
    "name": "Development Server"
  }'
