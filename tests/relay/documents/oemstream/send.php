<?php

use Illuminate\Support\Facades\Http;

$response = Http::withHeaders([
'X-API-Key' => env('OEMSTREAM_API_KEY'),
'Content-Type' => 'application/json',
])->post('https://stage-api.oemstream.com/api/webhooks/your-integration-key', [
'event' => 'order.completed',
'data' => [
'order_id' => 67890,
'total' => 99.99,
'customer_email' => 'customer@example.com'
]
]);

if ($response->successful()) {
$result = $response->json();
echo "Webhook sent successfully: " . $result['uuid'];
} else {
echo "Error: " . $response->body();
}
