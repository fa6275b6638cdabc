curl -X POST https://stage-api.oemstream.com/api/webhooks/your-integration-key \
-H "Content-Type: application/json" \
-H "X-API-Key: your-api-key-here" \
-d '{
"event": "user.created",
"data": {
"user_id": 12345,
"email": "user@example.com"
}
}'
