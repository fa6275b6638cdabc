// Judges deliveries as a receiver would: with the library that Standard Webhooks publishes for
// JavaScript, or, where a public key is given, with the runtime's own ed25519.
//
// Reads a list of {"secret" or "public_key", "headers", "body"} and prints a list of true and false.

const crypto = require('crypto');
const fs = require('fs');
const { Webhook, WebhookVerificationError } = require('standardwebhooks');

// What stands before the 32 bytes of a key in its DER (RFC 8410, section 4).
const ED25519 = Buffer.from('302a300506032b6570032100', 'hex');

function verifiedWithPublicKey({ public_key, headers, body }) {
  const der = Buffer.concat([ED25519, Buffer.from(public_key.slice('whpk_'.length), 'base64')]);
  const key = crypto.createPublicKey({ key: der, format: 'der', type: 'spki' });
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
  return headers['webhook-signature']
    .split(' ')
    .filter((signature) => signature.startsWith('v1a,'))
    .some((signature) =>
      crypto.verify(null, Buffer.from(signed), key, Buffer.from(signature.slice(4), 'base64')));
}

function verifiedWithSecret({ secret, headers, body }) {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return false;
    throw error;
  }
}

const deliveries = JSON.parse(fs.readFileSync(0));
const verified = (it) => (it.public_key ? verifiedWithPublicKey(it) : verifiedWithSecret(it));
console.log(JSON.stringify(deliveries.map(verified)));
