# Sidekiq: many jobs, two queues, bulk pushes, jobs for later, retries, dead jobs, and its API over
# queues, sets, processes and statistics. `--keys tagged` keeps all keys in a namespace that is one
# hash tag (redis-namespace); `--keys plain` has Sidekiq's own names, spread over all slots.

require "optparse"
require "sidekiq/api"

options = {keys: "tagged", deadline: 120.0}
OptionParser.new do |parser|
  parser.on("--url URL") { |value| options[:url] = value }
  parser.on("--full") { options[:full] = true }
  parser.on("--keys KEYS") { |value| options[:keys] = value }
  parser.on("--before WHAT") { |value| options[:before] = value }
  parser.on("--deadline-s SECONDS", Float) { |value| options[:deadline] = value }
end.parse!
ENV["APP_URL"] = options.fetch(:url)
ENV["APP_NAMESPACE"] = "{sidekiq}" if options[:keys] == "tagged"
require_relative "sidekiq_jobs"
Sidekiq.logger.level = Logger::WARN

$began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
$passed = $failed = 0

def equal(what, expected, got)
  if expected == got
    $passed += 1
    puts "ok     #{what}"
  else
    $failed += 1
    puts "FAILED #{what}", "  expected #{expected.inspect}", "  got      #{got.inspect}"
  end
  $stdout.flush
end

def eventually(what, expected, seconds = 30)
  deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds
  got = yield
  while got != expected && Process.clock_gettime(Process::CLOCK_MONOTONIC) < deadline
    sleep 0.02
    got = yield
  end
  equal(what, expected, got)
end

def redis(&block)
  Sidekiq.redis(&block)
end

Thread.new do
  sleep options[:deadline]
  puts "FAILED: not done within #{options[:deadline]} s"
  $stdout.flush
  Process.kill("TERM", $worker) if $worker
  exit!(1)
end

prefix = "sidekiq-check-#{Process.pid}"
critical = Sidekiq::Queue.new("critical")
default = Sidekiq::Queue.new("default")

# Nobody works yet.
5.times { |n| Add.perform_async("#{prefix}:sums", n, 1) }
5.times { |n| Note.perform_async("#{prefix}:words", "word #{n}") }
equal("jobs wait in their queues", [5, 5], [critical.size, default.size])
equal("the queues are known", %w[critical default], Sidekiq::Queue.all.map(&:name).sort & %w[critical default])
equal("one is found and deleted", true, default.find_job(default.first.jid).delete)

log = IO.pipe
$worker = Process.spawn(
  "/usr/bin/sidekiq", "-r", File.join(__dir__, "sidekiq_jobs.rb"), "-c", "4", "-q", "critical", "-q", "default",
  "-e", "test", in: "/dev/null", out: log[1], err: log[1]
)
log[1].close
written = +""
Thread.new { written << log[0].readpartial(65_536) while true rescue nil }

begin
  eventually("the first ones are done", [4, 5]) do
    redis { |connection| [connection.hlen("#{prefix}:sums"), connection.llen("#{prefix}:words")] }
  end
  count = options[:full] ? 500 : 100
  count.times { |n| Add.perform_async("#{prefix}:many", n, n) }
  eventually("#{count} jobs are done", count) { redis { |connection| connection.hlen("#{prefix}:many") } }
  equal("each rightly", true, redis { |connection| connection.hgetall("#{prefix}:many") }.all? { |x, sum| sum.to_i == 2 * x.to_i })
  Sidekiq::Client.push_bulk("class" => Add, "args" => Array.new(200) { |n| ["#{prefix}:bulk", n, n] })
  eventually("200 jobs pushed at once", 200) { redis { |connection| connection.hlen("#{prefix}:bulk") } }

  later = Note.perform_in(2, "#{prefix}:later", "later")
  equal("a job for later is scheduled", true, !Sidekiq::ScheduledSet.new.find_job(later).nil?)
  equal("and not done yet", 0, redis { |connection| connection.llen("#{prefix}:later") })
  eventually("but then", 1) { redis { |connection| connection.llen("#{prefix}:later") } }

  SecondTime.perform_async("#{prefix}:tries")
  eventually("a job that fails is tried a second time", "2") { redis { |connection| connection.get("#{prefix}:tries") } }
  Fails.perform_async
  dead = Sidekiq::DeadSet.new
  eventually("a job that may not be tried again is dead", "on purpose") { dead.map(&:item).find { |item| item["class"] == "Fails" }&.fetch("error_message") }
  equal("it is put again by hand", true, dead.find { |job| job.klass == "Fails" }.retry != false)
  eventually("and dies again", 1) { dead.count { |job| job.klass == "Fails" } }
  dead.clear
  equal("cleared", 0, dead.size)

  unwanted = Note.perform_in(60, "#{prefix}:unwanted", "x")
  equal("a scheduled job is found by scanning", 1, Sidekiq::ScheduledSet.new.scan(unwanted).count)
  Sidekiq::ScheduledSet.new.find_job(unwanted).delete
  equal("and deleted", nil, Sidekiq::ScheduledSet.new.find_job(unwanted))

  eventually("the process is known", [%w[critical default]]) { Sidekiq::ProcessSet.new.map { |process| process["queues"].sort } }
  # The worker reports every five seconds.
  eventually("statistics count what was done", true) { Sidekiq::Stats.new.processed >= count + 200 }
  eventually("and what failed", true) { Sidekiq::Stats.new.failed >= 3 }
  equal("by day", true, Sidekiq::Stats::History.new(1).processed.values.sum >= count + 200)
  equal("latency", true, default.latency < 60)
  equal("who works at what", true, Sidekiq::Workers.new.size >= 0)
  Sidekiq::ProcessSet.new.each(&:stop!)
  status = Process.wait2($worker)[1]
  $worker = nil
  equal("a message through Redis ends the worker", true, status.success?)
ensure
  if $worker
    Process.kill("TERM", $worker)
    Process.wait($worker)
  end
end
7.times { Note.perform_async("#{prefix}:unread", "x") }
equal("a queue is cleared", [7, 0], [critical.size, (critical.clear; critical.size)])

if $failed > 0
  puts "the worker wrote:", written[-6000..] || written
end
took = Process.clock_gettime(Process::CLOCK_MONOTONIC) - $began
puts format("sidekiq, keys %s: %d passed, %d failed in %.1f s", options[:keys], $passed, $failed, took)
exit($failed > 0 ? 1 : 0)
