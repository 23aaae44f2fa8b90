# The jobs of the Sidekiq check, as an application has them: loaded by the worker and the client.
# The environment says where the server is, and which namespace keys are in.

require "sidekiq"

# This Sidekiq is older than this redis-rb, which says so at each call.
Redis.silence_deprecations = true
redis = {url: ENV.fetch("APP_URL")}
redis[:namespace] = ENV["APP_NAMESPACE"] if ENV["APP_NAMESPACE"]
Sidekiq.configure_client { |config| config.redis = redis }
Sidekiq.configure_server do |config|
  config.redis = redis
  # How often jobs for later are looked for.
  config.options[:average_scheduled_poll_interval] = 1
  config.options[:poll_interval_average] = 1
end

class Add
  include Sidekiq::Worker

  def perform(key, x, y)
    Sidekiq.redis { |connection| connection.hset(key, x.to_s, (x + y).to_s) }
  end
end

class Note
  include Sidekiq::Worker
  sidekiq_options queue: "critical"

  def perform(key, word)
    Sidekiq.redis { |connection| connection.rpush(key, word) }
  end
end

class SecondTime
  include Sidekiq::Worker
  sidekiq_options retry: 5
  sidekiq_retry_in { 1 }

  def perform(key)
    tries = Sidekiq.redis { |connection| connection.incr(key) }
    raise "try #{tries}" if tries < 2
  end
end

class Fails
  include Sidekiq::Worker
  sidekiq_options retry: 0

  def perform
    raise "on purpose"
  end
end
