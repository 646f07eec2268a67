#include "launcher/torchrun/option_table.h"

namespace megalaunch {

std::span<const ArgumentSpec> torchrun_options() {
  using enum ArgumentSpec::Takes;
  // A row a line.
  // clang-format off
  static const ArgumentSpec kOptions[] = {
      {"nnodes", 0, kText, "1:1", {}, true, "N or MIN:MAX", "Nodes of the job; with MIN:MAX it starts with MIN when no more come before the last call ends."},
      {"nproc-per-node", 0, kText, "1", {}, true, "N", "Ranks on this node: a number, gpu, cpu, or auto (GPUs, else CPUs)."},
      {"rdzv-backend", 0, kText, "static", {}, true, "NAME", "static or c10d; here they differ only in who hosts and in how nodes are numbered."},
      {"rdzv-endpoint", 0, kText, "", {}, true, "HOST[:PORT]", "Where the nodes meet; the node with this address hosts."},
      {"rdzv-id", 0, kText, "none", {}, true, "ID", "Tells jobs apart that meet at one endpoint."},
      {"rdzv-conf", 0, kText, "", {}, true, "K=V,...", "join_timeout, last_call_timeout, timeout, is_host and others; see docs/torchrun.md."},
      {"standalone", 0, kNothing, "", {}, true, "", "One node that meets nobody, on a free port."},
      {"max-restarts", 0, kInteger, "0", {}, true, "N", "Restarts of all ranks before a failure ends the job."},
      {"monitor-interval", 0, kNumber, "0.1", {}, true, "SECONDS", "Accepted; the end of a rank is seen at once."},
      {"start-method", 0, kText, "spawn", {"spawn", "fork", "forkserver"}, true, "NAME", "Accepted; ranks are always programs of their own."},
      {"event-log-handler", 0, kText, "null", {}, true, "NAME", "Accepted; events are in events.jsonl beside the logs."},
      {"role", 0, kText, "default", {}, true, "NAME", "ROLE_NAME of the ranks, and part of the prefix of their lines."},
      {"module", 'm', kNothing, "", {}, true, "", "The script is a Python module, as for python -m."},
      {"no-python", 0, kNothing, "", {}, true, "", "The script is a program by itself."},
      {"run-path", 0, kNothing, "", {}, true, "", "Run the script with runpy.run_path."},
      {"log-dir", 0, kText, "", {}, true, "DIR", "Where the run's folder is made; a temporary one by default, /dev/null for none."},
      {"redirects", 'r', kText, "0", {}, true, "N or R:N,...", "Streams that go to log files: 1 stdout, 2 stderr, 3 both."},
      {"tee", 't', kText, "0", {}, true, "N or R:N,...", "Streams that go to log files and to the console."},
      {"local-ranks-filter", 0, kText, "", {}, true, "R,...", "Local ranks that the console shows."},
      {"duplicate-stdout-filters", 0, kText, "", {}, true, "WORD,...", "Teed lines of stdout with one of the words go to filtered_stdout.log too; ,, is a comma."},
      {"duplicate-stderr-filters", 0, kText, "", {}, true, "WORD,...", "The same for stderr and filtered_stderr.log."},
      {"node-rank", 0, kInteger, "0", {}, true, "N", "This node's number."},
      {"master-addr", 0, kText, "127.0.0.1", {}, true, "HOST", "Node 0, when there is no --rdzv-endpoint (static only)."},
      {"master-port", 0, kInteger, "", {}, true, "PORT", "Its port; 29500 by default (static only)."},
      {"local-addr", 0, kText, "", {}, true, "HOST", "An address of this node; also decides whether it is the endpoint's host."},
      {"logs-specs", 0, kText, "", {}, false, "NAME", "Refused: it names a Python plug-in."},
      {"numa-binding", 0, kText, "", {"node", "socket", "exclusive", "core-complex"}, false, "MODE", "Bind each rank to CPUs near its GPU."},
      {"signals-to-handle", 0, kText, "SIGTERM,SIGINT,SIGHUP,SIGQUIT", {}, true, "NAME,...", "Signals that stop the job; the ranks get the same one."},
      {"shutdown-timeout", 0, kInteger, "", {}, true, "SECONDS", "From the signal that asks ranks to end to SIGKILL; 30 by default."},
      {"virtual-local-rank", 0, kNothing, "", {}, true, "", "LOCAL_RANK=0 and one GPU in CUDA_VISIBLE_DEVICES for every rank."},
      {"log-line-prefix-template", 0, kText, "", {}, true, "TEXT", "Prefix of teed lines, with ${role_name}, ${local_rank}, ${rank}, ${hostname}."},
      {"print-completion", 0, kText, "", {"bash", "zsh", "tcsh"}, false, "SHELL", "Print a completion script for this shell, and nothing else: source <(torchrun --print-completion bash)", true},
  };
  // clang-format on
  return kOptions;
}

}  // namespace megalaunch
