const axios = require('axios');

const sendWebhook = async () => {
try {
const response = await axios.post(
'https://stage-api.oemstream.com/api/webhooks/your-integration-key',
{
event: 'payment.processed',
data: {
payment_id: 'pay_123456',
amount: 49.99,
currency: 'USD'
}
},
{
headers: {
'X-API-Key': process.env.OEMSTREAM_API_KEY,
'Content-Type': 'application/json'
}
}
);

console.log('Webhook sent:', response.data.uuid);
} catch (error) {
console.error('Error:', error.response?.data || error.message);
}
};

sendWebhook();
