#include "launcher/torchrun/rank_setup.h"

#include <memory>

#include "env/host.h"
#include "launcher/torchrun/filtered_file.h"
#include "launcher/torchrun/template.h"

namespace megalaunch {
namespace {

/// State that the hooks of one agent share.
struct Setup {
  TorchrunOptions options;
  std::optional<RunFolder> folder;
  std::vector<std::vector<int>> cpus;
  std::shared_ptr<FilteredFile> filtered_out, filtered_err;  ///< of the present attempt

  bool on_console(int local_rank) const {
    return options.local_ranks_filter.empty() || options.local_ranks_filter.contains(local_rank);
  }

  /// An empty path: where the agent itself writes.
  std::filesystem::path target(bool to_file, int local_rank, std::filesystem::path file) const {
    if (to_file && folder) return file;
    return on_console(local_rank) || !folder ? std::filesystem::path() : "/dev/null";
  }

  Result<RankFiles> place_files(int generation, int local_rank) {
    if (!folder) return RankFiles{};
    if (local_rank == 0)
      if (auto status = begin_attempt(generation); !status) return fail(std::move(status).error());
    return folder->rank(generation, local_rank);
  }

  /// Each attempt has filtered files of its own.
  Status begin_attempt(int generation) {
    const auto attempt = folder->attempt(generation);
    std::error_code error;
    std::filesystem::create_directories(attempt, error);
    if (error)
      return errno_error(error.value(), fmt::format("make the log folder {}", attempt.string()));
    for (const auto& [words, name, file] :
         {std::tuple{&options.stdout_filters, "filtered_stdout.log", &filtered_out},
          std::tuple{&options.stderr_filters, "filtered_stderr.log", &filtered_err}}) {
      if (words->empty()) continue;
      auto opened = FilteredFile::open(attempt / name, *words);
      if (!opened) return fail(std::move(opened).error());
      *file = std::move(*opened);
    }
    return {};
  }

  Status adjust(const RankPlace& place, Variables& variables, RankSpec& spec) const {
    const int local_rank = place.local_rank;
    const TemplateValues values{{"local_rank", std::to_string(local_rank)}};
    for (size_t i = 1; i < spec.process.argv.size(); ++i)
      spec.process.argv[i] = fill_template(spec.process.argv[i], values);
    spec.inherit_stdin = true;
    if (!cpus.empty()) spec.process.cpus = cpus[static_cast<size_t>(local_rank)];
    const bool out = options.redirects.out(local_rank) || options.tee.out(local_rank);
    const bool err = options.redirects.err(local_rank) || options.tee.err(local_rank);
    spec.stdout_path = target(out, local_rank, spec.stdout_path);
    spec.stderr_path = target(err, local_rank, spec.stderr_path);

    variables.set("ROLE_NAME", options.role);
    if (!folder) variables.set("TORCHELASTIC_ERROR_FILE", "");
    if (!place.torch || *place.torch >= TorchVersion{2, 9}) {
      std::string names;
      for (const int signal : options.signals)
        names += fmt::format("{}{}", names.empty() ? "" : ",", signal_name(signal));
      variables.set("TORCHELASTIC_SIGNALS_TO_HANDLE", names);
    }
    if (options.virtual_local_rank) {
      auto device = device_of_rank(variables.get("CUDA_VISIBLE_DEVICES"), local_rank);
      if (!device) return fail(std::move(device).error());
      variables.set("CUDA_VISIBLE_DEVICES", *device);
      variables.set("LOCAL_RANK", "0");
    }
    return {};
  }

  void adjust_source(const RankSpec& spec, LogPump::Source& source) const {
    const bool is_out = source.stream == Console::Stream::kOut;
    source.on_console = on_console(spec.local_rank) && (is_out ? options.tee.out(spec.local_rank)
                                                               : options.tee.err(spec.local_rank));
    source.prefix =
        fill_template(options.line_prefix, {{"role_name", options.role},
                                            {"local_rank", std::to_string(spec.local_rank)},
                                            {"rank", std::to_string(spec.rank)},
                                            {"hostname", host_name()}});
    if (const auto& file = is_out ? filtered_out : filtered_err; file && source.on_console)
      source.also = [file, prefix = source.prefix](std::string_view line) {
        file->see(prefix, line);
      };
  }
};

}  // namespace

RankHooks rank_hooks(const TorchrunOptions& options, const std::optional<RunFolder>& folder,
                     std::vector<std::vector<int>> cpus) {
  const auto setup =
      std::make_shared<Setup>(Setup{options, folder, std::move(cpus), nullptr, nullptr});
  RankHooks hooks;
  hooks.files = [setup](int generation, int local_rank) {
    return setup->place_files(generation, local_rank);
  };
  hooks.adjust = [setup](const RankPlace& place, Variables& variables, RankSpec& spec) {
    return setup->adjust(place, variables, spec);
  };
  hooks.adjust_source = [setup](const RankSpec& spec, LogPump::Source& source) {
    setup->adjust_source(spec, source);
  };
  return hooks;
}

Result<std::string> device_of_rank(const std::optional<std::string>& cuda_visible_devices,
                                   int local_rank) {
  if (!cuda_visible_devices) return std::to_string(local_rank);
  std::string_view rest = *cuda_visible_devices;
  for (int index = 0;; ++index) {
    const size_t comma = rest.find(',');
    std::string_view device = rest.substr(0, comma);
    if (index == local_rank) {
      while (device.starts_with(' ')) device.remove_prefix(1);
      while (device.ends_with(' ')) device.remove_suffix(1);
      return std::string(device);
    }
    if (comma == rest.npos) break;
    rest.remove_prefix(comma + 1);
  }
  return fail(Error::Kind::kRefused,
              "--virtual-local-rank: CUDA_VISIBLE_DEVICES={} has no device for local rank {}",
              *cuda_visible_devices, local_rank);
}

}  // namespace megalaunch
