const response = await fetch('https://api.saleswebhooks.com/v1/subscriptions', {
  headers: {
    'X-API-Key': 'lwa.sk_live_YOUR_API_KEY',
    'Content-Type': 'application/json'
  }
});
