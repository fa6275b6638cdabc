require 'net/http'
require 'uri'

uri = URI('https://api.saleswebhooks.com/v1/subscriptions')
http = Net::HTTP.new(uri.host, uri.port)
http.use_ssl = true

request = Net::HTTP::Get.new(uri)
request['X-API-Key'] = 'lwa.sk_live_YOUR_API_KEY'

response = http.request(request)
