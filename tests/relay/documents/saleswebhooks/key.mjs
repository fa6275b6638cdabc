const apiKey = process.env.SALESWEBHOOKS_API_KEY;
