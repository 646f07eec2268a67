#include <signal.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <charconv>
#include <memory>
#include <string>
#include <vector>

#include "env/exit_code.h"
#include "launcher/cli/command.h"
#include "rendezvous/store/store_server.h"

namespace megalaunch {
namespace {

constexpr const char* kHelp =
    R"(Clients of every torch release from 1.13 on can use it at the same time, on one port. Use it

  as the rendezvous of torchrun, on every node:
    torchrun --rdzv-backend c10d --rdzv-endpoint HOST:PORT --rdzv-conf is_host=0 ...

  as the store of ranks started by hand, on every rank:
    MASTER_ADDR=HOST MASTER_PORT=PORT TORCHELASTIC_USE_AGENT_STORE=True RANK=... WORLD_SIZE=... python train.py

`megalaunch run` has such a store inside and does not need this command. The protocol knows no password: let only the
nodes of the job reach the port (--admit, or a firewall). Ends with exit status 0 on SIGTERM or SIGINT.)";

struct StoreFlags {
  std::string listen;
  int threads = 0;
  std::string dialect = "auto";
  std::vector<std::string> admit;
  size_t max_value_mib = StoreLimits{}.value_bytes >> 20;
  size_t max_total_mib = StoreLimits{}.total_bytes >> 20;
  size_t max_connections = StoreLimits{}.connections;
};

/// "HOST:PORT", "[V6]:PORT", ":PORT" and "PORT"; no host means every interface.
Result<std::pair<std::string, uint16_t>> parse_listen(const std::string& text) {
  const size_t colon = text.rfind(':');
  std::string host = colon == std::string::npos ? "" : text.substr(0, colon);
  const std::string digits = colon == std::string::npos ? text : text.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size())
    return fail(Error::Kind::kUsage,
                "--listen '{}': '{}' is not a port (0 to 65535). Write HOST:PORT, or :PORT for "
                "every interface.",
                text, digits);
  if (host == "*") host.clear();
  return std::pair(std::move(host), port);
}

std::optional<Dialect> parse_dialect(const std::string& name) {
  if (name == "1.13" || name == "2.0") return Dialect::kL1;
  if (name == "2.1") return Dialect::kL2;
  if (name == "2.2+") return Dialect::kMagic;
  return std::nullopt;
}

int run_store(const StoreFlags& flags, const Log& log) {
  auto where = parse_listen(flags.listen);
  if (!where) return exit_with(where.error(), log);

  // Before the first thread, so that every thread inherits the mask and only sigwait() below sees
  // the signals.
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGINT);
  ::sigaddset(&signals, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  StoreServer::Options options;
  options.bind_address = std::move(where->first);
  options.port = where->second;
  options.threads = flags.threads;
  options.expected_dialect = parse_dialect(flags.dialect);
  options.limits.value_bytes = flags.max_value_mib << 20;
  options.limits.frame_bytes =
      std::max(options.limits.frame_bytes, options.limits.value_bytes + (1u << 20));
  options.limits.queued_bytes =
      std::max(options.limits.queued_bytes, options.limits.value_bytes + (1u << 20));
  options.limits.total_bytes = flags.max_total_mib << 20;
  options.limits.connections = flags.max_connections;
  const auto store = StoreServer::listen(std::move(options), log);
  if (!store) return exit_with(store.error(), log);
  if (!flags.admit.empty()) (*store)->admit_only(flags.admit);
  log.info("store: serving torch clients on port {}", (*store)->port());

  int signal = 0;
  ::sigwait(&signals, &signal);
  const StoreStatistics did = (*store)->statistics();
  log.info("store: ended by {} after {} connections and {} operations; {} connections were refused",
           signal == SIGINT ? "SIGINT" : "SIGTERM", did.accepted, did.operations, did.refused);
  return kExitSuccess;
}

}  // namespace

void add_store_command(CLI::App& app, CommandContext& context) {
  auto* command = app.add_subcommand("store",
                                     "Serve the key-value store that torch.distributed meets in (a "
                                     "c10d TCPStore), and nothing else");
  command->footer(kHelp);
  auto flags = std::make_shared<StoreFlags>();
  command
      ->add_option("--listen", flags->listen,
                   "HOST:PORT, or :PORT for every interface; port 0 lets the kernel choose")
      ->required();
  command
      ->add_option("--threads", flags->threads,
                   "threads that serve; 0 = half of the cores, at most 8")
      ->check(CLI::Range(0, 256))
      ->capture_default_str();
  command
      ->add_option("--torch", flags->dialect,
                   "release of the clients: 1.13, 2.0, 2.1 or 2.2+. Only settles what the bytes of "
                   "1.13 to 2.1 leave open")
      ->check(CLI::IsMember({"auto", "1.13", "2.0", "2.1", "2.2+"}))
      ->capture_default_str();
  command
      ->add_option("--admit", flags->admit,
                   "numeric address that may speak to the store, besides loopback; repeatable")
      ->take_all();
  command->add_option("--max-value", flags->max_value_mib, "largest value, in MiB")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command
      ->add_option("--max-total", flags->max_total_mib,
                   "memory for everything that clients store or send, in MiB")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--max-connections", flags->max_connections, "connections at a time")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  command->callback([flags, &context] { context.exit_code = run_store(*flags, context.log); });
}

}  // namespace megalaunch
